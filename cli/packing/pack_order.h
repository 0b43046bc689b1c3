/* The order in which samples are packed: training, validation, test, and in each as they were read; and their ids. */
#ifndef FEWBIT_CLI_PACKING_PACK_ORDER_H
#define FEWBIT_CLI_PACKING_PACK_ORDER_H

#include "cli/packing/pack_samples.h"
#include "data/sample_ids.h"

typedef struct pack_order {
    uint32_t *list;      /* [count] of all samples: their numbers */
    uint32_t samples[2]; /* by enum dataset_split */
    uint32_t validation; /* of the training samples, the last ones */
    sample_ids *ids;
} pack_order;

/* The caller ends it with pack_order_free, also after a failure. */
err pack_order_make(pack_order *o, const pack_samples *s, const uint32_t counts[PACK_PARTS]);
void pack_order_free(pack_order *o);

#endif
