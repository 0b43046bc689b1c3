/* Which samples are for training, for validation and for the test.
 *
 * By shares, the same for every owner of the same ids and on every machine: h, the first 8 bytes of
 * SHA-256("fewbit split" ID) as a big-endian number, over 2^64, is below the share of the test, or below that and the
 * share of the validation together. By lists of ids. Or by two files: the second has the test samples. */
#ifndef FEWBIT_CLI_PACKING_PACK_PARTS_H
#define FEWBIT_CLI_PACKING_PACK_PARTS_H

#include "cli/packing/id_list.h"
#include "cli/packing/pack_samples.h"

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

#endif
