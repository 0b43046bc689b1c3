/* Backoff: how long to wait before the next attempt, doubling from `low_ms` to `high_ms`, each wait drawn evenly from
 * the upper half of its span, so that many clients of one server spread out. */
#ifndef FEWBIT_LOOP_BACKOFF_H
#define FEWBIT_LOOP_BACKOFF_H

#include <stdint.h>

typedef struct backoff {
    uint32_t low_ms, high_ms;
    uint32_t span_ms; /* of the next wait */
    uint64_t seed;    /* any number that differs between clients */
    uint32_t tries;
} backoff;

void backoff_init(backoff *b, uint32_t low_ms, uint32_t high_ms, uint64_t seed);
uint32_t backoff_next_ms(backoff *b);

/* Another longest wait from now on. */
void backoff_limit(backoff *b, uint32_t high_ms);

/* After a success. */
void backoff_reset(backoff *b);

#endif
