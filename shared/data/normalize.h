/* Normalisation: what a net sees of a sample. */
#ifndef FEWBIT_DATA_NORMALIZE_H
#define FEWBIT_DATA_NORMALIZE_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = (bytes[i] / 255 - mean) / std; with std 0 bytes[i] / 255 alone, as torchvision's ToTensor. */
void normalize(const uint8_t *bytes, float *out, size_t n, float mean, float std);

#endif
