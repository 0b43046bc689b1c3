#include "model/safetensors.h"

#include "base/byte_reader.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    for (uint32_t i = 0; i < entry->rank; i++) {
        json_list_add(&shape, json_integer(entry->shape[i]));
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)offset,
                     (json_int_t)(offset + bytes_of(entry)));
}

/* NULL: no memory. */
static char *describe(const safetensors_entry *entries, size_t count, const safetensors_pair *metadata,
                      size_t metadata_count) {
    json_t *header = json_object();
    json_t *pairs = json_object();
    for (size_t i = 0; i < metadata_count; i++) {
        json_put(&pairs, metadata[i].key, json_string(metadata[i].value));
    }
    json_put(&header, metadata_key, pairs);
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        json_put(&header, entries[i].name, describe_entry(&entries[i], offset));
        offset += bytes_of(&entries[i]);
    }
    char *text = json_text(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

static err check_finite(const char *path, const char *name, const float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return err_fail(ERR_INPUT, "%s: value %zu of tensor '%s' is %f, not a finite number", path, i, name,
                            (double)values[i]);
        }
    }
    return ERR_OK;
}

/* A file's bytes, piece by piece. */
typedef struct layout {
    char *header;
    uint8_t prefix[8];
    file_span *spans;
    size_t count;
} layout;

static err lay_out(layout *l, const safetensors_entry *entries, size_t count, const safetensors_pair *metadata,
                   size_t metadata_count) {
    *l = (layout){.header = describe(entries, count, metadata, metadata_count), .count = count + 3};
    l->spans = calloc(l->count, sizeof *l->spans);
    if (!l->header || !l->spans) {
        return err_fail(ERR_MEMORY, "no memory for the header of a safetensors file");
    }
    size_t length = strlen(l->header), padding = (8 - length % 8) % 8;
    byte_put_u64_le(l->prefix, length + padding);
    l->spans[0] = (file_span){l->prefix, sizeof l->prefix};
    l->spans[1] = (file_span){l->header, length};
    l->spans[2] = (file_span){"       ", padding};
    for (size_t i = 0; i < count; i++) {
        l->spans[3 + i] = (file_span){entries[i].values, bytes_of(&entries[i])};
    }
    return ERR_OK;
}

static void release(layout *l) {
    free(l->spans);
    free(l->header);
}

err safetensors_write(const char *path, const safetensors_entry *entries, size_t count,
                      const safetensors_pair *metadata, size_t metadata_count, uint8_t digest[SHA256_BYTES]) {
    for (size_t i = 0; i < count; i++) {
        err e = check_finite(path, entries[i].name, entries[i].values, bytes_of(&entries[i]) / sizeof(float));
        if (e) {
            return e;
        }
    }
    layout l;
    err e = lay_out(&l, entries, count, metadata, metadata_count);
    e = e || !digest ? e : sha256_spans(l.spans, l.count, digest);
    e = e ? e : file_write_atomic(path, l.spans, l.count);
    release(&l);
    return e;
}

err safetensors_measure(const safetensors_entry *entries, size_t count, const safetensors_pair *metadata,
                        size_t metadata_count, uint64_t *bytes, uint8_t digest[SHA256_BYTES]) {
    layout l;
    err e = lay_out(&l, entries, count, metadata, metadata_count);
    e = e ? e : sha256_spans(l.spans, l.count, digest);
    *bytes = 0;
    for (size_t i = 0; i < l.count && !e; i++) {
        *bytes += l.spans[i].length;
    }
    release(&l);
    return e;
}

struct safetensors {
    char path[FILE_PATH_MAX];
    int fd;
    uint64_t length, values_at; /* bytes */
    json_t *header;
};

static uint64_t values_length(const safetensors *file) {
    return file->length - file->values_at;
}

