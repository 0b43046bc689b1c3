/* portion.json, the record of a portion folder (data/portion.h). */
#ifndef FEWBIT_DATA_PORTION_RECORD_H
#define FEWBIT_DATA_PORTION_RECORD_H

#include "base/json_fields.h"
#include "data/columns.h"
#include "data/dataset.h"
#include "data/partition.h"
#include "data/portion_scaling.h"

enum { PORTION_FORMAT = 2, PORTION_SAMPLES_MAX = 1 << 28 };

/* How a folder of another format becomes one of this. */
#define PORTION_REMEDY "make it again with fewbit data split or fewbit data pack"

/* What the folder says of itself. */
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

/* What it says that has no fixed size. */
typedef struct portion_record {
    portion_scaling scaling; /* channels 0: none */
    columns *columns;        /* NULL: none */
    char *columns_text;      /* the same as compact JSON; NULL: none */
} portion_record;

/* Reads that of a folder, untrusted: what fits to nothing, itself included, is refused by file and field. All of the
 * info but ids_digest is filled. On failure there is nothing to free. */
err portion_record_read(const char *folder, portion_info *info, portion_record *r);

/* Of what a folder is to be written with; ERR_INPUT where that is no portion. To be freed in either case. */
err portion_record_make(portion_record *r, const portion_info *info, const portion_scaling *scaling,
                        const columns *columns);
err portion_record_write(const char *folder, const portion_info *info, const portion_record *r);
void portion_record_free(portion_record *r);

/* The fields that tell how many samples there are, and whether their ids are listed: as labels.json has them too. */
void portion_record_counts(json_fields *m, uint32_t samples[2], uint32_t *validation, bool *has_ids);

/* A partition as both have it, {"kind", "portions", "sample_shape": [c,h,w]}, and "portion" where it is of one. */

/* The field "partition"; `index`: which portion, NULL where it says none. */
void partition_record_read(json_fields *m, partition *s, uint32_t *index);

/* NULL where memory ran out. */
json_t *partition_record_pack(const partition *s, const uint32_t *index);

#endif
