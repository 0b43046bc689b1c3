#include "data/normalize.h"

#include "base/vector.h"

enum { BLOCK = 64 }; /* a fixed trip count, which the compiler turns into vector code */

VECTOR_VERSIONS
void normalize_bytes(const uint8_t *restrict bytes, float *restrict out, size_t n) {
    size_t i = 0;
    for (; n - i >= BLOCK; i += BLOCK) {
        for (size_t j = 0; j < BLOCK; j++) {
            out[i + j] = (float)bytes[i + j] / 255.0f;
        }
    }
    for (; i < n; i++) {
        out[i] = (float)bytes[i] / 255.0f;
    }
}

VECTOR_VERSIONS
void normalize_channel(float *values, size_t n, float mean, float std) {
    for (size_t i = 0; i < n; i++) {
        values[i] = (values[i] - mean) / std;
    }
}

VECTOR_VERSIONS
void normalize_features(float *restrict values, size_t n, const float *restrict mean, const float *restrict std) {
    for (size_t i = 0; i < n; i++) {
        values[i] = (values[i] - mean[i]) / std[i];
    }
}
