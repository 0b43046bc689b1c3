#include "data/labels.h"

#include "base/json.h"
#include "data/npy.h"
#include "data/portion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const file_names[] = {"train-labels.npy", "test-labels.npy"};

static void read_digests(json_fields *m, labels *l) {
    json_t *digests = json_object_get(m->root, "portion_digests"), *value;
    const char *name;
    if (m->error || !digests) {
        return;
    }
    size_t count = json_object_size(digests);
    if (count < 1 || count > PARTITION_PORTIONS_MAX) {
        json_fields_refuse(m, "portion_digests", "is not an object of 1 to 64 digests");
        return;
    }
    l->portions = calloc(count, sizeof *l->portions);
    if (!l->portions) {
        m->error = err_fail(ERR_MEMORY, "%s: no memory for %zu digests", m->path, count);
        return;
    }
    json_object_foreach(digests, name, value) {
        uint8_t digest[SHA256_BYTES];
        if (!portion_name_is_valid(name) || !sha256_parse(json_string_value(value), digest)) {
            json_fields_refuse(m, "portion_digests", "holds something that is no name of a portion with its SHA-256");
            return;
        }
        labels_portion *to = &l->portions[l->portion_count++];
        strcpy(to->name, name);
        sha256_hex(digest, to->digest);
    }
}

/* Portions of a published data set have their numbers for names. */
static void read_partition(json_fields *m, labels *l) {
    if (m->error || !json_fields_has(m, "partition")) {
        return;
    }
    partition_record_read(m, &l->partition, NULL);
    l->has_partition = !m->error;
    for (uint32_t k = 0; k < l->portion_count && !m->error; k++) {
        char name[16];
        snprintf(name, sizeof name, "%u", k);
        if (strcmp(l->portions[k].name, name) != 0 || l->portion_count != l->partition.portions) {
            json_fields_refuse(m, "portion_digests", "does not name the portions of 'partition'");
        }
    }
}

static err read_info(const char *folder, labels *l, bool *has_ids) {
    static const char *const fields[] = {
        "format",       "dataset", "classes",    "train_samples",    "validation_samples",
        "test_samples", "ids",     "?partition", "?portion_digests", NULL};
    static const json_fields_form form = {fields, PORTION_FORMAT, PORTION_REMEDY, JSON_FIELDS_BYTES_MAX};
    char path[FILE_PATH_MAX];
    json_fields m;
    err e = file_path(path, sizeof path, "%s/labels.json", folder);
    e = e ? e : json_fields_open_form(&m, path, &form);
    if (e) {
        return e;
    }
    json_fields_name(&m, "dataset", l->dataset, sizeof l->dataset);
    class_names_read(&m, "classes", &l->classes);
    portion_record_counts(&m, l->samples, &l->validation, has_ids);
    read_digests(&m, l);
    read_partition(&m, l);
    return json_fields_close(&m);
}

static err read_values(const char *folder, labels *l, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    npy_array array;
    err e = file_path(path, sizeof path, "%s/%s", folder, file_names[split]);
    e = e ? e : npy_read(path, PORTION_U8, l->samples[split], &array);
    if (e) {
        return e;
    }
    l->values[split] = array.values;
    if (array.rank != 1 || array.dims[0] != l->samples[split]) {
        return err_fail(ERR_INPUT, "%s: is not the [%u] that labels.json says", path, l->samples[split]);
    }
    return dataset_check_labels(path, l->values[split], l->samples[split], l->classes.count);
}

err labels_open(labels *l, const char *folder) {
    bool has_ids = false;
    *l = (labels){0};
    err e = read_info(folder, l, &has_ids);
    e = e ? e : read_values(folder, l, DATASET_TRAIN);
    e = e ? e : read_values(folder, l, DATASET_TEST);
    e = e || !has_ids ? e : sample_ids_read(&l->ids, folder, l->samples);
    if (e) {
        labels_close(l);
    }
    return e;
}

void labels_close(labels *l) {
    free(l->values[DATASET_TRAIN]);
    free(l->values[DATASET_TEST]);
    free(l->portions);
    sample_ids_free(l->ids);
    *l = (labels){0};
}

const char *labels_portion_digest(const labels *l, const char *name) {
    for (uint32_t k = 0; k < l->portion_count; k++) {
        if (strcmp(l->portions[k].name, name) == 0) {
            return l->portions[k].digest;
        }
    }
    return NULL;
}

static err write_values(const char *folder, const labels *l, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", folder, file_names[split]);
    e = e ? e : dataset_check_labels(path, l->values[split], l->samples[split], l->classes.count);
    return e ? e : npy_write(path, PORTION_U8, 1, &l->samples[split], l->values[split]);
}

static json_t *pack_digests(const labels *l) {
    json_t *digests = json_object();
    for (uint32_t k = 0; k < l->portion_count; k++) {
        json_put(&digests, l->portions[k].name, json_string(l->portions[k].digest));
    }
    return digests;
}

static err write_info(const char *folder, const labels *l) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/labels.json", folder);
    if (e) {
        return e;
    }
    json_t *root =
        json_pack("{s:i, s:s, s:o, s:I, s:I, s:I, s:s}", "format", PORTION_FORMAT, "dataset", l->dataset, "classes",
                  class_names_pack(&l->classes), "train_samples", (json_int_t)l->samples[DATASET_TRAIN],
                  "validation_samples", (json_int_t)l->validation, "test_samples", (json_int_t)l->samples[DATASET_TEST],
                  "ids", l->ids ? "listed" : "counted");
    if (l->has_partition) {
        json_put(&root, "partition", partition_record_pack(&l->partition, NULL));
    }
    if (l->portion_count) {
        json_put(&root, "portion_digests", pack_digests(l));
    }
    return json_fields_write(path, root);
}

err labels_write(const char *folder, const labels *l) {
    err e = l->has_partition ? partition_check(&l->partition) : ERR_OK;
    e = e ? e : file_make_folders(folder);
    e = e ? e : write_values(folder, l, DATASET_TRAIN);
    e = e ? e : write_values(folder, l, DATASET_TEST);
    e = e ? e : sample_ids_write(l->ids, folder);
    return e ? e : write_info(folder, l);
}

err labels_open_portion(const labels *l, const char *data, const char *name, portion **p) {
    char folder[FILE_PATH_MAX];
    err e = file_path(folder, sizeof folder, "%s/node-%s", data, name);
    e = e ? e : portion_open(p, folder);
    if (e) {
        return e;
    }
    const portion_info *info = portion_get_info(*p);
    const char *digest = labels_portion_digest(l, name);
    if (strcmp(info->name, name) == 0 && (!digest || strcmp(info->digest, digest) == 0)) {
        return ERR_OK;
    }
    e = strcmp(info->name, name) != 0
            ? err_fail(ERR_INPUT, "%s: holds portion %s, not %s", folder, info->name, name)
            : err_fail(ERR_INPUT, "%s: its digest is %.12s, that of portion %s of what the labels are of %.12s", folder,
                       info->digest, name, digest);
    portion_close(*p);
    *p = NULL;
    return e;
}
