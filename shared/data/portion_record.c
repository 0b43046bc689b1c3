#include "data/portion_record.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a split: 4 GiB, far below any overflow of size_t. */
static const uint64_t split_bytes_max = (uint64_t)1 << 32;

/* Every feature of a row may have a mean, a deviation and a column of its own. */
enum { RECORD_BYTES_MAX = 1 << 26, COLUMNS_TEXT_MAX = 1 << 19 }; /* a checkpoint has the columns in its header */

static void read_shape(json_fields *m, portion_shape *s) {
    char type[8] = "";
    const json_t *dims = json_object_get(m->root, "shape");
    json_fields_text(m, "type", type, sizeof type);
    if (!m->error && portion_type_parse(type, &s->type)) {
        json_fields_refuse(m, "type", "is none of u8, f32");
    }
    if (!json_is_array(dims) || json_array_size(dims) < 1 || json_array_size(dims) > PORTION_RANK_MAX) {
        json_fields_refuse(m, "shape", "is not a list of 1 to 3 numbers");
        return;
    }
    s->rank = (uint32_t)json_array_size(dims);
    json_fields_numbers(m, "shape", PORTION_ELEMENTS_MAX, s->dims, s->rank);
    if (!m->error && portion_shape_check(s)) {
        json_fields_refuse(m, "shape", "has too many elements");
    }
}

void portion_record_counts(json_fields *m, uint32_t samples[2], uint32_t *validation, bool *has_ids) {
    char ids[16] = "";
    json_fields_number(m, "train_samples", 1, PORTION_SAMPLES_MAX, &samples[DATASET_TRAIN]);
    json_fields_number(m, "test_samples", 1, PORTION_SAMPLES_MAX, &samples[DATASET_TEST]);
    json_fields_number(m, "validation_samples", 0, PORTION_SAMPLES_MAX, validation);
    json_fields_text(m, "ids", ids, sizeof ids);
    *has_ids = strcmp(ids, "listed") == 0;
    if (!*has_ids && strcmp(ids, "counted") != 0) {
        json_fields_refuse(m, "ids", "is neither \"counted\" nor \"listed\"");
    }
    if (!m->error && *validation >= samples[DATASET_TRAIN]) {
        json_fields_refuse(m, "validation_samples", "is not below 'train_samples'");
    }
}

static void read_counts(json_fields *m, portion_info *info) {
    portion_record_counts(m, info->samples, &info->validation, &info->has_ids);
    uint64_t most = m->error ? UINT64_MAX : split_bytes_max / portion_shape_bytes(&info->shape);
    if (info->samples[DATASET_TRAIN] > most || info->samples[DATASET_TEST] > most) {
        json_fields_refuse(m, info->samples[DATASET_TRAIN] > most ? "train_samples" : "test_samples",
                           "is too large for the shape");
    }
}

static void read_floats(json_fields *m, const char *field, float *to, uint32_t count) {
    const json_t *array = json_object_get(m->root, field);
    bool fits = json_is_array(array) && json_array_size(array) == count;
    for (uint32_t i = 0; i < count && fits; i++) {
        const json_t *value = json_array_get(array, i);
        to[i] = (float)json_number_value(value);
        fits = json_is_number(value);
    }
    if (!fits && !m->error) {
        m->error = err_fail(ERR_INPUT, "%s: field '%s' is not a list of %u numbers", m->path, field, count);
    }
}

static err take_scaling(portion_scaling *s, uint32_t channels) {
    s->mean = calloc((size_t)channels * 2, sizeof *s->mean);
    if (!s->mean) {
        return err_fail(ERR_MEMORY, "no memory for the scaling of %u channels", channels);
    }
    s->std = s->mean + channels;
    s->channels = channels;
    return ERR_OK;
}

static void read_scaling(json_fields *m, const portion_info *info, portion_scaling *s) {
    if (m->error || (!json_fields_has(m, "mean") && !json_fields_has(m, "std"))) {
        return;
    }
    m->error = take_scaling(s, portion_shape_channels(&info->shape));
    if (m->error) {
        return;
    }
    read_floats(m, "mean", s->mean, s->channels);
    read_floats(m, "std", s->std, s->channels);
    if (!m->error && portion_scaling_check(s)) {
        m->error = err_prefix(ERR_INPUT, "%s: fields 'mean', 'std'", m->path);
    }
}

