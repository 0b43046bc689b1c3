#include "data/shuffle.h"

#include "base/rng.h"

void shuffle_epoch(uint64_t seed, uint32_t epoch, uint32_t *ids, size_t n) {
    for (size_t i = 0; i < n; i++) {
        ids[i] = (uint32_t)i;
    }
    rng draws = rng_at(seed, rng_stream(RNG_BATCH_ORDER, 0), epoch);
    rng_shuffle(&draws, ids, n);
}
