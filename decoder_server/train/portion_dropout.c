#include "decoder_server/train/portion_dropout.h"

#include "base/rng.h"
#include "bits/binarize.h"

#include <string.h>

void portion_dropout_draw(const portion_dropout *d, uint64_t step, const uint64_t *given, size_t rows, uint64_t *have) {
    memset(have, 0, rows * sizeof *have);
    for (uint32_t k = 0; k < d->layout->portions; k++) {
        rng draws = rng_at(d->seed, rng_stream(RNG_PORTION_DROPOUT, k), (uint32_t)step);
        for (size_t row = 0; row < rows; row++) {
            have[row] |= (uint64_t)(rng_float(&draws) >= d->rate) << k;
        }
    }
    for (size_t row = 0; row < rows; row++) {
        uint64_t all = given ? given[row] : ~(uint64_t)0;
        have[row] = have[row] & all ? have[row] & all : all;
    }
}

static bool is_here(const uint64_t *have, size_t row, uint32_t portion) {
    return have[row] >> portion & 1;
}

void portion_dropout_fill(const portion_dropout *d, const uint64_t *have, size_t rows, const float *soft, float *seen) {
    const uint32_t *offset = d->layout->offset;
    uint32_t width = codeword_bits(d->layout);
    if (seen != soft) {
        memcpy(seen, soft, rows * width * sizeof *seen);
    }
    for (size_t row = 0; row < rows; row++, seen += width) {
        for (uint32_t k = 0; k < d->layout->portions; k++) {
            for (uint32_t b = offset[k]; b < offset[k + 1] && !is_here(have, row, k); b++) {
                seen[b] = BINARIZE_UNKNOWN;
            }
        }
    }
}

void portion_dropout_clear(const portion_dropout *d, const uint64_t *have, size_t rows, float *gradient) {
    for (size_t row = 0; row < rows; row++, gradient += codeword_bits(d->layout)) {
        for (uint32_t k = 0; k < d->layout->portions; k++) {
            if (!is_here(have, row, k)) {
                memset(gradient + d->layout->offset[k], 0, codeword_portion_bits(d->layout, k) * sizeof *gradient);
            }
        }
    }
}
