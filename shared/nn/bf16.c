#include "nn/bf16.h"

VECTOR_VERSIONS
void bf16_to_floats(size_t n, const uint16_t *restrict from, float *restrict to) {
    for (size_t i = 0; i < n; i++) {
        to[i] = bf16_to_float(from[i]);
    }
}

VECTOR_VERSIONS
void bf16_from_floats(size_t n, const float *restrict from, uint16_t *restrict to) {
    for (size_t i = 0; i < n; i++) {
        to[i] = bf16_from_float(from[i]);
    }
}
