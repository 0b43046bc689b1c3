/* Numbers of an image: floats, or bf16 (the upper half of a float, rounded to nearest, ties to even).
 *
 * A loop over either is written once, as an always_inline function with a flag `half`, and called from two functions
 * that pass the flag as a constant; the compiler then makes two loops of it. */
#ifndef FEWBIT_NN_NUMBERS_H
#define FEWBIT_NN_NUMBERS_H

#include "base/vector.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define NN_INLINE static inline __attribute__((always_inline))

NN_INLINE float nn_from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

NN_INLINE uint16_t nn_to_bf16(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

NN_INLINE float nn_get(const void *numbers, size_t i, bool half) {
    return half ? nn_from_bf16(((const uint16_t *)numbers)[i]) : ((const float *)numbers)[i];
}

NN_INLINE void nn_put(void *numbers, size_t i, bool half, float f) {
    if (half) {
        ((uint16_t *)numbers)[i] = nn_to_bf16(f);
    } else {
        ((float *)numbers)[i] = f;
    }
}

/* `f` where `keep`, else 0; without a branch, which would keep a loop from being vectorised. */
NN_INLINE float nn_keep(bool keep, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits &= -(uint32_t)keep;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline size_t nn_number_bytes(bool half) {
    return half ? sizeof(uint16_t) : sizeof(float);
}

/* Number `i` of `numbers`. */
static inline const void *nn_at(const void *numbers, size_t i, bool half) {
    return (const char *)numbers + i * nn_number_bytes(half);
}

static inline void *nn_place(void *numbers, size_t i, bool half) {
    return (char *)numbers + i * nn_number_bytes(half);
}

/* Copies of `n` numbers. */
void nn_floats_of_bf16(size_t n, const uint16_t *from, float *to);
void nn_bf16_of_floats(size_t n, const float *from, uint16_t *to);

#endif
