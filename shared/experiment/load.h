/* Loading: an experiment's file, untrusted, becomes values. Unknown keys, wrong types and values out of range are
 * refused with file, line and key, and nothing of the text is dropped. A key that is left out is 0, false or empty, but
 * for `evaluate_test`, which then is true. */
#ifndef FEWBIT_EXPERIMENT_LOAD_H
#define FEWBIT_EXPERIMENT_LOAD_H

#include "experiment/experiment.h"

/* ERR_INPUT says "PATH:LINE: key SECTION.KEY …". */
err experiment_load(const char *path, experiment *e);

/* The same from memory; `where` names the text in errors. */
err experiment_parse(const char *where, const char *text, size_t length, experiment *e);

/* The same of what a server sends: a text longer than a resolved one is refused unread. */
err experiment_parse_sent(const char *text, experiment *e);

#endif
