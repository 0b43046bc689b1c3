/* An experiment's text becomes values: every key checked by the schema, nothing of the text dropped; for experiment/
 * only. What must hold between keys is check.h's. */
#ifndef FEWBIT_EXPERIMENT_LOAD_H
#define FEWBIT_EXPERIMENT_LOAD_H

#include "experiment/experiment.h"

/* What is left out is 0. ERR_INPUT says "WHERE:LINE: key SECTION.KEY …". */
err load_text(const char *where, const char *text, size_t length, experiment *e);

/* The line, from 1, on which "section.key", or else the section, stands; 0 when neither does or the text is no YAML. */
unsigned load_line_of(const char *text, size_t length, const char *path);

/* Whether YAML takes a word without quotes for text, and not for a number, a truth value or nothing. */
bool load_is_text(const char *word);

#endif
