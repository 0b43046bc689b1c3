/* The inside of the coordinator, for the three files it is partitioned in: coordinator.c (who is here, training),
 * evaluator.c and checkpointer.c. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_COORDINATOR_INSIDE_H
#define FEWBIT_DECODER_SERVER_TRAIN_COORDINATOR_INSIDE_H

#include "decoder_server/core/pending_replies.h"
#include "decoder_server/train/coordinator.h"
#include "decoder_server/train/head_trainer.h"
#include "decoder_server/train/histogram.h"
#include "decoder_server/train/refinement_eval.h"
#include "decoder_server/train/schedule.h"
#include "decoder_server/train/traffic_report.h"

typedef enum coordinator_state { GATHERING, TRAINING, UPDATING, METERING, EVALUATING, SAVING, OVER } coordinator_state;

/* The evaluations at the end of an epoch, in order; those of a part that the experiment leaves alone are left out.
 * REFINEMENT is of the test too, or where that is left alone of the samples held back. */
typedef enum evaluator_stage {
    SOFT_TEST,
    ROUNDED_TEST,
    SOFT_VALIDATION,
    ROUNDED_VALIDATION,
    REFINEMENT,
    STAGES
} evaluator_stage;

static inline bool stage_is_soft(evaluator_stage s) {
    return s == SOFT_TEST || s == SOFT_VALIDATION;
}

/* How far a checkpoint is: the nodes say what their encoders put out, save, restore what they saved, and say it again.
 */
typedef enum checkpointer_phase { OUTPUTS_BEFORE, WRITING, RESTORING, OUTPUTS_AFTER } checkpointer_phase;

enum { PROOF_ROWS = 16 }; /* training samples whose outputs are compared, at most */

typedef struct coordinator_member {
    bool is_here, has_answered;
    bool sent_no_numbers; /* in its answer of this round */
    unsigned restores;    /* Restores it has not answered */
} coordinator_member;

struct coordinator {
    run_dir *run;
    const labels *labels;
    coordinator_host host;
    const experiment *e;
    head_trainer *trainer;
    uint32_t portions, bits;
    coordinator_state state;
    coordinator_member members[PARTITION_PORTIONS_MAX];
    pending_replies pending;
    uint64_t answer_timeout_ns; /* 0: for ever */
    message_type awaited;       /* of the answers that are awaited; MESSAGE_PING: the server's own */
    bool has_sent_no_numbers[PARTITION_PORTIONS_MAX]; /* a portion's node, since the last commit */
    manifest_position position;
    uint32_t train_samples, batches;
    uint32_t *order; /* [train_samples], of epoch `ordered` */
    uint32_t ordered;
    uint8_t *batch_ids;    /* u32 little-endian [batch] */
    uint8_t *batch_labels; /* [batch] */
    float *soft;           /* [largest batch, portions * bits] */
    float *one;            /* [largest batch, bits]: one portion's gradient, or codes */
    uint32_t rows;         /* of the batch under way */
    evaluator_stage stage;
    uint32_t evaluated; /* samples of the stage */
    uint64_t stage_correct[STAGES];
    refinement_eval *refinement;                  /* NULL: all bits come in one round */
    histogram histograms[PARTITION_PORTIONS_MAX]; /* of the first soft stage's outputs, by portion */
    bool meter_opens; /* the traffic counters asked for are those before the first rounded stage */
    manifest_commit next;
    bool next_is_best;
    checkpointer_phase saving;
    float *proof;                                  /* [portions, PROOF_ROWS, bits]: the outputs before */
    bool has_failed_proof[PARTITION_PORTIONS_MAX]; /* a portion's node, since the last commit */
    char save_error[SCHEDULE_ERROR_MAX];           /* empty: none */
    traffic_report traffic;
    uint64_t trained, steps; /* samples and steps of this process */
    uint64_t period_started_ns;
    err outcome;
    char outcome_text[256];
};

/* To every node. */
void coordinator_send_to_all(coordinator *c, message_type type, const ProtobufCMessage *body);

/* Every portion owes an answer of that type, or the server itself of its portions (MESSAGE_PING); is_last_answer notes
 * that the one of portion k is here, and is true once all are. */
void coordinator_await_answers(coordinator *c, message_type answer);
bool coordinator_is_last_answer(coordinator *c, uint32_t k);

/* Sends portion k back to a commit, or to the beginning. */
void coordinator_restore(coordinator *c, uint32_t k, uint64_t step, const uint8_t *digest);

/* Closes the connection of a node that broke the protocol. */
void coordinator_drop_for_protocol(coordinator *c, uint32_t k, const char *text);

/* Puts one portion's numbers [rows, bits] into its columns of `soft`. */
void coordinator_place(coordinator *c, uint32_t k, const float *from);

void coordinator_report(coordinator *c, const char *phase, const manifest_evaluation *ended);

/* What comes after a commit, instead of one that failed, or after going back to one. */
void coordinator_go_on(coordinator *c);

/* Lets the nodes go. */
void coordinator_end(coordinator *c, err outcome, const char *text);

/* evaluator.c: the tests at the end of a period, then saving. All answers to an evaluation batch are in `soft` when
 * evaluator_on is called. */
void evaluator_start(coordinator *c);
void evaluator_on(coordinator *c);
void evaluator_take_codes(coordinator *c, uint32_t k, const Fewbit__Codes *codes);
void evaluation_take_refinement(coordinator *c, uint32_t k, const Fewbit__Refinement *reply);

/* checkpointer.c: a checkpoint of all parts, and the end of the run. What is committed is what every node has restored.
 */
void checkpointer_start(coordinator *c);
void checkpointer_take_saved(coordinator *c, uint32_t k, const Fewbit__Saved *s);
void checkpointer_take_outputs(coordinator *c, uint32_t k, const Fewbit__Activations *a);
void checkpointer_take_ready(coordinator *c, uint32_t k);
void checkpointer_prune(coordinator *c); /* tells the nodes, too, what is committed */
void checkpointer_finish(coordinator *c);

#endif
