/* The portions of a partition, as if they had been listed one by one. */
#ifndef FEWBIT_EXPERIMENT_PORTIONS_H
#define FEWBIT_EXPERIMENT_PORTIONS_H

#include "experiment/experiment.h"

/* Of an experiment with a partition: `portions` and `portion_count` out of its data set, partition and encoder, named
 * "0", "1", …. Again after any of those has changed. Listed portions stay as they are. ERR_INPUT: the data set is not
 * known or cannot be partitioned so; then there are no portions. */
err experiment_fill_portions(experiment *e);

/* The portion of a name; NULL: there is none. */
const experiment_portion *experiment_find_portion(const experiment *e, const char *name, uint32_t *number);

#endif
