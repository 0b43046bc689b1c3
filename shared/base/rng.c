#include "base/rng.h"

#include <math.h>

void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

rng rng_at(uint64_t seed, uint32_t stream, uint32_t step) {
    return (rng){.seed = seed, .stream = stream, .step = step};
}

uint32_t rng_u32(rng *r) {
    uint32_t word = (uint32_t)(r->index % 4);
    if (word == 0) {
        uint64_t block = r->index / 4;
        uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), r->stream, r->step};
        uint32_t key[2] = {(uint32_t)r->seed, (uint32_t)(r->seed >> 32)};
        rng_philox(counter, key, r->block);
    }
    r->index++;
    return r->block[word];
}

uint32_t rng_below(rng *r, uint32_t bound) {
    uint32_t limit = (uint32_t)(-bound) % bound; /* 2^32 mod bound */
    for (;;) {
        uint64_t product = (uint64_t)rng_u32(r) * bound; /* Lemire, "Fast Random Integer Generation", 2019 */
        if ((uint32_t)product >= limit) {
            return (uint32_t)(product >> 32);
        }
    }
}

float rng_float(rng *r) {
    return (float)(rng_u32(r) >> 8) * 0x1p-24f;
}

float rng_normal(rng *r) {
    double radius = sqrt(-2 * log(1 - (double)rng_float(r)));
    return (float)(radius * cos(2 * M_PI * (double)rng_float(r)));
}

void rng_shuffle(rng *r, uint32_t *items, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = rng_below(r, (uint32_t)i);
        uint32_t item = items[i - 1];
        items[i - 1] = items[j];
        items[j] = item;
    }
}
