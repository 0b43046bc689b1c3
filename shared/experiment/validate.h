/* What must hold of an experiment beyond its keys and types; for experiment/ only. */
#ifndef FEWBIT_EXPERIMENT_VALIDATE_H
#define FEWBIT_EXPERIMENT_VALIDATE_H

#include "experiment/experiment.h"

typedef struct validate_failure {
    const char *key; /* "section.key" */
    char demand[320];
} validate_failure;

/* ERR_INPUT with the first thing that does not hold. */
err validate_experiment(const experiment *e, validate_failure *found);

#endif
