/* Overrides: other values for some keys of an experiment, as a sweep gives them. */
#ifndef FEWBIT_EXPERIMENT_OVERRIDES_H
#define FEWBIT_EXPERIMENT_OVERRIDES_H

#include "experiment/serialize.h"

/* Makes all changes, whose values are letters, digits and . _ + - / only, or lists of such, then checks the whole as a
 * file is checked; `where` names it in errors. On failure `*e` is as it was. */
err experiment_apply_overrides(experiment *e, const char *where, const experiment_override *changes, size_t count);

#endif
