#include "decoder_server/train/refinement_batch.h"

#include "bits/binarize.h"

#include <string.h>

void refinement_batch_hide(const refinement_batch *b, uint32_t stage, float *row) {
    for (uint32_t k = 0; k < b->portions; k++, row += b->bits) {
        for (uint32_t bit = b->refinement.upto[stage]; bit < b->bits; bit++) {
            row[bit] = BINARIZE_UNKNOWN;
        }
    }
}

void refinement_batch_spread(const refinement_batch *b, const float *soft, size_t rows, float *seen) {
    size_t width = (size_t)b->portions * b->bits;
    for (uint32_t stage = 0; stage < b->refinement.count; stage++, seen += rows * width) {
        memcpy(seen, soft, rows * width * sizeof *seen);
        for (size_t row = 0; row < rows; row++) {
            refinement_batch_hide(b, stage, seen + row * width);
        }
    }
}

/* Adds the gradient of one row of a stage to `sum`, for the bits that were seen in it. */
static void add_row(const refinement_batch *b, uint32_t stage, const float *gradient, float *sum) {
    for (uint32_t k = 0; k < b->portions; k++, sum += b->bits, gradient += b->bits) {
        for (uint32_t bit = 0; bit < b->refinement.upto[stage]; bit++) {
            sum[bit] += gradient[bit];
        }
    }
}

void refinement_batch_gather(const refinement_batch *b, const float *gradient, size_t rows, float *sum) {
    size_t width = (size_t)b->portions * b->bits;
    memset(sum, 0, rows * width * sizeof *sum);
    for (uint32_t stage = 0; stage < b->refinement.count; stage++) {
        for (size_t row = 0; row < rows; row++, gradient += width) {
            add_row(b, stage, gradient, sum + row * width);
        }
    }
}
