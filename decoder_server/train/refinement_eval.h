/* Evaluation of refinement: what more bits cost and bring if they are asked for only when the answer is unsure. The
 * first stage of every test sample comes; of those whose confidence is below the threshold, the next stages are asked
 * for and really sent.
 *
 * All thresholds are measured in one go. A sample that is asked more of at one threshold is so at every higher one, so
 * they are gone through from the lowest to the highest, and each asks only for what the ones before have not brought
 * yet. Counted is what that threshold alone would have sent: one request a batch and stage, and its answers. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_REFINEMENT_EVAL_H
#define FEWBIT_DECODER_SERVER_TRAIN_REFINEMENT_EVAL_H

#include "decoder_server/train/head_trainer.h"
#include "decoder_server/train/refinement_batch.h"
#include "wire/message.h"

#include <jansson.h>

typedef struct refinement_eval refinement_eval;

/* *t is NULL where the experiment has but one stage. The trainer is borrowed. */
err refinement_eval_new(refinement_eval **t, const experiment *e, head_trainer *s);
void refinement_eval_free(refinement_eval *t);

/* Forgets what was counted; then batch by batch. */
void refinement_eval_start(refinement_eval *t);

/* A batch begins, of samples `first` on; its codes are asked for by `rows`. */
void refinement_eval_begin(refinement_eval *t, uint64_t first, size_t rows);

/* Payload bits that a portion sends in the stage that is under way. */
size_t refinement_eval_bits(const refinement_eval *t, uint32_t portion);

/* The first stage of a portion's codes; false: they do not fit. */
bool refinement_eval_take_codes(refinement_eval *t, uint32_t portion, const Fewbit__Codes *codes);

/* What is to be asked of every portion next, into *ask, which borrows from the test; false: the batch is over.
 * labels [rows]. Only once all portions have answered. */
bool refinement_eval_next(refinement_eval *t, const uint8_t *labels, Fewbit__RefineRequest *ask);

/* A portion's answer to it; false: it does not fit. */
bool refinement_eval_take_refinement(refinement_eval *t, uint32_t portion, const Fewbit__Refinement *added);

/* A new reference: [{"confidence": threshold, "accuracy": percent, "bits": payload bits a sample, "asked": share of the
 * samples that more was asked of, "bits_up": bits of the frames a sample with codes, "bits_down": of those that asked
 * for more}]; NULL: no memory. */
json_t *refinement_eval_json(const refinement_eval *t);

#endif
