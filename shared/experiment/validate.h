/* Validation: what must hold of an experiment beyond its keys and types. */
#ifndef FEWBIT_EXPERIMENT_VALIDATE_H
#define FEWBIT_EXPERIMENT_VALIDATE_H

#include "experiment/experiment.h"

/* ERR_INPUT with the first thing that does not hold, "key SECTION.KEY …"; `key` (may be NULL) then holds its name, in
 * EXPERIMENT_KEY_MAX bytes. */
err experiment_validate(const experiment *e, char *key);

#endif
