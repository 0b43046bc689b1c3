/* A look at an experiment's text before it becomes values, for experiment.c: is it YAML, is it a mapping, and is every
 * number and switch written as one? libcyaml is looser there ("1.5" is 1 to it) and does not tell the line. */
#ifndef FEWBIT_EXPERIMENT_SCAN_H
#define FEWBIT_EXPERIMENT_SCAN_H

#include "base/err.h"

#include <stddef.h>

/* ERR_INPUT says "WHERE:LINE: …". */
err scan_text(const char *where, const char *text, size_t length);

/* The line, from 1, on which "section.key", or else the section, stands; 0 when neither does or the text is no YAML. */
unsigned scan_line_of(const char *text, size_t length, const char *path);

#endif
