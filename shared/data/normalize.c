#include "data/normalize.h"

#include "base/vector.h"
#include "data/portion.h"

VECTOR_VERSIONS
static void standardise(float *inputs, size_t n, float mean, float deviation) {
    for (size_t i = 0; i < n; i++) {
        inputs[i] = (inputs[i] - mean) / deviation;
    }
}

void normalize(const uint8_t *bytes, float *out, size_t n, float mean, float deviation) {
    portion_scale(bytes, out, n);
    if (deviation > 0) {
        standardise(out, n, mean, deviation);
    }
}
