/* The server's own data: labels, what a sample looks like, and which portions there are. No pixels.
 *
 * A labels folder holds
 *   labels.json        {"dataset", "partition", "portions", "sample_shape": [c,h,w], "classes", "train_samples",
 *                       "test_samples", "portion_digests": [hex, ...]}
 *   train-labels.idx   bytes [train_samples]          test-labels.idx   bytes [test_samples] */
#ifndef FEWBIT_DATA_LABELS_H
#define FEWBIT_DATA_LABELS_H

#include "base/err.h"
#include "base/sha256.h"
#include "data/dataset.h"
#include "data/partition.h"

#include <stdint.h>

struct portion; /* data/portion.h */

typedef struct labels {
    char dataset[32];
    partition partition;
    uint32_t classes;
    uint32_t samples[2];                 /* by enum dataset_split */
    uint8_t *values[2];                  /* [samples[split]], each < classes */
    char (*portion_digests)[SHA256_HEX]; /* [partition.portions] */
} labels;

/* Opens and checks (every label < classes). The caller ends it with labels_close. */
err labels_open(labels *l, const char *folder);
void labels_close(labels *l);

/* Opens portion k of the same data, DATA/node-K; ERR_INPUT where it was split off another data set. */
err labels_open_portion(const labels *l, const char *data, uint32_t k, struct portion **p);

/* Writes a folder; labels.json last. */
err labels_write(const char *folder, const labels *l);

#endif
