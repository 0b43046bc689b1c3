/* Portion dropout: whole portions are left out at random while training (training.portion_dropout), so that an answer
 * without some of the nodes is still a good one.
 *
 * Each portion of each sample is missing with that probability, drawn for itself from (seed, portion, step, row); a
 * sample that would lose all its portions keeps them. What the head sees of a missing portion is what it sees when
 * serving: BINARIZE_UNKNOWN for each bit. Nothing is scaled. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_PORTION_DROPOUT_H
#define FEWBIT_DECODER_SERVER_TRAIN_PORTION_DROPOUT_H

#include "bits/codeword.h"

typedef struct portion_dropout {
    float rate; /* from 0 to below 1 */
    uint64_t seed;
    const codeword *layout; /* borrowed */
} portion_dropout;

/* have [rows]: bit k of a row's word is set where portion k is there. `given` [rows]: those that there are to begin
 * with; NULL: all of every row. */
void portion_dropout_draw(const portion_dropout *d, uint64_t step, const uint64_t *given, size_t rows, uint64_t *have);

/* soft [rows, codeword] to `seen` (which may be the same), same shape, without what is missing. */
void portion_dropout_fill(const portion_dropout *d, const uint64_t *have, size_t rows, const float *soft, float *seen);

/* Takes the gradient on what is missing away: gradient [rows, codeword]. */
void portion_dropout_clear(const portion_dropout *d, const uint64_t *have, size_t rows, float *gradient);

#endif
