/* The training loop: epochs of steps, their evaluations and checkpoints, and the result at the end. It is the same
 * whatever stands before the head: encoders behind links, encoders in this process, or none (a classifier alone).
 *
 *     restoring --> training --a period ends--> evaluating --> saving --committed--> training …  --> over
 *
 * Pure but for the run's files: it asks all encoders for something, takes what each answers, and goes on once it is
 * told that all have. What then stands ready is work. It is not done inside the call that brings it about, but by
 * train_loop_work, which may run on another thread: piece by piece, and no other call may be made as long as there is
 * any. What a piece has told the host goes out before the next one; the host's functions are called on its thread. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_LOOP_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_LOOP_H

#include "decoder_server/core/run_dir.h"
#include "decoder_server/train/alignment.h"
#include "decoder_server/train/traffic_report.h"

typedef struct train_loop train_loop;

typedef enum train_loop_state {
    TRAIN_LOOP_WAITING,
    TRAIN_LOOP_TRAINING,
    TRAIN_LOOP_EVALUATING,
    TRAIN_LOOP_SAVING,
    TRAIN_LOOP_OVER
} train_loop_state;

/* Where training stands, for a progress bar. */
typedef struct train_loop_progress {
    const char *phase;      /* "training", "testing", "waiting for nodes" */
    uint32_t epoch, epochs; /* from 1 */
    uint32_t batch, batches;
    double loss, accuracy;            /* of the epoch so far; percent */
    uint64_t samples, steps;          /* done since the start of this process */
    const manifest_evaluation *ended; /* the epoch that has just been evaluated, or NULL */
} train_loop_progress;

typedef struct train_loop_host {
    /* Asks every encoder; train_loop_answered is to follow once all answers of that type are taken, but where
     * `answer` is 0: none is owed. Where there are no encoders, the answer to a Batch are its samples, in
     * train_loop_inputs. */
    void (*ask)(void *context, message_type type, const ProtobufCMessage *body, message_type answer);
    /* Sends every encoder back: to its part of a checkpoint, with that digest (NULL: to the beginning). All are to
     * answer Ready. */
    void (*restore)(void *context, uint64_t step, const uint8_t (*digests)[SHA256_BYTES]);
    /* The gradient on one portion's outputs, [rows, bits]. */
    void (*gradient)(void *context, uint32_t portion, uint64_t step, const float *gradient, uint32_t rows);
    void (*progress)(void *context, const train_loop_progress *p);
    /* It is over: train_loop_is_over says how. */
    void (*over)(void *context);
    void *context;
} train_loop_host;

/* `r`, `l`, `a` and `pool` are borrowed. `a`: the alignment that the labels were put in order by; NULL: none. */
err train_loop_new(train_loop **t, run_dir *r, const labels *l, const alignment *a, thread_pool *pool, bool over_tcp,
                   const train_loop_host *host);
void train_loop_free(train_loop *t);

/* All encoders are here: goes back to the last commit, or begins. */
void train_loop_go_back(train_loop *t);

/* One is lost: nothing is asked any more until train_loop_go_back. */
void train_loop_wait(train_loop *t);

/* All have answered. */
void train_loop_answered(train_loop *t);

/* Ends it before its time, or (ERR_OK) at its end; err_text() says why. */
void train_loop_end(train_loop *t, err outcome);

train_loop_state train_loop_state_of(const train_loop *t);
const manifest_position *train_loop_position(const train_loop *t);
traffic_report *train_loop_traffic(train_loop *t);
bool train_loop_is_over(const train_loop *t, err *outcome);

/* Says where training stands; `ended`: the epoch that has just been evaluated, or NULL. */
void train_loop_report(train_loop *t, const char *phase, const manifest_evaluation *ended);

/* What the head sees of the batch that was asked for, [rows, inputs]. */
float *train_loop_inputs(train_loop *t);

/* One encoder's answer; that it was asked for is the caller's to know. */
typedef enum train_loop_verdict {
    TRAIN_LOOP_FITS,
    TRAIN_LOOP_DOES_NOT_FIT,
    TRAIN_LOOP_NO_NUMBER, /* it fits, but all will have to go back: an output is not finite */
    TRAIN_LOOP_DIFFERS,   /* what was restored is not what was saved */
} train_loop_verdict;

train_loop_verdict train_loop_take(train_loop *t, uint32_t portion, const message *m);

/* Whether the answers that are all here now close a part of the evaluation between whose ends traffic is counted: then
 * traffic_report_count is to be told what it was, of so many rounded samples, before anything else is sent. */
bool train_loop_counts_traffic(const train_loop *t, uint32_t *samples);

/* Whether work stands ready; whether its next piece takes long (by its multiply-adds more than about ten milliseconds,
 * or waiting for a disk); and to do that. The numbers do not depend on the thread. */
bool train_loop_has_work(const train_loop *t);
bool train_loop_work_is_long(const train_loop *t);
void train_loop_work(train_loop *t);

/* Where the next piece is the head's update: its tasks, else 0. Each may be run once, in any order, also side by side,
 * and train_loop_update_done be called, instead of train_loop_work. */
size_t train_loop_update_tasks(const train_loop *t);
void train_loop_update_task(train_loop *t, size_t task);
void train_loop_update_done(train_loop *t);

#endif
