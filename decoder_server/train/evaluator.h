/* The evaluator: accuracy on the test samples and those held back, with the encoders' soft outputs and with
 * their bits, and, where bits come in stages, with more bits for the unsure ones only.
 *
 * Pure: it says batch by batch what is to be asked of all encoders, takes their answers, and has more or is done. Of a
 * classifier alone the batches are of whole samples, and nothing is rounded. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_EVALUATOR_H
#define FEWBIT_DECODER_SERVER_TRAIN_EVALUATOR_H

#include "decoder_server/core/run_dir.h"
#include "decoder_server/train/alignment.h"
#include "decoder_server/train/head_trainer.h"
#include "decoder_server/train/traffic_report.h"

typedef struct evaluator evaluator;

/* What is asked of every encoder: a Batch, or a RefineRequest that borrows from the evaluator. */
typedef struct evaluator_request {
    message_type type, answer; /* of the answer that each gives */
    union {
        Fewbit__Batch batch;
        Fewbit__RefineRequest refine;
        ProtobufCMessage base;
    } body;
} evaluator_request;

/* All is borrowed for as long as it lives. `inputs` [rows, inputs of the head] is filled with what the head is
 * to see of a batch: with soft outputs by the caller, with bits by evaluator_take_codes. */
err evaluator_new(evaluator **v, const experiment *e, const labels *l, uint32_t train_samples, head_trainer *trainer,
                  traffic_report *traffic, float *inputs);
void evaluator_free(evaluator *v);

/* Has the test samples that lack a portion evaluated too, with their bits, for the accuracy over all: those of `a`
 * behind the complete ones, whose classes stand there in the labels. Borrowed. */
void evaluator_add_incomplete(evaluator *v, const alignment *a);

/* Begins an evaluation. */
void evaluator_start(evaluator *v);

/* What comes next, of the encoders at `step`; false: nothing, the evaluation is over. */
bool evaluator_next(evaluator *v, uint64_t step, evaluator_request *r);

/* Rows of the batch that was asked for last. */
uint32_t evaluator_rows(const evaluator *v);

/* A portion's bits; false: they do not fit what was asked. */
bool evaluator_take_codes(evaluator *v, uint32_t portion, const Fewbit__Codes *codes);
bool evaluator_take_refinement(evaluator *v, uint32_t portion, const Fewbit__Refinement *r);

/* Whether the batch under way ends a pass between whose ends traffic is counted. *samples: how many were rounded in the
 * pass; 0: it only opens the one that is counted. */
bool evaluator_ends_counted_pass(const evaluator *v, uint32_t *samples);

/* All answers are here. */
void evaluator_classify(evaluator *v);

/* The accuracies, what the encoders put out, and the metrics by class of what is served; `score` owns what it points
 * to. */
void evaluator_score(const evaluator *v, manifest_evaluation *score);

#endif
