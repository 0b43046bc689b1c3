/* The server's own data: the classes of the samples, and which samples there are. No values of theirs.
 *
 * A labels folder holds
 *   labels.json       {"format": 2, "dataset", "classes": [names], "train_samples", "validation_samples": so many, the
 *                      last ones, of the training samples, "test_samples", "ids": "counted" or "listed"}, and where it
 *                      was split off a published data set "partition": {"kind", "portions", "sample_shape": [c,h,w]};
 *                      where the owners' data is known, "portion_digests": {NAME: hex}
 *   train-labels.npy  u8 [train_samples]          test-labels.npy  u8 [test_samples]
 *   train-ids.txt, test-ids.txt                   only of listed ids (data/sample_ids.h) */
#ifndef FEWBIT_DATA_LABELS_H
#define FEWBIT_DATA_LABELS_H

#include "data/class_names.h"
#include "data/partition.h"
#include "data/sample_ids.h"

struct portion; /* data/portion.h */

/* What an owner's data must be. */
typedef struct labels_portion {
    char name[PORTION_NAME_MAX + 1];
    char digest[SHA256_HEX];
} labels_portion;

typedef struct labels {
    char dataset[32];
    class_names classes;
    uint32_t samples[2]; /* by enum dataset_split */
    uint32_t validation; /* of the training samples, the last ones */
    uint8_t *values[2];  /* [samples[split]], each < classes.count */
    sample_ids *ids;     /* NULL: counted */
    bool has_partition;
    partition partition;
    labels_portion *portions; /* [portion_count]; 0: not known. Of a partition: "0", "1", ... in order */
    uint32_t portion_count;
} labels;

/* Opens and checks (every label < classes). The caller ends it with labels_close. */
err labels_open(labels *l, const char *folder);
void labels_close(labels *l);

/* The digest that the data of a portion must have; NULL: not known. */
const char *labels_portion_digest(const labels *l, const char *name);

/* Opens portion NAME of the same data, DATA/node-NAME; ERR_INPUT where it is of other data. */
err labels_open_portion(const labels *l, const char *data, const char *name, struct portion **p);

/* Writes a folder; labels.json last. */
err labels_write(const char *folder, const labels *l);

#endif
