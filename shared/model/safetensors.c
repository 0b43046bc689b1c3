#include "model/safetensors.h"

#include "base/cursor.h"
#include "base/file.h"
#include "base/json.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char metadata_key[] = "__metadata__";

static size_t bytes_of(const safetensors_entry *entry) {
    size_t count = 1;
    for (uint32_t i = 0; i < entry->rank; i++) {
        count *= entry->shape[i];
    }
    return count * sizeof(float);
}

static json_t *describe_entry(const safetensors_entry *entry, size_t offset) {
    json_t *shape = json_array();
    bool good = true;
    for (uint32_t i = 0; i < entry->rank; i++) {
        good = json_array_append_new(shape, json_integer(entry->shape[i])) == 0 && good;
    }
    if (!good) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)offset,
                     (json_int_t)(offset + bytes_of(entry)));
}

/* NULL: no memory. */
static char *describe(const safetensors_entry *entries, size_t count, const safetensors_pair *metadata,
                      size_t metadata_count) {
    json_t *header = json_object();
    json_t *pairs = json_object();
    bool good = true;
    for (size_t i = 0; i < metadata_count; i++) {
        good = json_object_set_new(pairs, metadata[i].key, json_string(metadata[i].value)) == 0 && good;
    }
    good = json_object_set_new(header, metadata_key, pairs) == 0 && good;
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        good = json_object_set_new(header, entries[i].name, describe_entry(&entries[i], offset)) == 0 && good;
        offset += bytes_of(&entries[i]);
    }
    char *text = good ? json_text(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

static err digest_spans(const file_span *spans, size_t count, uint8_t digest[DIGEST_BYTES]) {
    digest_state *state;
    err e = digest_start(&state);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < count && !e; i++) {
        e = digest_add(state, spans[i].bytes, spans[i].length);
    }
    err finished = digest_finish(state, e ? NULL : digest);
    return e ? e : finished;
}

err safetensors_write(const char *path, const safetensors_entry *entries, size_t count,
                      const safetensors_pair *metadata, size_t metadata_count, uint8_t digest[DIGEST_BYTES]) {
    char *text = describe(entries, count, metadata, metadata_count);
    file_span *spans = calloc(count + 3, sizeof *spans);
    if (!text || !spans) {
        free(text);
        free(spans);
        return err_fail(ERR_MEMORY, "%s: no memory for its header", path);
    }
    size_t length = strlen(text), padding = (8 - length % 8) % 8;
    uint8_t prefix[8];
    put_u64_le(prefix, length + padding);
    spans[0] = (file_span){prefix, sizeof prefix};
    spans[1] = (file_span){text, length};
    spans[2] = (file_span){"       ", padding};
    for (size_t i = 0; i < count; i++) {
        spans[3 + i] = (file_span){entries[i].values, bytes_of(&entries[i])};
    }
    err e = digest ? digest_spans(spans, count + 3, digest) : ERR_OK;
    e = e ? e : file_write_atomic(path, spans, count + 3);
    free(spans);
    free(text);
    return e;
}

struct safetensors {
    char path[FILE_PATH_MAX];
    uint8_t *bytes;
    size_t length;
    const uint8_t *values;
    size_t values_length;
    json_t *header;
    uint8_t digest[DIGEST_BYTES];
};

static err parse_header(safetensors *file) {
    cursor c = cursor_over(file->bytes, file->length);
    uint64_t length = cursor_u64_le(&c);
    if (c.failed) {
        return err_fail(ERR_INPUT, "%s: %zu bytes are too few for a safetensors file", file->path, file->length);
    }
    if (length > SAFETENSORS_HEADER_MAX || length > cursor_left(&c)) {
        return err_fail(ERR_INPUT, "%s: the header claims %llu bytes, %zu are left and %d allowed", file->path,
                        (unsigned long long)length, cursor_left(&c), SAFETENSORS_HEADER_MAX);
    }
    const char *text = (const char *)cursor_bytes(&c, (size_t)length);
    json_error_t problem;
    file->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &problem);
    if (!json_is_object(file->header)) {
        return err_fail(ERR_INPUT, "%s: the header is no JSON object: %s", file->path,
                        file->header ? "another value" : problem.text);
    }
    file->values = c.at;
    file->values_length = cursor_left(&c);
    return ERR_OK;
}

