/* What must hold of an experiment beyond its keys and types; for experiment/ only. */
#ifndef FEWBIT_EXPERIMENT_CHECK_H
#define FEWBIT_EXPERIMENT_CHECK_H

#include "experiment/experiment.h"

typedef struct check_failure {
    const char *key; /* "section.key" */
    char demand[320];
} check_failure;

/* ERR_INPUT with the first thing that does not hold. */
err check_experiment(const experiment *e, check_failure *found);

#endif
