/* The test of what more bits only when unsure cost and bring: the first round of every test sample comes, and of those
 * whose answer is not sure enough the next rounds are asked for and really sent.
 *
 * All thresholds are measured in one go. A sample that is asked more of at one threshold is so at every higher one, so
 * they are gone through from the lowest to the highest, and each asks only for what the ones before have not brought
 * yet. Counted is what that threshold alone would have sent: one request a batch and round, and its answers. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_ROUNDS_TEST_H
#define FEWBIT_DECODER_SERVER_TRAIN_ROUNDS_TEST_H

#include "decoder_server/train/by_round.h"
#include "decoder_server/train/step.h"
#include "wire/message.h"

#include <jansson.h>

typedef struct rounds_test rounds_test;

/* *t is NULL where the experiment has but one round. `step` is borrowed. */
err rounds_test_new(rounds_test **t, const experiment *e, step *s);
void rounds_test_free(rounds_test *t);

/* Forgets what was counted; then batch by batch. */
void rounds_test_start(rounds_test *t);

/* A batch begins, of samples `first` on; its codes are asked for by `rows`. */
void rounds_test_begin(rounds_test *t, uint64_t first, size_t rows);

/* Payload bits that each portion sends in the round that is under way. */
size_t rounds_test_bits(const rounds_test *t);

/* The first round of a portion's codes; false: they do not fit. */
bool rounds_test_take_codes(rounds_test *t, uint32_t portion, const Fewbit__Codes *codes);

/* What is to be asked of every portion next, into *ask, which borrows from the test; false: the batch is over.
 * labels [rows]. Only once all portions have answered. */
bool rounds_test_next(rounds_test *t, const uint8_t *labels, Fewbit__Ask *ask);

/* A portion's answer to it; false: it does not fit. */
bool rounds_test_take_added(rounds_test *t, uint32_t portion, const Fewbit__Added *added);

/* A new reference: [{"sure": threshold, "accuracy": percent, "bits": payload bits a sample, "asked": share of the
 * samples that more was asked of, "bits_up": bits of the frames a sample with codes, "bits_down": of those that asked
 * for more}]; NULL: no memory. */
json_t *rounds_test_json(const rounds_test *t);

#endif
