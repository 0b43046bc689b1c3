/* The swap of models: when all nodes are prepared for the next one, and when the one before has ended.
 *
 * Pure: its caller reports what happens and asks what to do next; it keeps neither models nor messages.
 *
 *     none       -> preparing   model_swap_begin: the caller sends Prepare to every node that is ready
 *     preparing  -> ending      every node that takes part is prepared: MODEL_SWAP_SWITCH
 *                -> none        one cannot, or the time is over: MODEL_SWAP_GIVE_UP
 *     ending     -> none        the last sample of the model before is answered: MODEL_SWAP_RELEASE */
#ifndef FEWBIT_DECODER_SERVER_SERVE_MODEL_SWAP_H
#define FEWBIT_DECODER_SERVER_SERVE_MODEL_SWAP_H

#include "data/partition.h"

typedef enum model_swap_stage { MODEL_SWAP_NONE, MODEL_SWAP_PREPARING, MODEL_SWAP_ENDING } model_swap_stage;

typedef enum model_swap_action {
    MODEL_SWAP_WAIT,
    MODEL_SWAP_SWITCH,    /* the other model is in use now */
    MODEL_SWAP_GIVE_UP,   /* the other model is not wanted any more */
    MODEL_SWAP_TELL_OVER, /* the nodes are to hear that the model before is over */
    MODEL_SWAP_RELEASE,   /* the model before has ended */
} model_swap_action;

typedef struct model_swap {
    model_swap_stage stage;
    uint8_t active;      /* the model in use: 0 or 1; the other is to come, is going, or there is none */
    uint32_t numbers[2]; /* that their codes carry */
    uint32_t gone;       /* the number of the model that went last; 0: none */
    uint64_t first;      /* the first sample of the model to come, as far as is known */
    uint64_t until_ns;   /* nodes are prepared by then; at the end: they stream for the model before until then */
    bool is_told;        /* that the model before is over */
    uint32_t asked[PARTITION_PORTIONS_MAX]; /* Prepares without an answer yet, by portion */
    uint64_t prepared;                      /* bit k: portion k's node */
} model_swap;

static inline uint8_t model_swap_other(const model_swap *s) {
    return !s->active;
}

/* Begins, from MODEL_SWAP_NONE, with a model of that step; nodes have until `until_ns`. */
void model_swap_begin(model_swap *s, uint64_t step, uint64_t until_ns);

/* A Prepare was sent to a portion's node. */
void model_swap_asked(model_swap *s, uint32_t portion);

/* The node of a portion is gone, or another has come: no Prepared follows to what was asked before. */
void model_swap_forget(model_swap *s, uint32_t portion);

/* A Prepared that was asked for; `next`: the first sample that the node has not streamed. Whether it counts: it may be
 * the answer to a swap that was given up. One that counts and `has_failed` makes the caller give up. */
bool model_swap_prepared(model_swap *s, uint32_t portion, uint32_t number, uint64_t next, bool has_failed);

void model_swap_give_up(model_swap *s);

/* What is to be done next; again until MODEL_SWAP_WAIT. `awaited`: the nodes that take part. `has_ended`: no sample
 * waits of the model that is not in use. With MODEL_SWAP_SWITCH nodes may stream for the model before until `until_ns`.
 */
model_swap_action model_swap_poll(model_swap *s, uint64_t awaited, bool has_ended, uint64_t now_ns, uint64_t until_ns);

/* When model_swap_poll has to be called at the latest; UINT64_MAX: whenever. */
uint64_t model_swap_next_ns(const model_swap *s);

/* Whose codes carry this number, as an index; false: nobody's. */
bool model_swap_find(const model_swap *s, uint32_t number, uint8_t *model);

#endif
