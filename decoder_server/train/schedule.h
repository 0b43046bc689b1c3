/* The schedule of a training: whether the data fits, when it is evaluated, saved and over, and what
 * is written about it. Decides by the run and its experiment alone. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_SCHEDULE_H
#define FEWBIT_DECODER_SERVER_TRAIN_SCHEDULE_H

#include "decoder_server/core/run_dir.h"

/* Samples of one evaluation batch; room for why a checkpoint failed. */
enum { SCHEDULE_EVALUATION_ROWS = 1000, SCHEDULE_ERROR_MAX = 400 };

/* ERR_INPUT where the labels are not those of the experiment's data, or are too few. */
err schedule_check_labels(const experiment *e, const labels *l);

/* ERR_INPUT where the run's last commit stands at a place that its epochs, of so many batches, do not have. */
err schedule_check_position(const run_dir *r, uint32_t batches);

/* The order in which an epoch visits its samples: a permutation of 0 … samples - 1 that depends on seed and epoch
 * alone.
 */
void schedule_order(const experiment *e, uint32_t epoch, uint32_t *ids, size_t samples);

/* Whether a checkpoint, and whether an evaluation is due at this position, just after a step. */
bool schedule_saves_at(const experiment *e, const manifest_position *position, uint32_t batches);
bool schedule_evaluates_at(const experiment *e, const manifest_position *position, uint32_t batches);

/* Adds the time since *since_ns to that of the position, and goes on from now. */
void schedule_count_time(manifest_position *position, uint64_t *since_ns);

/* Where the step before was its epoch's last one, the next epoch begins. schedule_end_period sees to it itself. */
void schedule_advance(manifest_position *position, uint32_t batches);

/* What may help where numbers are not finite any more, or were never. */
const char *schedule_advice(const manifest_position *position);

/* ERR_INPUT where the loss is no number: nothing can be learned any more. */
err schedule_check_loss(const manifest_position *position, double loss);

double schedule_percent(uint64_t correct, uint64_t samples);

/* Ends the period since the last evaluation. `score` holds the test and validation accuracies and encoders;
 * the rest is filled in from `*position`, which then stands after the evaluation. The score goes to the log and to the
 * run, which takes over its encoders. *is_best: with keep_best, that it beats the one whose checkpoint is kept. */
err schedule_end_period(run_dir *r, manifest_position *position, uint32_t batches, manifest_evaluation *score,
                        bool *is_best);

/* Commits, unless `error` says already why a part could not be written; where the commit itself fails, `error` says
 * why. The log tells either way. */
void schedule_commit(run_dir *r, const manifest_commit *next, bool is_best, char error[SCHEDULE_ERROR_MAX]);

/* Whether there is nothing left to train: all epochs are done, or early_stopping_patience says so. */
bool schedule_is_over(const run_dir *r, const manifest_position *position);

/* What result.json says of every training, a new reference: name, accuracies, times, history. */
json_t *schedule_result(const run_dir *r, const manifest_position *position);

/* ERR_STOPPED once the process is asked to stop. */
err schedule_check_interrupt(void);

#endif