static err read_header(safetensors *file) {
    uint8_t prefix[8];
    if (file->length < sizeof prefix) {
        return err_fail(ERR_INPUT, "%s: %llu bytes are too few for a safetensors file", file->path,
                        (unsigned long long)file->length);
    }
    err e = file_read_at(file->fd, file->path, 0, prefix, sizeof prefix);
    if (e) {
        return e;
    }
    byte_reader c = byte_reader_over(prefix, sizeof prefix);
    uint64_t length = byte_reader_u64_le(&c), left = file->length - sizeof prefix;
    if (length > SAFETENSORS_HEADER_MAX || length > left) {
        return err_fail(ERR_INPUT, "%s: the header claims %llu bytes, %llu are left and %d allowed", file->path,
                        (unsigned long long)length, (unsigned long long)left, SAFETENSORS_HEADER_MAX);
    }
    char *text = malloc(length + 1);
    if (!text) {
        return err_fail(ERR_MEMORY, "%s: no memory for its header", file->path);
    }
    e = file_read_at(file->fd, file->path, sizeof prefix, text, length);
    json_error_t problem = {0};
    if (!e && length > 0 && text[0] == '{') { /* the format allows no blanks before it */
        file->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &problem);
    }
    free(text);
    file->values_at = sizeof prefix + length;
    return e || file->header ? e
                             : err_fail(ERR_INPUT, "%s: the header is no JSON object%s%s", file->path,
                                        problem.text[0] ? ": " : "", problem.text);
}

/* The bits of a value; 0: of a type that is not known here, as newer ones are. */
static uint64_t bits_of_type(const char *type) {
    static const struct {
        const char *name;
        uint64_t bits;
    } types[] = {
        {"F32", 32},    {"F64", 64},    {"F16", 16},    {"BF16", 16},   {"I64", 64},    {"I32", 32}, {"I16", 16},
        {"I8", 8},      {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8}, {"C64", 64},
        {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(types[i].name, type) == 0) {
            return types[i].bits;
        }
    }
    return 0;
}

static bool is_type_name(const char *type) {
    return type[0] >= 'A' && type[0] <= 'Z' && strlen(type) == strspn(type, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

/* How many values a shape has; false: it is none, or they are more than can be counted. */
static bool count_values(const json_t *sizes, uint64_t *count) {
    bool is_empty = false;
    *count = 1;
    for (size_t i = 0; i < json_array_size(sizes); i++) {
        const json_t *one = json_array_get(sizes, i);
        json_int_t size = json_integer_value(one);
        if (!json_is_integer(one) || size < 0) {
            return false;
        }
        is_empty = is_empty || size == 0;
        if (size > 0 && __builtin_mul_overflow(*count, (uint64_t)size, count)) {
            return false;
        }
    }
    *count = is_empty ? 0 : *count;
    return true;
}

typedef struct range {
    uint64_t begin, end;
} range;

/* Where a tensor of any type lies; type, shape, offsets and file are checked against each other. */
static err find_range(const safetensors *file, const char *name, json_t *entry, range *r) {
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    json_t *sizes = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    if (!type || !json_is_array(sizes) || !json_is_array(offsets) || json_array_size(offsets) != 2) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' lacks dtype, shape or data_offsets", file->path, name);
    }
    uint64_t bits = bits_of_type(type), count, needed;
    if (!is_type_name(type)) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' has the dtype '%s', which is no type's name", file->path, name,
                        type);
    }
    if (!count_values(sizes, &count) || __builtin_mul_overflow(count, bits, &needed) || needed % 8 != 0) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' has an impossible shape", file->path, name);
    }
    json_int_t from = json_integer_value(json_array_get(offsets, 0)),
               to = json_integer_value(json_array_get(offsets, 1));
    if (!json_is_integer(json_array_get(offsets, 0)) || !json_is_integer(json_array_get(offsets, 1))) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' has data_offsets that are no whole numbers", file->path, name);
    }
    if (from < 0 || to < from || (uint64_t)to > values_length(file) ||
        (bits > 0 && (uint64_t)to - (uint64_t)from != needed / 8)) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' lies at %lld to %lld of %llu bytes, its shape needs %llu",
                        file->path, name, (long long)from, (long long)to, (unsigned long long)values_length(file),
                        (unsigned long long)(needed / 8));
    }
    *r = (range){(uint64_t)from, (uint64_t)to};
    return ERR_OK;
}

static int by_begin(const void *a, const void *b) {
    const range *x = a, *y = b;
    return x->begin != y->begin ? (x->begin < y->begin ? -1 : 1) : (x->end > y->end) - (x->end < y->end);
}

