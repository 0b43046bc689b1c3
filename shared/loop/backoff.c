#include "loop/backoff.h"

#include "base/rng.h"

void backoff_init(backoff *b, uint32_t low_ms, uint32_t high_ms, uint64_t seed) {
    *b = (backoff){.low_ms = low_ms, .high_ms = high_ms, .span_ms = low_ms, .seed = seed};
}

uint32_t backoff_next_ms(backoff *b) {
    rng draws = rng_at(b->seed, 0, b->tries++);
    uint32_t half = b->span_ms / 2;
    uint32_t wait = b->span_ms - half + rng_below(&draws, half + 1);
    b->span_ms = b->span_ms > b->high_ms / 2 ? b->high_ms : b->span_ms * 2;
    return wait;
}

void backoff_limit(backoff *b, uint32_t high_ms) {
    b->high_ms = high_ms;
    b->span_ms = b->span_ms > high_ms ? high_ms : b->span_ms;
}

void backoff_reset(backoff *b) {
    b->span_ms = b->low_ms;
}