/* Reads the shape and offsets of one tensor; both are checked against each other and the file. */
static err read_entry(const safetensors *file, const char *name, json_t *entry, uint32_t *rank, uint32_t *shape,
                      size_t *begin, size_t *end) {
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    json_t *sizes = json_object_get(entry, "shape");
    json_t *offsets = json_object_get(entry, "data_offsets");
    if (!type || !json_is_array(sizes) || !json_is_array(offsets) || json_array_size(offsets) != 2) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' lacks dtype, shape or data_offsets", file->path, name);
    }
    if (strcmp(type, "F32") != 0) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' is %s; only F32 is read", file->path, name, type);
    }
    if (json_array_size(sizes) > SAFETENSORS_RANK_MAX) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' has %zu dimensions, at most %d are read", file->path, name,
                        json_array_size(sizes), SAFETENSORS_RANK_MAX);
    }
    *rank = (uint32_t)json_array_size(sizes);
    uint64_t bytes = sizeof(float);
    for (uint32_t i = 0; i < *rank; i++) {
        json_int_t size = json_integer_value(json_array_get(sizes, i));
        if (!json_is_integer(json_array_get(sizes, i)) || size < 0 || size > UINT32_MAX ||
            (size > 0 && bytes > SAFETENSORS_FILE_MAX / (uint64_t)size)) {
            return err_fail(ERR_INPUT, "%s: tensor '%s' has an impossible shape", file->path, name);
        }
        shape[i] = (uint32_t)size;
        bytes *= (uint64_t)size;
    }
    json_int_t from = json_integer_value(json_array_get(offsets, 0));
    json_int_t to = json_integer_value(json_array_get(offsets, 1));
    if (!json_is_integer(json_array_get(offsets, 0)) || !json_is_integer(json_array_get(offsets, 1))) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' has data_offsets that are no whole numbers", file->path, name);
    }
    if (from < 0 || to < from || (uint64_t)to > file->values_length || (uint64_t)(to - from) != bytes) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' lies at %lld to %lld of %zu bytes, its shape needs %llu",
                        file->path, name, (long long)from, (long long)to, file->values_length,
                        (unsigned long long)bytes);
    }
    *begin = (size_t)from;
    *end = (size_t)to;
    return ERR_OK;
}

typedef struct range {
    size_t begin, end;
} range;

static int by_begin(const void *a, const void *b) {
    const range *x = a, *y = b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : (x->end > y->end) - (x->end < y->end);
}

static err check_cover(const safetensors *file, range *ranges, size_t count) {
    qsort(ranges, count, sizeof *ranges, by_begin);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].begin != at) {
            return err_fail(ERR_INPUT, "%s: tensors overlap or leave a gap at byte %zu of the values", file->path, at);
        }
        at = ranges[i].end;
    }
    if (at != file->values_length) {
        return err_fail(ERR_INPUT, "%s: %zu bytes of values, its tensors cover %zu", file->path, file->values_length,
                        at);
    }
    return ERR_OK;
}

static err check_entries(const safetensors *file) {
    range *ranges = calloc(json_object_size(file->header) + 1, sizeof *ranges);
    if (!ranges) {
        return err_fail(ERR_MEMORY, "%s: no memory for its table of tensors", file->path);
    }
    size_t count = 0;
    err e = ERR_OK;
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (e || strcmp(name, metadata_key) == 0) {
            continue;
        }
        uint32_t rank, shape[SAFETENSORS_RANK_MAX];
        e = read_entry(file, name, entry, &rank, shape, &ranges[count].begin, &ranges[count].end);
        count++;
    }
    e = e ? e : check_cover(file, ranges, count);
    free(ranges);
    return e;
}

err safetensors_open(safetensors **out, const char *path) {
    safetensors *file = calloc(1, sizeof *file);
    if (!file) {
        return err_fail(ERR_MEMORY, "%s: no memory", path);
    }
    err e = file_path(file->path, sizeof file->path, "%s", path);
    e = e ? e : file_read(path, SAFETENSORS_FILE_MAX, &file->bytes, &file->length);
    e = e ? e : parse_header(file);
    e = e ? e : check_entries(file);
    e = e ? e : digest_bytes(file->bytes, file->length, file->digest);
    if (e) {
        safetensors_close(file);
        return e;
    }
    *out = file;
    return ERR_OK;
}

void safetensors_close(safetensors *file) {
    if (!file) {
        return;
    }
    json_decref(file->header);
    free(file->bytes);
    free(file);
}

const uint8_t *safetensors_digest(const safetensors *file) {
    return file->digest;
}

const char *safetensors_metadata(const safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, metadata_key), key));
}

static void format_shape(char *to, size_t size, uint32_t rank, const uint32_t *shape) {
    size_t used = (size_t)snprintf(to, size, "[");
    for (uint32_t i = 0; i < rank && used < size; i++) {
        used += (size_t)snprintf(to + used, size - used, i ? ", %u" : "%u", shape[i]);
    }
    if (used < size) {
        snprintf(to + used, size - used, "]");
    }
}

err safetensors_copy(const safetensors *file, const char *name, uint32_t rank, const uint32_t *shape, float *values) {
    json_t *entry = json_object_get(file->header, name);
    if (!entry) {
        return err_fail(ERR_INPUT, "%s: no tensor '%s'", file->path, name);
    }
    uint32_t have_rank, have[SAFETENSORS_RANK_MAX];
    size_t begin, end;
    err e = read_entry(file, name, entry, &have_rank, have, &begin, &end);
    if (e) {
        return e;
    }
    if (have_rank != rank || memcmp(have, shape, rank * sizeof *shape) != 0) {
        char got[64], wanted[64];
        format_shape(got, sizeof got, have_rank, have);
        format_shape(wanted, sizeof wanted, rank, shape);
        return err_fail(ERR_INPUT, "%s: tensor '%s' has shape %s, not %s", file->path, name, got, wanted);
    }
    memcpy(values, file->values + begin, end - begin);
    return ERR_OK;
}

size_t safetensors_count(const safetensors *file) {
    return json_object_size(file->header) - (json_object_get(file->header, metadata_key) ? 1 : 0);
}
