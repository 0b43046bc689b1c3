/* The data sets that are known by name: shapes, class names, files. */
#ifndef FEWBIT_DATA_DATASET_H
#define FEWBIT_DATA_DATASET_H

#include "base/err.h"

enum { DATASET_CLASSES_MAX = 100, DATASET_FILES_MAX = 6, DATASET_EDITIONS_MAX = 2 };

/* DATASET_IDX: files [0] train images, [1] train labels, [2] test images, [3] test labels, as IDX.
 * DATASET_CIFAR: the last file is the test split, all before it train; records of `label_bytes` label bytes, the
 * last of which is the class, then channels x height x width. */
typedef enum dataset_format { DATASET_IDX, DATASET_CIFAR } dataset_format;

/* One published file. The digests are of the content (decompressed, where it is gzipped), so that a copy
 * compressed again elsewhere still counts as the same. */
typedef struct dataset_file {
    const char *name; /* as published, without ".gz" */
    const char *sha256[DATASET_EDITIONS_MAX];
} dataset_file;

typedef struct dataset {
    const char *name; /* "mnist", "fashion-mnist", "cifar10", "cifar100" */
    dataset_format format;
    uint32_t label_bytes; /* DATASET_CIFAR only */
    uint32_t channels, height, width;
    uint32_t classes;
    const char *const *class_names; /* [classes] */
    uint32_t train_samples, test_samples;
    dataset_file files[DATASET_FILES_MAX];
    size_t file_count;
    const char *editions[DATASET_EDITIONS_MAX]; /* [0] as published; others are copies with other bytes */
    size_t edition_count;
    const char *archive; /* the tar.gz that the files are published in, or NULL */
    const char *archive_sha256;
    const char *archive_folder; /* where they lie in it */
} dataset;

enum dataset_split { DATASET_TRAIN, DATASET_TEST };

typedef struct dataset_samples {
    uint8_t *images; /* [count, channels, height, width] */
    uint8_t *labels; /* [count], each < classes */
    uint32_t count;
} dataset_samples;

/* ERR_INPUT naming the sets there are, when `name` is none of them. Static memory. */
err dataset_find(const char *name, const dataset **set);

/* Where file `index` of the set is: FOLDER/NAME, or else FOLDER/NAME.gz (IDX) or
 * FOLDER/cifar-10-batches-bin/NAME (CIFAR: the archive's folder). ERR_NOT_FOUND when it is nowhere there. */
err dataset_locate(const dataset *set, const char *folder, size_t index, char *path, size_t size);

/* Loads one split from a folder that holds the set's files. Takes as many samples as the files hold, at most
 * the published number; shapes and labels are checked. The caller ends it with dataset_samples_free. */
err dataset_load(const dataset *set, const char *folder, enum dataset_split split, dataset_samples *samples);
void dataset_samples_free(dataset_samples *samples);

/* ERR_INPUT naming `path` and the first index whose label is not below `classes`. */
err dataset_check_labels(const char *path, const uint8_t *labels, size_t count, uint32_t classes);

#endif