static err take_columns(const json_t *list, const portion_info *info, portion_record *r) {
    const portion_shape *s = &info->shape;
    err e = columns_from_json(&r->columns, list);
    if (e) {
        return e;
    }
    if (s->type != PORTION_F32 || s->rank != 1 || s->dims[0] != columns_features(r->columns)) {
        char text[PORTION_SHAPE_TEXT];
        return err_fail(ERR_INPUT, "the columns make f32 [%u], the portion is %s", columns_features(r->columns),
                        portion_shape_text(s, text));
    }
    json_t *again = columns_to_json(r->columns);
    r->columns_text = json_text(again, JSON_COMPACT);
    json_decref(again);
    if (!r->columns_text) {
        return err_fail(ERR_MEMORY, "no memory for %u columns", columns_count(r->columns));
    }
    return strlen(r->columns_text) <= COLUMNS_TEXT_MAX
               ? ERR_OK
               : err_fail(ERR_INPUT, "%u columns take more than %d bytes", columns_count(r->columns), COLUMNS_TEXT_MAX);
}

static void read_columns(json_fields *m, const portion_info *info, portion_record *r) {
    const json_t *list = json_object_get(m->root, "columns");
    err e = m->error || !list ? ERR_OK : take_columns(list, info, r);
    if (e) {
        m->error = err_prefix(e, "%s: field 'columns'", m->path);
    }
}

void partition_record_read(json_fields *m, partition *s, uint32_t *index) {
    static const char *const of_all[] = {"kind", "portions", "sample_shape", NULL};
    static const char *const of_one[] = {"kind", "portions", "portion", "sample_shape", NULL};
    char kind[16] = "";
    uint32_t shape[3] = {0};
    json_fields in;
    json_fields_enter(m, "partition", index ? of_one : of_all, &in);
    json_fields_name(&in, "kind", kind, sizeof kind);
    json_fields_number(&in, "portions", 1, PARTITION_PORTIONS_MAX, &s->portions);
    json_fields_numbers(&in, "sample_shape", PARTITION_ELEMENTS_MAX, shape, 3);
    if (index) {
        json_fields_number(&in, "portion", 0, PARTITION_PORTIONS_MAX - 1, index);
    }
    s->channels = shape[0];
    s->height = shape[1];
    s->width = shape[2];
    if (!in.error && partition_parse(kind, &s->kind)) {
        json_fields_refuse(&in, "kind", "is none of slices, quadrants, planes");
    } else if (!in.error && partition_check(s)) {
        in.error = err_prefix(ERR_INPUT, "%s: field 'partition'", in.path);
    } else if (!in.error && index && *index >= s->portions) {
        json_fields_refuse(&in, "portion", "is not below 'portions'");
    }
    json_fields_leave(m, &in);
}

static void read_partition(json_fields *m, portion_info *info) {
    if (m->error || !json_fields_has(m, "partition")) {
        return;
    }
    partition_record_read(m, &info->partition, &info->index);
    info->has_partition = !m->error;
    if (m->error) {
        return;
    }
    portion_shape cut = partition_shape_of_portions(&info->partition);
    if (!portion_shape_equals(&cut, &info->shape)) {
        json_fields_refuse(m, "partition", "makes portions of another shape");
    }
}

static void read_names(json_fields *m, portion_info *info) {
    json_fields_name(m, "dataset", info->dataset, sizeof info->dataset);
    json_fields_text(m, "portion", info->name, sizeof info->name);
    if (!portion_name_is_valid(info->name)) {
        json_fields_refuse(m, "portion", "is no name of 1 to 31 letters, digits, '.', '_' and '-'");
    }
}

err portion_record_read(const char *folder, portion_info *info, portion_record *r) {
    static const char *const fields[] = {
        "format",        "dataset",      "portion",  "type",       "shape",
        "train_samples", "test_samples", "ids",      "digest",     "validation_samples",
        "?mean",         "?std",         "?columns", "?partition", NULL};
    static const json_fields_form form = {fields, PORTION_FORMAT, PORTION_REMEDY, RECORD_BYTES_MAX};
    char path[FILE_PATH_MAX];
    json_fields m;
    *info = (portion_info){0};
    *r = (portion_record){0};
    err e = file_path(path, sizeof path, "%s/portion.json", folder);
    e = e ? e : json_fields_open_form(&m, path, &form);
    if (e) {
        return e;
    }
    read_names(&m, info);
    read_shape(&m, &info->shape);
    read_counts(&m, info);
    json_fields_digest(&m, "digest", info->digest);
    read_scaling(&m, info, &r->scaling);
    read_columns(&m, info, r);
    read_partition(&m, info);
    e = json_fields_close(&m);
    if (e) {
        portion_record_free(r);
    }
    return e;
}

