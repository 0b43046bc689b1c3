/* Refinement in serving: more bits only where a prediction is unsure. Keeps which stages of which samples each node was
 * asked for, in order, and takes its answers.
 *
 * Pure: it says what is to be sent and what has come through its host, and knows no other part of serving. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_REFINE_H
#define FEWBIT_DECODER_SERVER_SERVE_REFINE_H

#include "base/err.h"
#include "bits/codeword.h"
#include "fewbit.pb-c.h"

typedef struct refine refine;

/* A sample whose next stage is asked for at once with others: at most REFINE_ROWS of them. */
enum { REFINE_ROWS = 1000 };
typedef struct refine_sample {
    uint64_t id;
    uint64_t portions; /* bit k: of portion k's node */
    uint8_t stage;     /* that is asked for, from 1 */
    bool on_demand;
} refine_sample;

/* What a node was asked: one stage of one sample. */
typedef struct refine_note {
    uint64_t id;
    uint8_t stage, model; /* the model: an index, the caller's */
    bool on_demand, ends; /* `ends`: the last one of its frame */
} refine_note;

typedef struct refine_host {
    void (*send)(void *context, uint32_t portion, const Fewbit__RefineRequest *request);
    /* One sample's stage from a node: its `bits`, where they belong in its code, or that they are `gone` there. */
    void (*take)(void *context, uint32_t portion, const refine_note *note, bool gone, uint64_t bits, uint64_t now_ns);
    void *context;
} refine_host;

/* With one stage there is never anything to ask for. `layout` is copied. */
err refine_new(refine **r, const codeword *layout, const refine_host *host);
void refine_free(refine *r);

/* Whether a node can be asked for REFINE_ROWS samples more. */
bool refine_has_room(const refine *r, uint32_t portion);

/* Asks for the next stages of `samples`, all of one model: an index, and the number that its codes carry. */
void refine_send(refine *r, const refine_sample *samples, size_t count, uint8_t model, uint32_t number);

/* A node's answer. ERR_INPUT: it was not asked for, or does not fit. */
err refine_receive(refine *r, uint32_t portion, const Fewbit__Refinement *reply, uint64_t now_ns);

/* Whether a node has yet to answer. */
bool refine_is_awaited(const refine *r, uint32_t portion);

/* A node is gone: nothing that was asked of it will come. */
void refine_left(refine *r, uint32_t portion);

#endif
