/* Rounds: the order in which an encoder's bits are sent.
 *
 * A code's bits come in ordered rounds; what has been sent of it is always its first rounds, so its first bits. The
 * decoder takes a bit that has not been sent as DECISION_UNKNOWN. With one round a code is sent whole. */
#ifndef FEWBIT_BITS_ROUNDS_H
#define FEWBIT_BITS_ROUNDS_H

#include <stddef.h>
#include <stdint.h>

enum { ROUNDS_MAX = 8 };

typedef struct rounds {
    uint32_t count;            /* from 1 */
    uint32_t upto[ROUNDS_MAX]; /* bits of rounds 0 to r; the last one is the whole code */
} rounds;

/* Bits of one round. */
static inline uint32_t rounds_width(const rounds *r, uint32_t round) {
    return r->upto[round] - (round > 0 ? r->upto[round - 1] : 0);
}

/* The bits of a code that one round sends, from bit 0. */
static inline uint64_t rounds_part(const rounds *r, uint32_t round, uint64_t code) {
    uint32_t from = round > 0 ? r->upto[round - 1] : 0, width = r->upto[round] - from;
    return code >> from & (UINT64_MAX >> (64 - width));
}

/* The bits of a code that the first rounds, up to this one, send. */
static inline uint64_t rounds_first(const rounds *r, uint32_t round, uint64_t code) {
    return code & (UINT64_MAX >> (64 - r->upto[round]));
}

#endif