static err check_info(const portion_info *info) {
    err e = portion_shape_check(&info->shape);
    if (e || !portion_name_is_valid(info->name)) {
        return e ? e
                 : err_fail(ERR_INPUT, "a portion needs a name of 1 to %d letters, digits, '.', '_' and '-'",
                            PORTION_NAME_MAX);
    }
    uint64_t most = split_bytes_max / portion_shape_bytes(&info->shape);
    for (int split = 0; split < 2; split++) {
        uint32_t samples = info->samples[split];
        if (samples == 0 || samples > most || samples > PORTION_SAMPLES_MAX) {
            return err_fail(ERR_INPUT, "portion %s has %u %s samples: not 1 to %llu", info->name, samples,
                            split ? "test" : "training",
                            (unsigned long long)(most < PORTION_SAMPLES_MAX ? most : PORTION_SAMPLES_MAX));
        }
    }
    return info->validation < info->samples[DATASET_TRAIN]
               ? ERR_OK
               : err_fail(ERR_INPUT, "portion %s holds back %u of %u training samples", info->name, info->validation,
                          info->samples[DATASET_TRAIN]);
}

static err copy_scaling(portion_scaling *to, const portion_info *info, const portion_scaling *from) {
    if (from->channels != portion_shape_channels(&info->shape)) {
        return err_fail(ERR_INPUT, "the scaling of %u channels is not of the %u of portion %s", from->channels,
                        portion_shape_channels(&info->shape), info->name);
    }
    err e = portion_scaling_check(from);
    e = e ? e : take_scaling(to, from->channels);
    if (!e) {
        memcpy(to->mean, from->mean, from->channels * sizeof *to->mean);
        memcpy(to->std, from->std, from->channels * sizeof *to->std);
    }
    return e;
}

err portion_record_make(portion_record *r, const portion_info *info, const portion_scaling *scaling,
                        const columns *columns) {
    *r = (portion_record){0};
    err e = check_info(info);
    e = e || !scaling ? e : copy_scaling(&r->scaling, info, scaling);
    if (e || !columns) {
        return e;
    }
    json_t *list = columns_to_json(columns);
    e = list ? take_columns(list, info, r) : err_fail(ERR_MEMORY, "no memory for the columns");
    json_decref(list);
    return e;
}

static json_t *pack_floats(const float *values, uint32_t count) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        json_list_add(&array, json_real((double)values[i]));
    }
    return array;
}

static json_t *pack_shape(const portion_shape *s) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < s->rank; i++) {
        json_list_add(&array, json_integer(s->dims[i]));
    }
    return array;
}

json_t *partition_record_pack(const partition *s, const uint32_t *index) {
    json_t *record =
        json_pack("{s:s, s:I, s:[I, I, I]}", "kind", partition_name(s->kind), "portions", (json_int_t)s->portions,
                  "sample_shape", (json_int_t)s->channels, (json_int_t)s->height, (json_int_t)s->width);
    if (index) {
        json_put(&record, "portion", json_integer(*index));
    }
    return record;
}

static void add_optional(json_t **root, const portion_info *info, const portion_record *r) {
    if (r->scaling.channels) {
        json_put(root, "mean", pack_floats(r->scaling.mean, r->scaling.channels));
        json_put(root, "std", pack_floats(r->scaling.std, r->scaling.channels));
    }
    if (r->columns) {
        json_put(root, "columns", columns_to_json(r->columns));
    }
    if (info->has_partition) {
        json_put(root, "partition", partition_record_pack(&info->partition, &info->index));
    }
}

err portion_record_write(const char *folder, const portion_info *info, const portion_record *r) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/portion.json", folder);
    if (e) {
        return e;
    }
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:s, s:s}", "format", PORTION_FORMAT, "dataset",
                             info->dataset, "portion", info->name, "type", portion_type_name(info->shape.type), "shape",
                             pack_shape(&info->shape), "train_samples", (json_int_t)info->samples[DATASET_TRAIN],
                             "validation_samples", (json_int_t)info->validation, "test_samples",
                             (json_int_t)info->samples[DATASET_TEST], "ids", info->has_ids ? "listed" : "counted",
                             "digest", info->digest);
    add_optional(&root, info, r);
    return json_fields_write_long(path, root, RECORD_BYTES_MAX);
}

void portion_record_free(portion_record *r) {
    free(r->scaling.mean);
    columns_free(r->columns);
    free(r->columns_text);
    *r = (portion_record){0};
}
