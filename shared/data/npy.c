#include "data/npy.h"

#include "base/file.h"
#include "base/interrupt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_ELEMENTS = 1 << 17, ELEMENT_BYTES_MAX = 8 };

/* Where the elements come from: a file, or bytes in memory. */
typedef struct npy_input {
    const char *name;
    const uint8_t *bytes; /* NULL: the file */
    int fd;
    uint64_t length;
} npy_input;

static err take(const npy_input *in, uint64_t at, void *to, size_t length) {
    if (in->bytes) {
        memcpy(to, in->bytes + at, length);
        return ERR_OK;
    }
    return file_read_at(in->fd, in->name, at, to, length);
}

static err read_header(const npy_input *in, size_t most, npy_header *h) {
    uint8_t start[NPY_HEADER_START + NPY_HEADER_MAX];
    size_t there = in->length < sizeof start ? (size_t)in->length : sizeof start;
    err e = take(in, 0, start, there);
    e = e ? e : npy_header_parse(in->name, start, there, h);
    if (e) {
        return e;
    }
    if (h->elements > most) {
        return err_fail(ERR_INPUT, "%s: the header promises %zu elements, more than the %zu allowed", in->name,
                        h->elements, most);
    }
    uint64_t expected = h->offset + (uint64_t)h->elements * h->size;
    return in->length == expected ? ERR_OK
                                  : err_fail(ERR_INPUT, "%s: %s: has %llu bytes, its header promises %llu", in->name,
                                             in->length < expected ? "truncated" : "has bytes after its last element",
                                             (unsigned long long)in->length, (unsigned long long)expected);
}

/* Numbers of any type, turned into bytes or floats. */

/* IEEE 754 binary16, exactly. */
static double half(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
    if (exponent == 31) {
        return fraction > 0 ? NAN : sign * INFINITY;
    }
    return exponent ? sign * ldexp(fraction + 1024, exponent - 25) : sign * ldexp(fraction, -24);
}

static uint64_t take_bits(const npy_header *h, const uint8_t *from) {
    uint64_t bits = 0;
    for (size_t i = 0; i < h->size; i++) {
        bits |= (uint64_t)from[h->is_big ? h->size - 1 - i : i] << 8 * i;
    }
    return bits;
}

