#include "data/normalize.h"

#include "base/vector.h"

enum { BLOCK = 64 }; /* a fixed trip count, which the compiler turns into vector code */

VECTOR_VERSIONS
static void scale(const uint8_t *restrict bytes, float *restrict out, size_t n) {
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
static void standardise(float *inputs, size_t n, float mean, float std) {
    for (size_t i = 0; i < n; i++) {
        inputs[i] = (inputs[i] - mean) / std;
    }
}

void normalize(const uint8_t *bytes, float *out, size_t n, float mean, float std) {
    scale(bytes, out, n);
    if (std > 0) {
        standardise(out, n, mean, std);
    }
}