static err check_cover(const safetensors *file, range *ranges, size_t count) {
    qsort(ranges, count, sizeof *ranges, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (ranges[i].begin != at) {
            return err_fail(ERR_INPUT, "%s: tensors overlap or leave a gap at byte %llu of the values", file->path,
                            (unsigned long long)at);
        }
        at = ranges[i].end;
    }
    if (at != values_length(file)) {
        return err_fail(ERR_INPUT, "%s: %llu bytes of values, its tensors cover %llu", file->path,
                        (unsigned long long)values_length(file), (unsigned long long)at);
    }
    return ERR_OK;
}

/* Strings by name, as the format has it. */
static err check_metadata(const safetensors *file, const json_t *pairs) {
    const char *key;
    json_t *value;
    bool good = json_is_object(pairs);
    json_object_foreach((json_t *)(uintptr_t)pairs, key, value) {
        good = good && json_is_string(value);
    }
    return good ? ERR_OK : err_fail(ERR_INPUT, "%s: its %s is no object of strings", file->path, metadata_key);
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
        if (e) {
            break;
        }
        if (strcmp(name, metadata_key) == 0) {
            e = check_metadata(file, entry);
        } else {
            e = find_range(file, name, entry, &ranges[count++]);
        }
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
    file->fd = -1;
    err e = file_path(file->path, sizeof file->path, "%s", path);
    e = e ? e : file_open(path, &file->fd, &file->length);
    e = e ? e : read_header(file);
    e = e ? e : check_entries(file);
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
    if (file->fd >= 0) {
        close(file->fd);
    }
    json_decref(file->header);
    free(file);
}

err safetensors_digest(const safetensors *file, uint8_t digest[SHA256_BYTES]) {
    sha256_state *state;
    uint8_t piece[1 << 16];
    err e = sha256_start(&state);
    if (e) {
        return e;
    }
    for (uint64_t at = 0; at < file->length && !e;) {
        size_t length = file->length - at < sizeof piece ? (size_t)(file->length - at) : sizeof piece;
        e = file_read_at(file->fd, file->path, at, piece, length);
        e = e ? e : sha256_add(state, piece, length);
        at += length;
    }
    err finished = sha256_finish(state, e ? NULL : digest);
    return e ? e : finished;
}

const char *safetensors_metadata(const safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, metadata_key), key));
}

static err check_shape(const safetensors *file, const char *name, const json_t *have, uint32_t rank,
                       const uint32_t *shape) {
    char wanted[64] = "", got[64] = "";
    bool is_same = json_array_size(have) == rank;
    for (uint32_t i = 0; i < rank; i++) {
        is_same = is_same && json_integer_value(json_array_get(have, i)) == shape[i];
        snprintf(wanted + strlen(wanted), sizeof wanted - strlen(wanted), i ? ", %u" : "%u", shape[i]);
    }
    for (size_t i = 0; i < json_array_size(have) && strlen(got) + 1 < sizeof got; i++) {
        snprintf(got + strlen(got), sizeof got - strlen(got), i ? ", %lld" : "%lld",
                 (long long)json_integer_value(json_array_get(have, i)));
    }
    return is_same ? ERR_OK
                   : err_fail(ERR_INPUT, "%s: tensor '%s' has shape [%s], not [%s]", file->path, name, got, wanted);
}

const char *safetensors_path(const safetensors *file) {
    return file->path;
}

bool safetensors_has(const safetensors *file, const char *name) {
    return strcmp(name, metadata_key) != 0 && json_object_get(file->header, name);
}

err safetensors_copy(const safetensors *file, const char *name, uint32_t rank, const uint32_t *shape, float *values) {
    if (!safetensors_has(file, name)) {
        return err_fail(ERR_INPUT, "%s: no tensor '%s'", file->path, name);
    }
    json_t *entry = json_object_get(file->header, name);
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    if (strcmp(type, "F32") != 0) {
        return err_fail(ERR_INPUT, "%s: tensor '%s' is %s, not F32", file->path, name, type);
    }
    range r;
    err e = check_shape(file, name, json_object_get(entry, "shape"), rank, shape);
    e = e ? e : find_range(file, name, entry, &r);
    if (e) {
        return e;
    }
    size_t length = (size_t)(r.end - r.begin);
    e = file_read_at(file->fd, file->path, file->values_at + r.begin, values, length);
    return e ? e : check_finite(file->path, name, values, length / sizeof *values);
}

size_t safetensors_count(const safetensors *file) {
    return json_object_size(file->header) - (json_object_get(file->header, metadata_key) ? 1 : 0);
}
