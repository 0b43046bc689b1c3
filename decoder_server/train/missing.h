/* Portions that are missing on purpose: training with training.portion_dropout, so that an answer without some of the
 * nodes is still a good one.
 *
 * Each portion of each sample is missing with that probability, drawn for itself from (seed, portion, step, row); a
 * sample that would lose all its portions keeps them. What the head sees of a missing portion is what it sees when
 * serving: DECISION_UNKNOWN for each bit. Nothing is scaled. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_MISSING_H
#define FEWBIT_DECODER_SERVER_TRAIN_MISSING_H

#include <stddef.h>
#include <stdint.h>

typedef struct missing {
    float rate; /* from 0 to below 1 */
    uint64_t seed;
    uint32_t portions, bits; /* of each portion */
} missing;

/* have [rows]: bit k of a row's word is set where portion k is there. */
void missing_draw(const missing *m, uint64_t step, size_t rows, uint64_t *have);

/* soft [rows, portions * bits] to `seen`, same shape, without what is missing. */
void missing_fill(const missing *m, const uint64_t *have, size_t rows, const float *soft, float *seen);

/* Takes the gradient on what is missing away: gradient [rows, portions * bits]. */
void missing_clear(const missing *m, const uint64_t *have, size_t rows, float *gradient);

#endif
