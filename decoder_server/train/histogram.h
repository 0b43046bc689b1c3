/* The histogram of an encoder's soft outputs, which shows how far it saturates.
 *
 * Counted on the test samples of one evaluation. As JSON, in the log and the result:
 *   {"bins": [20 counts over [0, 1]], "ones": [how often each bit is 1], "distance": mean distance to the nearest bit}
 * The bins add up to samples times bits. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_HISTOGRAM_H
#define FEWBIT_DECODER_SERVER_TRAIN_HISTOGRAM_H

#include "bits/pack.h"

#include <jansson.h>

enum { HISTOGRAM_BINS = 20 };

/* Plain data; all zero but `bits` at the start. */
typedef struct histogram {
    uint32_t bits; /* outputs of the encoder, at most PACK_CODE_BITS_MAX */
    uint64_t samples;
    uint64_t bins[HISTOGRAM_BINS]; /* bin i: from i / 20, up to but not (i + 1) / 20; 1 is in the last */
    uint64_t ones[PACK_CODE_BITS_MAX];
    double distance_sum;
} histogram;

/* Adds `rows` samples; soft [rows, bits], each from 0 to 1, a row every `stride` floats. */
void histogram_add(histogram *h, const float *soft, size_t rows, size_t stride);

/* Mean distance of an output to the nearer of 0 and 1. */
double histogram_distance(const histogram *h);

/* The objects above of `count` encoders, a new reference. NULL: no memory. */
json_t *histogram_list(const histogram *h, size_t count);

#endif
