#include "data/npy_values.h"

#include <math.h>
#include <string.h>

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

static size_t check_floats(const float *values, size_t count) {
    size_t i = 0;
    while (i < count && isfinite(values[i])) {
        i++;
    }
    return i;
}

bool npy_values_convert(const npy_header *h, const uint8_t *stored, size_t count, portion_type type, void *to,
                        size_t *bad) {
    bool is_same =
        type == PORTION_U8 ? h->kind == 'u' && h->size == 1 : h->kind == 'f' && h->size == sizeof(float) && !h->is_big;
    if (is_same) {
        memcpy(to, stored, count * h->size);
        *bad = type == PORTION_U8 ? count : check_floats(to, count);
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
