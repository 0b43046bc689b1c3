/* What a net sees of a sample. */
#ifndef FEWBIT_DATA_INPUTS_H
#define FEWBIT_DATA_INPUTS_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = (bytes[i] / 255 - mean) / deviation; with deviation 0 bytes[i] / 255 alone. */
void inputs_from(const uint8_t *bytes, float *out, size_t n, float mean, float deviation);

#endif
