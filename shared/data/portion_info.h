/* What a portion's folder says of itself (data/portion.h). */
#ifndef FEWBIT_DATA_PORTION_INFO_H
#define FEWBIT_DATA_PORTION_INFO_H

#include "base/sha256.h"
#include "data/dataset.h"
#include "data/partition.h"

enum { PORTION_FORMAT = 2, PORTION_SAMPLES_MAX = 1 << 28 };

/* How a folder of another format becomes one of this. */
#define PORTION_REMEDY "make it again with fewbit data split or fewbit data pack"

typedef struct portion_info {
    char dataset[32];
    char name[PORTION_NAME_MAX + 1];
    portion_shape shape;
    uint32_t samples[2]; /* by enum dataset_split */
    uint32_t validation; /* of the training samples, the last ones */
    bool has_ids;
    char ids_digest[SHA256_HEX]; /* "": counted */
    char digest[SHA256_HEX];
    bool has_partition; /* it is portion `index` of a published data set's sample */
    partition partition;
    uint32_t index;
} portion_info;

#endif
