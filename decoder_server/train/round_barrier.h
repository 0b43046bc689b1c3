/* The barrier of a step: which nodes are here, which answer is awaited of all of them, and who has given it.
 *
 * Pure, plain data; one that is all zero but for `portions` begins. With no portions everybody is always here and has
 * always answered. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_ROUND_BARRIER_H
#define FEWBIT_DECODER_SERVER_TRAIN_ROUND_BARRIER_H

#include "decoder_server/core/pending_replies.h"

typedef struct round_barrier {
    uint32_t portions;
    uint64_t here, answered; /* bit k: portion k's node */
    message_type awaited;
    unsigned restores[PARTITION_PORTIONS_MAX]; /* Restores it has not answered: what it sent before is out of date */
    pending_replies pending;
} round_barrier;

/* A node, new or again; and one that is gone. */
void round_barrier_join(round_barrier *b, uint32_t portion);
void round_barrier_leave(round_barrier *b, uint32_t portion);
bool round_barrier_is_here(const round_barrier *b, uint32_t portion);
bool round_barrier_all_here(const round_barrier *b);

/* From now on every node owes an answer of that type. */
void round_barrier_await(round_barrier *b, message_type answer);

/* Whether a node owes the answer that is awaited, and it is of that type. */
bool round_barrier_awaits(const round_barrier *b, uint32_t portion, message_type answer);

/* It has come; true: it was the last one. */
bool round_barrier_answered(round_barrier *b, uint32_t portion);
bool round_barrier_is_met(const round_barrier *b);

/* Nobody owes anything any more. */
void round_barrier_forget(round_barrier *b);

#endif
