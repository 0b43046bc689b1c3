/* Random numbers from a counter: Philox4x32-10.
 *
 * A draw is a pure function of (seed, stream, step, index), never of time or of what was drawn before, so
 * every process that knows the four gets the same number, in any order and after any restart.
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011. */
#ifndef FEWBIT_BASE_RNG_H
#define FEWBIT_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* What the draws are for; a stream is a purpose plus, where it matters, the portion they belong to. */
enum rng_purpose {
    RNG_INIT_HEAD = 1,
    RNG_INIT_ENCODER = 2,
    RNG_BATCH_ORDER = 3,
    RNG_DROPOUT = 4,
    RNG_PORTION_DROPOUT = 5,
    RNG_AUGMENT = 6,
    RNG_TEST = 15
};

typedef struct rng {
    uint64_t seed;
    uint32_t stream;
    uint32_t step;
    uint64_t index; /* of the next draw */
    uint32_t block[4];
} rng;

static inline uint32_t rng_stream(enum rng_purpose purpose, uint32_t portion) {
    return ((uint32_t)purpose << 16) | (portion & 0xffff);
}

/* The generator for (seed, stream, step), at index 0. */
rng rng_at(uint64_t seed, uint32_t stream, uint32_t step);

/* The four words of the Philox4x32-10 bijection, for tests against the published vectors. */
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

uint32_t rng_u32(rng *r);

/* Uniform in [0, bound) without bias (rejection); bound > 0. */
uint32_t rng_below(rng *r, uint32_t bound);

/* Uniform in [0, 1), 24 bits. */
float rng_float(rng *r);

/* Normal with mean 0 and deviation 1: Box and Muller, "A Note on the Generation of Random Normal Deviates", 1958. Two
 * draws. */
float rng_normal(rng *r);

/* Fisher-Yates over `n` items. */
void rng_shuffle(rng *r, uint32_t *items, size_t n);

#endif
