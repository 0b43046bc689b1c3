/* Normalisation in its pieces, as vector code. */
#ifndef FEWBIT_DATA_NORMALIZE_H
#define FEWBIT_DATA_NORMALIZE_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = bytes[i] / 255, as torchvision's ToTensor. */
void normalize_bytes(const uint8_t *bytes, float *out, size_t n);

/* values[i] = (values[i] - mean) / std, with one for all, or one each. */
void normalize_channel(float *values, size_t n, float mean, float std);
void normalize_features(float *values, size_t n, const float *mean, const float *std);

#endif
