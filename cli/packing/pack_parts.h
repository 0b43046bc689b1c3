/* Which samples are for training, for validation and for the test, and the order in which they are packed.
 *
 * By shares, the same for every owner of the same ids and on every machine: h, the first 8 bytes of
 * SHA-256("fewbit split" ID) as a big-endian number, over 2^64, is below the share of the test, or below that and the
 * share of the validation together. By lists of ids. Or by two files: the second has the test samples. */
#ifndef FEWBIT_CLI_PACKING_PACK_PARTS_H
#define FEWBIT_CLI_PACKING_PACK_PARTS_H

#include "cli/packing/id_list.h"
#include "cli/packing/pack_samples.h"
#include "data/sample_ids.h"

typedef struct pack_parts {
    double test, validation;                  /* shares, together below 1 */
    const id_list *test_ids, *validation_ids; /* NULL: by the share */
} pack_parts;

/* "20%" as 0.2: at least 0 and below 100. */
err pack_parts_parse_share(const char *text, double *share);

/* Where an id falls, in [0, 1). */
err pack_parts_hash(const char *id, double *at);

/* Sets every sample's part, and `counts`. ERR_INPUT: no training or no test samples. */
err pack_parts_assign(const pack_parts *p, pack_samples *s, uint32_t counts[PACK_PARTS]);

/* The order of packing: training, validation, test, and in each as they were read; and the ids. */
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
