/* Batches for refinement: the head sees each sample once a stage, with the bits of later stages not sent yet.
 *
 * The copies lie one stage after the other, [stages, rows, codeword], so that one pass through the head and one loss a
 * stage do for all of them. What is not sent is BINARIZE_UNKNOWN, as when serving. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_REFINEMENT_BATCH_H
#define FEWBIT_DECODER_SERVER_TRAIN_REFINEMENT_BATCH_H

#include "bits/codeword.h"

/* soft [rows, codeword] -> seen [stages, rows, codeword]. */
void refinement_batch_spread(const codeword *layout, const float *soft, size_t rows, float *seen);

/* The other way: gradient on `seen` -> sum [rows, codeword] of what each copy saw of a bit. */
void refinement_batch_gather(const codeword *layout, const float *gradient, size_t rows, float *sum);

/* The first `stage` + 1 stages of one row, the rest unknown: in place. */
void refinement_batch_hide(const codeword *layout, uint32_t stage, float *row);

#endif
