#include "data/portion.h"

#include "base/byte_reader.h"
#include "data/npy.h"

#include <stdlib.h>
#include <string.h>

struct portion {
    portion_info info;
    portion_record record;
    size_t bytes; /* of one sample */
    npy_array parts[2];
    sample_ids *ids;
};

static const char *const file_names[] = {"train.npy", "test.npy"};

static err read_samples(portion *p, const char *folder, enum dataset_split split) {
    char path[FILE_PATH_MAX];
    const portion_shape *s = &p->info.shape;
    uint32_t samples = p->info.samples[split];
    npy_array *a = &p->parts[split];
    err e = file_path(path, sizeof path, "%s/%s", folder, file_names[split]);
    e = e ? e : npy_read(path, s->type, samples * portion_shape_elements(s), a);
    if (e) {
        return e;
    }
    if (a->rank != s->rank + 1 || a->dims[0] != samples ||
        memcmp(a->dims + 1, s->dims, s->rank * sizeof s->dims[0]) != 0) {
        char text[PORTION_SHAPE_TEXT];
        return err_fail(ERR_INPUT, "%s: is not the %u samples of %s that portion.json says", path, samples,
                        portion_shape_text(s, text));
    }
    return ERR_OK;
}

/* Every span has a length that is told before it. */
static err digest_of(const portion_info *info, const void *const values[2], const portion_record *r,
                     char hex[SHA256_HEX]) {
    uint8_t digest[SHA256_BYTES], numbers[40];
    const portion_shape *s = &info->shape;
    size_t bytes = portion_shape_bytes(s), channels = r->scaling.channels;
    size_t columns = r->columns ? strlen(r->columns_text) : 0;
    const uint32_t all[] = {(uint32_t)s->type,
                            s->rank,
                            s->dims[0],
                            s->dims[1],
                            s->dims[2],
                            info->samples[DATASET_TRAIN],
                            info->samples[DATASET_TEST],
                            info->has_ids,
                            (uint32_t)channels,
                            (uint32_t)columns};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        byte_put_u32_le(numbers + 4 * i, all[i]);
    }
    const file_span spans[] = {{numbers, sizeof numbers},
                               {values[DATASET_TRAIN], info->samples[DATASET_TRAIN] * bytes},
                               {values[DATASET_TEST], info->samples[DATASET_TEST] * bytes},
                               {info->ids_digest, strlen(info->ids_digest)},
                               {r->scaling.mean, channels * sizeof(float)},
                               {r->scaling.std, channels * sizeof(float)},
                               {r->columns_text, columns}};
    err e = sha256_spans(spans, sizeof spans / sizeof spans[0], digest);
    if (!e) {
        sha256_hex(digest, hex);
    }
    return e;
}

static err check_digest(portion *p, const char *folder) {
    char hex[SHA256_HEX];
    const void *const values[2] = {p->parts[DATASET_TRAIN].values, p->parts[DATASET_TEST].values};
    err e = p->ids ? sample_ids_digest(p->ids, p->info.ids_digest) : ERR_OK;
    e = e ? e : digest_of(&p->info, values, &p->record, hex);
    if (e) {
        return e;
    }
    return strcmp(hex, p->info.digest) == 0
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: the SHA-256 of what it holds is %s, not the 'digest' of portion.json, %s",
                          folder, hex, p->info.digest);
}

err portion_open(portion **out, const char *folder) {
    portion *p = calloc(1, sizeof *p);
    if (!p) {
        return err_fail(ERR_MEMORY, "%s: no memory to open it", folder);
    }
    err e = portion_record_read(folder, &p->info, &p->record);
    p->bytes = e ? 0 : portion_shape_bytes(&p->info.shape);
    e = e ? e : read_samples(p, folder, DATASET_TRAIN);
    e = e ? e : read_samples(p, folder, DATASET_TEST);
    e = e || !p->info.has_ids ? e : sample_ids_read(&p->ids, folder, p->info.samples);
    e = e ? e : check_digest(p, folder);
    if (e) {
        portion_close(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

void portion_close(portion *p) {
    if (p) {
        npy_free(&p->parts[DATASET_TRAIN]);
        npy_free(&p->parts[DATASET_TEST]);
        sample_ids_free(p->ids);
        portion_record_free(&p->record);
        free(p);
    }
}

const portion_info *portion_get_info(const portion *p) {
    return &p->info;
}

const void *portion_sample(const portion *p, enum dataset_split split, uint32_t index) {
    return (const uint8_t *)p->parts[split].values + index * p->bytes;
}

const char *portion_id(const portion *p, enum dataset_split split, uint32_t index) {
    static _Thread_local char counted[SAMPLE_ID_MAX + 1];
    return p->ids ? sample_ids_get(p->ids, split, index) : sample_id_count(p->info.samples, split, index, counted);
}

bool portion_find(const portion *p, const char *id, enum dataset_split *split, uint32_t *index) {
    return p->ids ? sample_ids_find(p->ids, id, split, index)
                  : sample_id_find_counted(p->info.samples, id, split, index);
}

const sample_ids *portion_get_ids(const portion *p) {
    return p->ids;
}

const portion_scaling *portion_get_scaling(const portion *p) {
    return p->record.scaling.channels ? &p->record.scaling : NULL;
}

const columns *portion_get_columns(const portion *p) {
    return p->record.columns;
}

const char *portion_get_columns_text(const portion *p) {
    return p->record.columns_text;
}

static err write_samples(const char *folder, const portion_info *info, enum dataset_split split, const void *values) {
    char path[FILE_PATH_MAX];
    const portion_shape *s = &info->shape;
    uint32_t dims[NPY_RANK_MAX] = {info->samples[split], s->dims[0], s->dims[1], s->dims[2]};
    err e = file_path(path, sizeof path, "%s/%s", folder, file_names[split]);
    return e ? e : npy_write(path, s->type, s->rank + 1, dims, values);
}

err portion_write(const char *folder, portion_info *info, const portion_contents *c) {
    portion_record r = {0};
    err e = portion_record_make(&r, info, c->scaling, c->columns);
    info->has_ids = c->ids != NULL;
    info->ids_digest[0] = '\0';
    e = e || !c->ids ? e : sample_ids_digest(c->ids, info->ids_digest);
    e = e ? e : digest_of(info, c->values, &r, info->digest);
    e = e ? e : file_make_folders(folder);
    e = e ? e : write_samples(folder, info, DATASET_TRAIN, c->values[DATASET_TRAIN]);
    e = e ? e : write_samples(folder, info, DATASET_TEST, c->values[DATASET_TEST]);
    e = e ? e : sample_ids_write(c->ids, folder);
    e = e ? e : portion_record_write(folder, info, &r);
    portion_record_free(&r);
    return e;
}
