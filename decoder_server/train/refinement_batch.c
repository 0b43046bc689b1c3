#include "decoder_server/train/refinement_batch.h"

#include "bits/binarize.h"

#include <string.h>

void refinement_batch_hide(const codeword *layout, uint32_t stage, float *row) {
    for (uint32_t k = 0; k < layout->portions; k++) {
        for (uint32_t bit = layout->offset[k] + layout->portion[k].upto[stage]; bit < layout->offset[k + 1]; bit++) {
            row[bit] = BINARIZE_UNKNOWN;
        }
    }
}

void refinement_batch_spread(const codeword *layout, const float *soft, size_t rows, float *seen) {
    size_t width = codeword_bits(layout);
    for (uint32_t stage = 0; stage < layout->stages; stage++, seen += rows * width) {
        memcpy(seen, soft, rows * width * sizeof *seen);
        for (size_t row = 0; row < rows; row++) {
            refinement_batch_hide(layout, stage, seen + row * width);
        }
    }
}

/* Adds the gradient of one row of a stage to `sum`, for the bits that were seen in it. */
static void add_row(const codeword *layout, uint32_t stage, const float *gradient, float *sum) {
    for (uint32_t k = 0; k < layout->portions; k++) {
        uint32_t from = layout->offset[k];
        for (uint32_t bit = from; bit < from + layout->portion[k].upto[stage]; bit++) {
            sum[bit] += gradient[bit];
        }
    }
}

void refinement_batch_gather(const codeword *layout, const float *gradient, size_t rows, float *sum) {
    size_t width = codeword_bits(layout);
    memset(sum, 0, rows * width * sizeof *sum);
    for (uint32_t stage = 0; stage < layout->stages; stage++) {
        for (size_t row = 0; row < rows; row++, gradient += width) {
            add_row(layout, stage, gradient, sum + row * width);
        }
    }
}
