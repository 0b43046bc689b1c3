#include "decoder_server/train/refinement_batch.h"

#include "bits/decision.h"

#include <string.h>

void refinement_batch_hide(const refinement_batch *b, uint32_t round, float *row) {
    for (uint32_t k = 0; k < b->portions; k++, row += b->bits) {
        for (uint32_t bit = b->rounds.upto[round]; bit < b->bits; bit++) {
            row[bit] = DECISION_UNKNOWN;
        }
    }
}

void refinement_batch_spread(const refinement_batch *b, const float *soft, size_t rows, float *seen) {
    size_t width = (size_t)b->portions * b->bits;
    for (uint32_t round = 0; round < b->rounds.count; round++, seen += rows * width) {
        memcpy(seen, soft, rows * width * sizeof *seen);
        for (size_t row = 0; row < rows; row++) {
            refinement_batch_hide(b, round, seen + row * width);
        }
    }
}

/* Adds the gradient of one row of a round to `sum`, for the bits that were seen in it. */
static void add_row(const refinement_batch *b, uint32_t round, const float *gradient, float *sum) {
    for (uint32_t k = 0; k < b->portions; k++, sum += b->bits, gradient += b->bits) {
        for (uint32_t bit = 0; bit < b->rounds.upto[round]; bit++) {
            sum[bit] += gradient[bit];
        }
    }
}

void refinement_batch_gather(const refinement_batch *b, const float *gradient, size_t rows, float *sum) {
    size_t width = (size_t)b->portions * b->bits;
    memset(sum, 0, rows * width * sizeof *sum);
    for (uint32_t round = 0; round < b->rounds.count; round++) {
        for (size_t row = 0; row < rows; row++, gradient += width) {
            add_row(b, round, gradient, sum + row * width);
        }
    }
}
