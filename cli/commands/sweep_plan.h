/* A sweep's file: which experiments a grid stands for. Not trusted: errors name file, line and key.
 *
 *     base: best/mnist-16.yaml            an experiment, seen from this file
 *     grid:                               optional: every combination of these values
 *       encoder.bits: [1, 2, 4]
 *       training.seed: [1, 2, 3]
 *     variants:                           optional: each with every combination of the grid
 *       everything: {}
 *       without-average: {training.ema_decay: 0}
 *
 * A point is one combination. Its name is made of its variant and its values ("without-average.bits-2.seed-1"), its
 * group's name of the same without the seed. */
#ifndef FEWBIT_CLI_COMMANDS_SWEEP_PLAN_H
#define FEWBIT_CLI_COMMANDS_SWEEP_PLAN_H

#include "experiment/serialize.h"

#include <jansson.h>

enum { SWEEP_NAME_MAX = 200, SWEEP_POINTS_MAX = 10000 };

typedef struct sweep_plan sweep_plan;

typedef struct sweep_point {
    char name[SWEEP_NAME_MAX], group[SWEEP_NAME_MAX];
    experiment experiment;
    json_t *settings; /* {key: text} of variant and grid without the seed, with "variant" where there are any; the
                         caller's */
} sweep_point;

/* `more` are changes to every point, stronger than the base and weaker than variants and grid. All points are checked.
 * The caller ends it with sweep_plan_free. */
err sweep_plan_open(sweep_plan **plan, const char *path, const experiment_override *more, size_t count);
void sweep_plan_free(sweep_plan *plan);

const experiment *sweep_plan_base(const sweep_plan *plan);
size_t sweep_plan_points(const sweep_plan *plan);
err sweep_plan_point(const sweep_plan *plan, size_t index, sweep_point *point);

#endif
