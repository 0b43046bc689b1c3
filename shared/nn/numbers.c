#include "nn/numbers.h"

VECTOR_VERSIONS
void nn_floats_of_bf16(size_t n, const uint16_t *restrict from, float *restrict to) {
    for (size_t i = 0; i < n; i++) {
        to[i] = nn_from_bf16(from[i]);
    }
}

VECTOR_VERSIONS
void nn_bf16_of_floats(size_t n, const float *restrict from, uint16_t *restrict to) {
    for (size_t i = 0; i < n; i++) {
        to[i] = nn_to_bf16(from[i]);
    }
}
