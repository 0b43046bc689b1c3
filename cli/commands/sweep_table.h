/* The table of a sweep: its groups over their seeds, as text and as JSON. */
#ifndef FEWBIT_CLI_COMMANDS_SWEEP_TABLE_H
#define FEWBIT_CLI_COMMANDS_SWEEP_TABLE_H

#include "cli/commands/sweep_plan.h"

#include <stdio.h>

typedef struct sweep_table sweep_table;

err sweep_table_new(sweep_table **t, const sweep_plan *plan);
void sweep_table_free(sweep_table *t);

/* Adds a finished point. `result` is what its result.json says, borrowed and not trusted. */
err sweep_table_add(sweep_table *t, const sweep_point *point, const json_t *result);

/* One line a group in the order they came: bits, seeds, the accuracies as mean, spread (standard deviation) and least
 * to largest, in percent; columns nobody has are left out. */
void sweep_table_print(const sweep_table *t, FILE *to);

/* {"base", "dataset", "points": [{"name", "group", "seed", "settings", "bits", "final", "seconds"}],
 *  "groups": [{"name", "settings", "bits", "seeds", "rounded_accuracy": {"mean", "std", "min", "max"},
 * …}]}, a new reference; NULL: no memory. */
json_t *sweep_table_json(const sweep_table *t);

#endif
