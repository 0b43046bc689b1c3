#include "cli/packing/pack_arrays.h"

#include "base/byte_reader.h"
#include "base/file.h"
#include "cli/packing/npz.h"
#include "data/idx.h"
#include "data/npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { RANK_OF_PLANE = 3 };

static bool ends_with(const char *path, const char *end) {
    size_t length = strlen(path), size = strlen(end);
    return length >= size && strcasecmp(path + length - size, end) == 0;
}

bool pack_arrays_is(const char *path) {
    return ends_with(path, ".npy") || ends_with(path, ".npz");
}

bool pack_arrays_is_idx(const char *path) {
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return ends_with(name, ".idx") || ends_with(name, ".idx.gz") ||
           (strstr(name, "idx") && (ends_with(name, "-ubyte") || ends_with(name, "-ubyte.gz")));
}

/* The bytes of a .npy file, also of one in a .npz. */
static err read_bytes(const char *path, const char *name, uint8_t **bytes, size_t *length) {
    const size_t most = PACK_BYTES_MAX + NPY_HEADER_MAX;
    if (ends_with(path, ".npz")) {
        return npz_read(path, name, most, bytes, length);
    }
    return name ? err_fail(ERR_USAGE, "--array: only a .npz file has arrays with names, not %s", path)
                : file_read(path, most, bytes, length);
}

/* Whole numbers. */

static int64_t whole_at(const npy_header *h, const uint8_t *at) {
    uint64_t value = 0;
    for (size_t i = 0; i < h->size; i++) {
        value = value << 8 | at[h->is_big ? i : h->size - 1 - i];
    }
    unsigned unused = 64 - 8 * (unsigned)h->size;
    return h->kind == 'i' ? (int64_t)(value << unused) >> unused : (int64_t)value;
}

static err take_whole(const char *path, const uint8_t *bytes, size_t length, int64_t **numbers, uint32_t *count) {
    npy_header h;
    err e = npy_header_parse(path, bytes, length, &h);
    if (e) {
        return e;
    }
    if (h.kind == 'f' || h.elements != h.dims[0] || h.dims[0] > PACK_SAMPLES_MAX) {
        return err_fail(ERR_INPUT, "%s: is no list of whole numbers, one a sample", path);
    }
    if (h.elements * h.size != length - h.offset) {
        return err_fail(ERR_INPUT, "%s: has not the %zu numbers that its header says", path, h.elements);
    }
    *numbers = calloc(h.elements, sizeof **numbers);
    for (size_t i = 0; *numbers && i < h.elements; i++) {
        (*numbers)[i] = whole_at(&h, bytes + h.offset + i * h.size);
    }
    *count = h.dims[0];
    return *numbers ? ERR_OK : err_fail(ERR_MEMORY, "%s: no memory for %u numbers", path, *count);
}

static err take_idx(const char *path, int64_t **numbers, uint32_t *count) {
    idx_array a;
    err e = idx_read(path, PACK_SAMPLES_MAX, &a);
    if (e) {
        return e;
    }
    *numbers = a.rank == 1 ? calloc(a.length, sizeof **numbers) : NULL;
    for (size_t i = 0; *numbers && i < a.length; i++) {
        (*numbers)[i] = a.bytes[i];
    }
    e = a.rank != 1 ? err_fail(ERR_INPUT, "%s: has %u sizes, labels have one", path, a.rank)
        : *numbers  ? ERR_OK
                    : err_fail(ERR_MEMORY, "%s: no memory for its numbers", path);
    *count = a.dims[0];
    idx_free(&a);
    return e;
}

err pack_arrays_read_whole(const char *path, const char *name, int64_t **numbers, uint32_t *count) {
    if (pack_arrays_is_idx(path)) {
        return take_idx(path, numbers, count);
    }
    uint8_t *bytes;
    size_t length;
    err e = read_bytes(path, name, &bytes, &length);
    if (e) {
        return e;
    }
    e = take_whole(path, bytes, length, numbers, count);
    free(bytes);
    return e;
}

static err read_labels(pack_samples *s, const char *name) {
    int64_t *numbers;
    uint32_t count;
    err e = pack_arrays_read_whole(pack_samples_path(s), name, &numbers, &count);
    if (e) {
        return e;
    }
    for (uint32_t i = 0; i < count && !e; i++) {
        char text[32];
        snprintf(text, sizeof text, "%lld", (long long)numbers[i]);
        e = pack_samples_add(s, NULL, text, 0);
    }
    free(numbers);
    return e;
}

/* Values. */

static err add_values(pack_samples *s, portion_type type, uint32_t rank, const uint32_t *dims, const void *values) {
    portion_shape shape = {.type = type, .rank = rank > 1 ? rank - 1 : 1, .dims = {1}};
    memcpy(shape.dims, dims + 1, (rank - 1) * sizeof *dims);
    err e = pack_samples_set_shape(s, &shape);
    for (uint32_t i = 0; i < dims[0] && !e; i++) {
        e = pack_samples_add(s, NULL, NULL, 0);
    }
    if (!e) {
        dynbuf_add(&s->values, values, dims[0] * portion_shape_bytes(&shape));
    }
    return e;
}

static err read_idx(pack_samples *s) {
    idx_array a;
    err e = idx_read(pack_samples_path(s), PACK_BYTES_MAX, &a);
    if (e) {
        return e;
    }
    bool is_plane = a.rank == RANK_OF_PLANE;
    const uint32_t plane[] = {a.dims[0], 1, a.dims[1], a.dims[2]};
    e = add_values(s, PORTION_U8, is_plane ? a.rank + 1 : a.rank, is_plane ? plane : a.dims, a.bytes);
    idx_free(&a);
    return e;
}

static err take_numpy(pack_samples *s, const uint8_t *bytes, size_t length) {
    const char *path = pack_samples_path(s);
    npy_header h;
    npy_array a;
    err e = npy_header_parse(path, bytes, length, &h);
    if (e) {
        return e;
    }
    portion_type type = h.kind == 'u' && h.size == 1 ? PORTION_U8 : PORTION_F32;
    e = npy_parse(path, bytes, length, type, PACK_BYTES_MAX / (type == PORTION_U8 ? 1 : sizeof(float)), &a);
    if (e) {
        return e;
    }
    e = add_values(s, type, a.rank, a.dims, a.values);
    npy_free(&a);
    return e;
}

err pack_arrays_read(pack_samples *s, const char *name, bool labels) {
    if (labels) {
        return read_labels(s, name);
    }
    if (pack_arrays_is_idx(pack_samples_path(s))) {
        return read_idx(s);
    }
    uint8_t *bytes;
    size_t length;
    err e = read_bytes(pack_samples_path(s), name, &bytes, &length);
    if (e) {
        return e;
    }
    e = take_numpy(s, bytes, length);
    free(bytes);
    return e;
}
