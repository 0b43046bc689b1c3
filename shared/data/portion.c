#include "data/portion.h"

#include "base/file.h"
#include "base/json_fields.h"
#include "data/idx.h"
#include "data/partition.h"

#include <stdlib.h>
#include <string.h>

struct portion {
    portion_info info;
    size_t elements; /* of one sample */
    idx_array parts[2];
};

static const char *const split_names[] = {"train.idx", "test.idx"};

/* What a split may hold: 4 GiB, far below any overflow of size_t. */
static const uint64_t split_bytes_max = (uint64_t)1 << 32;

static size_t elements_of(const portion_info *info) {
    return (size_t)info->shape[0] * info->shape[1] * info->shape[2];
}

static void check_ranges(json_fields *m, const portion_info *info) {
    partition_kind kind;
    if (m->error) {
        return;
    }
    if (partition_parse(info->partition, &kind)) {
        json_fields_refuse(m, "partition", "is none of slices, quadrants, planes");
    }
    if (info->index >= info->portions) {
        json_fields_refuse(m, "portion", "is not below 'portions'");
    }
    uint64_t area = (uint64_t)info->shape[0] * info->shape[1]; /* each at most 2^20 */
    if (area > PARTITION_ELEMENTS_MAX || area * info->shape[2] > PARTITION_ELEMENTS_MAX) {
        json_fields_refuse(m, "shape", "has too many elements");
        return;
    }
    uint64_t samples_max = split_bytes_max / (area * info->shape[2]);
    if (info->samples[DATASET_TRAIN] > samples_max || info->samples[DATASET_TEST] > samples_max) {
        json_fields_refuse(m, info->samples[DATASET_TRAIN] > samples_max ? "train_samples" : "test_samples",
                           "is too large for the shape");
    }
}

static err read_info(const char *folder, portion_info *info) {
    static const char *const fields[] = {"dataset",       "partition",    "portions", "portion", "shape",
                                         "train_samples", "test_samples", "digest",   NULL};
    char path[FILE_PATH_MAX];
    json_fields m;
    err e = file_path(path, sizeof path, "%s/portion.json", folder);
    e = e ? e : json_fields_open(&m, path, fields);
    if (e) {
        return e;
    }
    json_fields_name(&m, "dataset", info->dataset, sizeof info->dataset);
    json_fields_name(&m, "partition", info->partition, sizeof info->partition);
    json_fields_number(&m, "portions", 1, PARTITION_PORTIONS_MAX, &info->portions);
    json_fields_number(&m, "portion", 0, PARTITION_PORTIONS_MAX - 1, &info->index);
    json_fields_numbers(&m, "shape", PARTITION_ELEMENTS_MAX, info->shape, 3);
    json_fields_number(&m, "train_samples", 1, UINT32_MAX, &info->samples[DATASET_TRAIN]);
    json_fields_number(&m, "test_samples", 1, UINT32_MAX, &info->samples[DATASET_TEST]);
    json_fields_digest(&m, "digest", info->digest);
    check_ranges(&m, info);
    return json_fields_close(&m);
}

static err read_samples(portion *p, const char *folder, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    const uint32_t dims[4] = {p->info.samples[split], p->info.shape[0], p->info.shape[1], p->info.shape[2]};
    err e = file_path(path, sizeof path, "%s/%s", folder, split_names[split]);
    e = e ? e : idx_read(path, p->info.samples[split] * p->elements, &p->parts[split]);
    if (e) {
        return e;
    }
    const idx_array *array = &p->parts[split];
    if (array->rank != 4 || memcmp(array->dims, dims, sizeof dims) != 0) {
        return err_fail(ERR_INPUT, "%s: its shape is not the [%u, %u, %u, %u] that portion.json says", path, dims[0],
                        dims[1], dims[2], dims[3]);
    }
    return ERR_OK;
}

static err digest_of(const file_span parts[2], char hex[SHA256_HEX]) {
    uint8_t digest[SHA256_BYTES];
    err e = sha256_spans(parts, 2, digest);
    if (!e) {
        sha256_hex(digest, hex);
    }
    return e;
}

static err check_digest(const portion *p, const char *folder) {
    char hex[SHA256_HEX];
    const file_span parts[2] = {{p->parts[DATASET_TRAIN].bytes, p->parts[DATASET_TRAIN].length},
                                {p->parts[DATASET_TEST].bytes, p->parts[DATASET_TEST].length}};
    err e = digest_of(parts, hex);
    if (e) {
        return e;
    }
    if (strcmp(hex, p->info.digest) != 0) {
        return err_fail(ERR_INPUT, "%s: SHA-256 of train.idx and test.idx is %s, not the 'digest' of portion.json, %s",
                        folder, hex, p->info.digest);
    }
    return ERR_OK;
}

err portion_open(portion **out, const char *folder) {
    portion *p = calloc(1, sizeof *p);
    if (!p) {
        return err_fail(ERR_MEMORY, "%s: no memory to open it", folder);
    }
    err e = read_info(folder, &p->info);
    p->elements = elements_of(&p->info);
    e = e ? e : read_samples(p, folder, DATASET_TRAIN);
    e = e ? e : read_samples(p, folder, DATASET_TEST);
    e = e ? e : check_digest(p, folder);
    if (e) {
        portion_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void portion_close(portion *p) {
    if (!p) {
        return;
    }
    idx_free(&p->parts[DATASET_TRAIN]);
    idx_free(&p->parts[DATASET_TEST]);
    free(p);
}

const portion_info *portion_get_info(const portion *p) {
    return &p->info;
}

const uint8_t *portion_sample(const portion *p, enum dataset_split split, uint32_t index) {
    return p->parts[split].bytes + index * p->elements;
}

static err write_samples(const char *folder, const portion_info *info, enum dataset_split split, const uint8_t *bytes) {
    char path[FILE_PATH_MAX];
    const uint32_t dims[4] = {info->samples[split], info->shape[0], info->shape[1], info->shape[2]};
    err e = file_path(path, sizeof path, "%s/%s", folder, split_names[split]);
    return e ? e : idx_write(path, bytes, 4, dims);
}

static err write_info(const char *folder, const portion_info *info) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/portion.json", folder);
    if (e) {
        return e;
    }
    json_t *root = json_pack("{s:s, s:s, s:I, s:I, s:[I, I, I], s:I, s:I, s:s}", "dataset", info->dataset, "partition",
                             info->partition, "portions", (json_int_t)info->portions, "portion",
                             (json_int_t)info->index, "shape", (json_int_t)info->shape[0], (json_int_t)info->shape[1],
                             (json_int_t)info->shape[2], "train_samples", (json_int_t)info->samples[DATASET_TRAIN],
                             "test_samples", (json_int_t)info->samples[DATASET_TEST], "digest", info->digest);
    return json_fields_write(path, root);
}

err portion_write(const char *folder, portion_info *info, const uint8_t *train, const uint8_t *test) {
    size_t elements = elements_of(info);
    const file_span parts[2] = {{train, info->samples[DATASET_TRAIN] * elements},
                                {test, info->samples[DATASET_TEST] * elements}};
    err e = digest_of(parts, info->digest);
    e = e ? e : file_make_folders(folder);
    e = e ? e : write_samples(folder, info, DATASET_TRAIN, train);
    e = e ? e : write_samples(folder, info, DATASET_TEST, test);
    return e ? e : write_info(folder, info);
}
