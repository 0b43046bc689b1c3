/* The data sets we know by name: shapes, class names, files. */
#ifndef FEWBIT_DATA_DATASET_H
#define FEWBIT_DATA_DATASET_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { DATASET_CLASSES_MAX = 100, DATASET_FILES_MAX = 6 };

/* One published file. The digest is of the content (decompressed, where `gzip`), so that a copy compressed
 * again elsewhere still counts as the same. */
typedef struct dataset_file {
    const char *name; /* as published, without ".gz" */
    const char *sha256;
} dataset_file;

typedef struct dataset {
    const char *name; /* "mnist", "fashion-mnist", "cifar10" */
    uint32_t channels, height, width;
    uint32_t classes;
    const char *const *class_names; /* [classes] */
    uint32_t train_samples, test_samples;
    dataset_file files[DATASET_FILES_MAX];
    size_t file_count;
} dataset;

/* ERR_INPUT naming the sets there are, when `name` is none of them. Static memory. */
err dataset_find(const char *name, const dataset **set);

/* Loads images and labels of one part. For the IDX sets; `folder` holds the published files, gzipped or not.
 * images: [samples, channels, height, width]; labels: [samples]. Each one allocation the caller frees. */
enum dataset_part { DATASET_TRAIN, DATASET_TEST };
err dataset_load(const dataset *set, const char *folder, enum dataset_part part, uint8_t **images,
                 uint8_t **labels);

#endif
