#include "data/labels.h"

#include "base/file.h"
#include "base/json_fields.h"
#include "data/idx.h"
#include "data/portion.h"

#include <stdlib.h>
#include <string.h>

static const char *const split_names[] = {"train-labels.idx", "test-labels.idx"};

enum { SAMPLES_MAX = 1 << 28 };

static void read_partition(json_fields *m, partition *s) {
    char kind[16] = "";
    uint32_t shape[3] = {0};
    json_fields_name(m, "partition", kind, sizeof kind);
    json_fields_number(m, "portions", 1, PARTITION_PORTIONS_MAX, &s->portions);
    json_fields_numbers(m, "sample_shape", PARTITION_ELEMENTS_MAX, shape, 3);
    s->channels = shape[0];
    s->height = shape[1];
    s->width = shape[2];
    if (m->error) {
        return;
    }
    if (partition_parse(kind, &s->kind)) {
        json_fields_refuse(m, "partition", "is none of slices, quadrants, planes");
    } else if (partition_check(s)) {
        m->error = err_prefix(ERR_INPUT, "%s: fields 'partition', 'portions', 'sample_shape'", m->path);
    }
}

static void read_digests(json_fields *m, labels *l) {
    if (m->error) {
        return;
    }
    l->portion_digests = calloc(l->partition.portions, sizeof *l->portion_digests);
    if (!l->portion_digests) {
        m->error = err_fail(ERR_MEMORY, "%s: no memory for %u digests", m->path, l->partition.portions);
        return;
    }
    json_fields_digests(m, "portion_digests", l->portion_digests, l->partition.portions);
}

static err read_info(const char *folder, labels *l) {
    static const char *const fields[] = {"dataset",      "partition",       "portions",
                                         "sample_shape", "classes",         "train_samples",
                                         "test_samples", "portion_digests", NULL};
    char path[FILE_PATH_MAX];
    json_fields m;
    err e = file_path(path, sizeof path, "%s/labels.json", folder);
    e = e ? e : json_fields_open(&m, path, fields);
    if (e) {
        return e;
    }
    json_fields_name(&m, "dataset", l->dataset, sizeof l->dataset);
    json_fields_number(&m, "classes", 2, DATASET_CLASSES_MAX, &l->classes);
    json_fields_number(&m, "train_samples", 1, SAMPLES_MAX, &l->samples[DATASET_TRAIN]);
    json_fields_number(&m, "test_samples", 1, SAMPLES_MAX, &l->samples[DATASET_TEST]);
    read_partition(&m, &l->partition);
    read_digests(&m, l);
    return json_fields_close(&m);
}

static err read_values(const char *folder, labels *l, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    idx_array array;
    err e = file_path(path, sizeof path, "%s/%s", folder, split_names[split]);
    e = e ? e : idx_read(path, l->samples[split], &array);
    if (e) {
        return e;
    }
    l->values[split] = array.bytes;
    if (array.rank != 1 || array.dims[0] != l->samples[split]) {
        return err_fail(ERR_INPUT, "%s: not the [%u] that labels.json says", path, l->samples[split]);
    }
    return dataset_check_labels(path, l->values[split], l->samples[split], l->classes);
}

err labels_open(labels *l, const char *folder) {
    *l = (labels){0};
    err e = read_info(folder, l);
    e = e ? e : read_values(folder, l, DATASET_TRAIN);
    e = e ? e : read_values(folder, l, DATASET_TEST);
    if (e) {
        labels_close(l);
    }
    return e;
}

void labels_close(labels *l) {
    free(l->values[DATASET_TRAIN]);
    free(l->values[DATASET_TEST]);
    free(l->portion_digests);
    *l = (labels){0};
}

static err write_values(const char *folder, const labels *l, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", folder, split_names[split]);
    e = e ? e : dataset_check_labels(path, l->values[split], l->samples[split], l->classes);
    return e ? e : idx_write(path, l->values[split], 1, &l->samples[split]);
}

static err write_info(const char *folder, const labels *l) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/labels.json", folder);
    if (e) {
        return e;
    }
    const partition *s = &l->partition;
    json_t *root =
        json_pack("{s:s, s:s, s:I, s:[I, I, I], s:I, s:I, s:I, s:o}", "dataset", l->dataset, "partition",
                  partition_name(s->kind), "portions", (json_int_t)s->portions, "sample_shape", (json_int_t)s->channels,
                  (json_int_t)s->height, (json_int_t)s->width, "classes", (json_int_t)l->classes, "train_samples",
                  (json_int_t)l->samples[DATASET_TRAIN], "test_samples", (json_int_t)l->samples[DATASET_TEST],
                  "portion_digests", json_fields_pack_digests(l->portion_digests, l->partition.portions));
    return json_fields_write(path, root);
}

err labels_write(const char *folder, const labels *l) {
    err e = partition_check(&l->partition);
    e = e ? e : file_make_folders(folder);
    e = e ? e : write_values(folder, l, DATASET_TRAIN);
    e = e ? e : write_values(folder, l, DATASET_TEST);
    return e ? e : write_info(folder, l);
}

err labels_open_portion(const labels *l, const char *data, uint32_t k, portion **p) {
    char folder[FILE_PATH_MAX];
    err e = file_path(folder, sizeof folder, "%s/node-%u", data, k);
    e = e ? e : portion_open(p, folder);
    if (e) {
        return e;
    }
    const portion_info *info = portion_get_info(*p);
    if (info->index == k && strcmp(info->digest, l->portion_digests[k]) == 0) {
        return ERR_OK;
    }
    e = err_fail(ERR_INPUT,
                 "%s: is not portion %u of what the labels were split from: it is portion %u with digest %.12s, not "
                 "%.12s",
                 folder, k, info->index, info->digest, l->portion_digests[k]);
    portion_close(*p);
    *p = NULL;
    return e;
}
