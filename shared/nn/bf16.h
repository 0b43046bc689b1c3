/* bf16: the upper half of a float, rounded to nearest, ties to even; and arrays of either, floats or bf16.
 *
 * A loop over either is written once, as an always_inline function NAME with a flag `half` in the end. BF16_VERSIONS
 * makes two functions of it, NAME_f32 and NAME_bf16, that pass the flag as a constant, each compiled for every vector
 * width. */
#ifndef FEWBIT_NN_BF16_H
#define FEWBIT_NN_BF16_H

#include "base/vector.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BF16_INLINE static inline __attribute__((always_inline))

#define BF16_VERSIONS(name, parameters, ...)                                                                           \
    VECTOR_VERSIONS static void name##_f32 parameters {                                                                \
        name(__VA_ARGS__, false);                                                                                      \
    }                                                                                                                  \
    VECTOR_VERSIONS static void name##_bf16 parameters {                                                               \
        name(__VA_ARGS__, true);                                                                                       \
    }

/* The same where the flag `relu` before `half` is to be a constant too. */
#define BF16_RELU_VERSIONS(name, parameters, ...)                                                                      \
    VECTOR_VERSIONS static void name##_f32 parameters {                                                                \
        relu ? name(__VA_ARGS__, true, false) : name(__VA_ARGS__, false, false);                                       \
    }                                                                                                                  \
    VECTOR_VERSIONS static void name##_bf16 parameters {                                                               \
        relu ? name(__VA_ARGS__, true, true) : name(__VA_ARGS__, false, true);                                         \
    }

BF16_INLINE float bf16_to_float(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

BF16_INLINE uint16_t bf16_from_float(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t nan = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

BF16_INLINE float bf16_get(const void *numbers, size_t i, bool half) {
    return half ? bf16_to_float(((const uint16_t *)numbers)[i]) : ((const float *)numbers)[i];
}

BF16_INLINE void bf16_put(void *numbers, size_t i, bool half, float f) {
    if (half) {
        ((uint16_t *)numbers)[i] = bf16_from_float(f);
    } else {
        ((float *)numbers)[i] = f;
    }
}

/* `f` where `keep`, else 0; without a branch, which would keep a loop from being vectorised. */
BF16_INLINE float bf16_keep(bool keep, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits &= -(uint32_t)keep;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline size_t bf16_size(bool half) {
    return half ? sizeof(uint16_t) : sizeof(float);
}

/* Number `i` of `numbers`. */
static inline const void *bf16_at(const void *numbers, size_t i, bool half) {
    return (const char *)numbers + i * bf16_size(half);
}

static inline void *bf16_place(void *numbers, size_t i, bool half) {
    return (char *)numbers + i * bf16_size(half);
}

/* Copies of `n` numbers. */
void bf16_to_floats(size_t n, const uint16_t *from, float *to);
void bf16_from_floats(size_t n, const float *from, uint16_t *to);

#endif
