#include "decoder_server/train/missing.h"

#include "base/rng.h"
#include "bits/decision.h"

#include <stdbool.h>
#include <string.h>

void missing_draw(const missing *m, uint64_t step, size_t rows, uint64_t *have) {
    memset(have, 0, rows * sizeof *have);
    for (uint32_t k = 0; k < m->portions; k++) {
        rng draws = rng_at(m->seed, rng_stream(RNG_MISSING, k), (uint32_t)step);
        for (size_t row = 0; row < rows; row++) {
            have[row] |= (uint64_t)(rng_float(&draws) >= m->rate) << k;
        }
    }
    for (size_t row = 0; row < rows; row++) {
        have[row] = have[row] ? have[row] : ~(uint64_t)0;
    }
}

static bool is_here(const uint64_t *have, size_t row, uint32_t portion) {
    return have[row] >> portion & 1;
}

void missing_fill(const missing *m, const uint64_t *have, size_t rows, const float *soft, float *seen) {
    memcpy(seen, soft, rows * m->portions * m->bits * sizeof *seen);
    for (size_t row = 0; row < rows; row++) {
        for (uint32_t k = 0; k < m->portions; k++, seen += m->bits) {
            for (uint32_t b = 0; b < m->bits && !is_here(have, row, k); b++) {
                seen[b] = DECISION_UNKNOWN;
            }
        }
    }
}

void missing_clear(const missing *m, const uint64_t *have, size_t rows, float *gradient) {
    for (size_t row = 0; row < rows; row++) {
        for (uint32_t k = 0; k < m->portions; k++, gradient += m->bits) {
            if (!is_here(have, row, k)) {
                memset(gradient, 0, m->bits * sizeof *gradient);
            }
        }
    }
}
