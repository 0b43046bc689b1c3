#include "data/portion_scaling.h"

#include "base/vector.h"

#include <math.h>
#include <string.h>

err portion_scaling_check(const portion_scaling *s) {
    for (uint32_t c = 0; c < s->channels; c++) {
        if (!isfinite(s->mean[c])) {
            return err_fail(ERR_INPUT, "the mean of channel %u is not finite", c);
        }
        if (!isfinite(s->std[c]) || s->std[c] <= 0) {
            return err_fail(ERR_INPUT, "the deviation of channel %u is not above 0", c);
        }
    }
    return ERR_OK;
}

/* Normalisation in its pieces, as vector code. */

enum { BLOCK = 64 }; /* a fixed trip count, which the compiler turns into vector code */

/* out[i] = bytes[i] / 255, as torchvision's ToTensor. */
VECTOR_VERSIONS
static void normalize_bytes(const uint8_t *restrict bytes, float *restrict out, size_t n) {
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

/* values[i] = (values[i] - mean) / std, with one for all, or one each. */
VECTOR_VERSIONS
static void normalize_channel(float *values, size_t n, float mean, float std) {
    for (size_t i = 0; i < n; i++) {
        values[i] = (values[i] - mean) / std;
    }
}

VECTOR_VERSIONS
static void normalize_features(float *restrict values, size_t n, const float *restrict mean,
                               const float *restrict std) {
    for (size_t i = 0; i < n; i++) {
        values[i] = (values[i] - mean[i]) / std[i];
    }
}

static void scale_portion(const portion_scaling *s, const portion_shape *shape, float *values) {
    size_t elements = portion_shape_elements(shape), each = elements / s->channels;
    if (each == 1) {
        normalize_features(values, elements, s->mean, s->std);
        return;
    }
    for (uint32_t c = 0; c < s->channels; c++) {
        normalize_channel(values + c * each, each, s->mean[c], s->std[c]);
    }
}

void portion_scaling_apply(const portion_scaling *s, const portion_shape *shape, const void *portions, size_t count,
                           float *out) {
    size_t elements = portion_shape_elements(shape);
    if (shape->type == PORTION_U8) {
        normalize_bytes(portions, out, count * elements);
    } else {
        memcpy(out, portions, count * elements * sizeof *out);
    }
    if (s->channels == 1) {
        normalize_channel(out, count * elements, s->mean[0], s->std[0]);
        return;
    }
    for (size_t i = 0; i < count && s->channels > 0; i++) {
        scale_portion(s, shape, out + i * elements);
    }
}

err portion_check_values(const portion_shape *shape, const void *portion) {
    size_t elements = shape->type == PORTION_F32 ? portion_shape_elements(shape) : 0; /* a byte is any */
    for (size_t i = 0; i < elements; i++) {
        float value;
        memcpy(&value, (const uint8_t *)portion + i * sizeof value, sizeof value);
        if (!isfinite(value)) {
            return err_fail(ERR_INPUT, "element %zu is not finite", i);
        }
    }
    return ERR_OK;
}
