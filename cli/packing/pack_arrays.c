#include "cli/packing/pack_arrays.h"

#include "base/file.h"
#include "cli/packing/npz.h"
#include "data/idx.h"
#include "data/npy.h"

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

static void add_whole(dynbuf *to, const npy_header *h, const uint8_t *at) {
    uint64_t value = 0;
    for (size_t i = 0; i < h->size; i++) {
        value = value << 8 | at[h->is_big ? i : h->size - 1 - i];
    }
    unsigned unused = 64 - 8 * (unsigned)h->size;
    if (h->kind == 'i') {
        dynbuf_printf(to, "%lld", (long long)((int64_t)(value << unused) >> unused));
    } else {
        dynbuf_printf(to, "%llu", (unsigned long long)value);
    }
    dynbuf_add(to, "", 1);
}

static err add_numpy(const char *path, const uint8_t *bytes, size_t length, dynbuf *to, uint32_t *count) {
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
    *count = h.dims[0];
    for (size_t i = 0; i < h.elements; i++) {
        add_whole(to, &h, bytes + h.offset + i * h.size);
    }
    return ERR_OK;
}

static err add_idx(const char *path, dynbuf *to, uint32_t *count) {
    idx_array a;
    err e = idx_read(path, PACK_SAMPLES_MAX, &a);
    if (e) {
        return e;
    }
    *count = a.dims[0];
    for (size_t i = 0; i < a.length && a.rank == 1; i++) {
        dynbuf_printf(to, "%u", a.bytes[i]);
        dynbuf_add(to, "", 1);
    }
    e = a.rank == 1 ? ERR_OK : err_fail(ERR_INPUT, "%s: has %u sizes, labels have one", path, a.rank);
    idx_free(&a);
    return e;
}

err pack_arrays_read_whole(const char *path, const char *name, dynbuf *to, uint32_t *count) {
    if (pack_arrays_is_idx(path)) {
        return add_idx(path, to, count);
    }
    uint8_t *bytes;
    size_t length;
    err e = read_bytes(path, name, &bytes, &length);
    if (e) {
        return e;
    }
    e = add_numpy(path, bytes, length, to, count);
    free(bytes);
    return e;
}

static err read_labels(pack_samples *s, const char *name) {
    dynbuf texts = dynbuf_make(PACK_BYTES_MAX);
    uint32_t count;
    err e = pack_arrays_read_whole(pack_samples_path(s), name, &texts, &count);
    if (!e && texts.has_failed) {
        e = err_fail(ERR_MEMORY, "%s: no memory for its labels", pack_samples_path(s));
    }
    const char *at = texts.bytes;
    for (uint32_t i = 0; !e && i < count; i++, at += strlen(at) + 1) {
        e = pack_samples_add(s, NULL, at, 0);
    }
    dynbuf_free(&texts);
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
