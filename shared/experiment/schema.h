/* The YAML schema of an experiment, for experiment.c. */
#ifndef FEWBIT_EXPERIMENT_SCHEMA_H
#define FEWBIT_EXPERIMENT_SCHEMA_H

#include <cyaml/cyaml.h>

extern const cyaml_schema_value_t schema_experiment;

#endif
