/* Batches for refinement: the head sees each sample once a stage, with the bits of later stages not sent yet.
 *
 * The copies lie one stage after the other, [stages, rows, portions * bits], so that one pass through the head and one
 * loss a stage do for all of them. What is not sent is BINARIZE_UNKNOWN, as when serving. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_REFINEMENT_BATCH_H
#define FEWBIT_DECODER_SERVER_TRAIN_REFINEMENT_BATCH_H

#include "bits/refinement.h"

typedef struct refinement_batch {
    refinement refinement;
    uint32_t portions, bits; /* of each portion */
} refinement_batch;

/* soft [rows, portions * bits] -> seen [stages, rows, portions * bits]. */
void refinement_batch_spread(const refinement_batch *b, const float *soft, size_t rows, float *seen);

/* The other way: gradient on `seen` -> sum [rows, portions * bits] of what each copy saw of a bit. */
void refinement_batch_gather(const refinement_batch *b, const float *gradient, size_t rows, float *sum);

/* The first `stage` + 1 stages of one row, the rest unknown: in place. */
void refinement_batch_hide(const refinement_batch *b, uint32_t stage, float *row);

#endif