static double real_of(const npy_header *h, uint64_t bits) {
    if (h->size == 2) {
        return half((uint16_t)bits);
    }
    if (h->size == 4) {
        uint32_t low = (uint32_t)bits;
        float value;
        memcpy(&value, &low, sizeof value);
        return (double)value;
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The value as a float, rounded once. */
static float float_of(const npy_header *h, uint64_t bits) {
    if (h->kind == 'f') {
        return (float)real_of(h, bits);
    }
    if (h->kind == 'u') {
        return (float)bits;
    }
    size_t unused = 64 - 8 * h->size;
    return (float)((int64_t)(bits << unused) >> unused);
}

static bool byte_of(const npy_header *h, uint64_t bits, uint8_t *to) {
    if (h->kind == 'f') {
        double value = real_of(h, bits);
        if (!(value >= 0 && value <= UINT8_MAX) || value != floor(value)) {
            return false;
        }
        *to = (uint8_t)value;
        return true;
    }
    *to = (uint8_t)bits;
    return bits <= (h->kind == 'u' || h->size > 1 ? UINT8_MAX : INT8_MAX);
}

/* The first that is not finite; `count`: all are. */
static size_t find_infinite(const float *values, size_t count) {
    size_t i = 0;
    while (i < count && isfinite(values[i])) {
        i++;
    }
    return i;
}

/* `count` stored elements -> uint8_t or float [count], which `to` is aligned for. False where one does not fit: *bad
 * says which. */
static bool convert(const npy_header *h, const uint8_t *stored, size_t count, portion_type type, void *to,
                    size_t *bad) {
    bool is_same =
        type == PORTION_U8 ? h->kind == 'u' && h->size == 1 : h->kind == 'f' && h->size == sizeof(float) && !h->is_big;
    if (is_same) {
        memcpy(to, stored, count * h->size);
        *bad = type == PORTION_U8 ? count : find_infinite(to, count);
        return *bad == count;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = take_bits(h, stored + i * h->size);
        bool fits = true;
        if (type == PORTION_U8) {
            fits = byte_of(h, bits, (uint8_t *)to + i);
        } else {
            ((float *)to)[i] = float_of(h, bits);
            fits = isfinite(((float *)to)[i]);
        }
        if (!fits) {
            *bad = i;
            return false;
        }
    }
    return true;
}

static err read_values(const npy_input *in, const npy_header *h, npy_array *a) {
    size_t size = a->type == PORTION_F32 ? sizeof(float) : 1;
    uint8_t *piece = malloc((size_t)PIECE_ELEMENTS * ELEMENT_BYTES_MAX);
    a->values = malloc(a->elements * size);
    err e = piece && a->values ? ERR_OK : err_fail(ERR_MEMORY, "%s: no memory for %zu elements", in->name, a->elements);
    for (size_t done = 0, count; done < a->elements && !e; done += count) {
        count = a->elements - done < PIECE_ELEMENTS ? a->elements - done : PIECE_ELEMENTS;
        e = interrupt_check();
        e = e ? e : take(in, h->offset + (uint64_t)done * h->size, piece, count * h->size);
        size_t bad = count;
        if (!e && !convert(h, piece, count, a->type, (uint8_t *)a->values + done * size, &bad)) {
            size_t row = a->elements / a->dims[0], at = done + bad;
            e = err_fail(ERR_INPUT, "%s: row %zu, element %zu: %s", in->name, at / row, at % row,
                         a->type == PORTION_U8 ? "is no whole number from 0 to 255"
                                               : "is not finite as a 32-bit float");
        }
    }
    free(piece);
    return e;
}

static err read_array(const npy_input *in, portion_type type, size_t most, npy_array *a) {
    npy_header h;
    *a = (npy_array){.type = type};
    err e = read_header(in, most, &h);
    if (e) {
        return e;
    }
    a->rank = h.rank;
    memcpy(a->dims, h.dims, sizeof a->dims);
    a->elements = h.elements;
    e = read_values(in, &h, a);
    if (e) {
        npy_free(a);
    }
    return e;
}

err npy_read(const char *path, portion_type type, size_t most, npy_array *a) {
    npy_input in = {.name = path};
    *a = (npy_array){0};
    err e = file_open(path, &in.fd, &in.length);
    if (e) {
        return e;
    }
    e = read_array(&in, type, most, a);
    close(in.fd);
    return e;
}

err npy_parse(const char *name, const void *bytes, size_t length, portion_type type, size_t most, npy_array *a) {
    npy_input in = {.name = name, .bytes = bytes, .fd = -1, .length = length};
    return read_array(&in, type, most, a);
}

void npy_free(npy_array *a) {
    free(a->values);
    *a = (npy_array){0};
}

static err check_finite(const char *path, const float *values, size_t elements, size_t row) {
    size_t i = find_infinite(values, elements);
    return i == elements ? ERR_OK
                         : err_fail(ERR_INPUT, "%s: row %zu, element %zu: is not finite", path, i / row, i % row);
}

err npy_write(const char *path, portion_type type, uint32_t rank, const uint32_t *dims, const void *values) {
    char header[NPY_HEADER_WRITTEN];
    size_t elements = 1;
    for (uint32_t i = 0; i < rank; i++) {
        elements *= dims[i];
    }
    err e = type == PORTION_F32 ? check_finite(path, values, elements, elements / dims[0]) : ERR_OK;
    if (e) {
        return e;
    }
    size_t length = npy_header_write(header, type, rank, dims);
    const file_span spans[] = {{header, length}, {values, elements * (type == PORTION_F32 ? sizeof(float) : 1)}};
    return file_write_atomic(path, spans, 2);
}
