/* Training by rounds: the head sees each sample once a round, with the bits of later rounds not sent yet.
 *
 * The copies lie one round behind the other, [rounds, rows, portions * bits], so that one pass through the head and one
 * loss a round do for all of them. What is not sent is DECISION_UNKNOWN, as when serving. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_BY_ROUND_H
#define FEWBIT_DECODER_SERVER_TRAIN_BY_ROUND_H

#include "bits/rounds.h"

typedef struct by_round {
    rounds rounds;
    uint32_t portions, bits; /* of each portion */
} by_round;

/* soft [rows, portions * bits] -> seen [rounds, rows, portions * bits]. */
void by_round_spread(const by_round *b, const float *soft, size_t rows, float *seen);

/* The other way: gradient on `seen` -> sum [rows, portions * bits] of what each copy saw of a bit. */
void by_round_gather(const by_round *b, const float *gradient, size_t rows, float *sum);

/* The first `round` + 1 rounds of one row, the rest unknown: in place. */
void by_round_hide(const by_round *b, uint32_t round, float *row);

#endif
