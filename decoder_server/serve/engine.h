/* The engine: what serving does with nodes, codes and requests.
 *
 * Pure, as the coordinator is: messages, requests and time in; messages, answers and results out. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ENGINE_H
#define FEWBIT_DECODER_SERVER_SERVE_ENGINE_H

#include "decoder_server/core/classification.h"
#include "decoder_server/core/run_dir.h"
#include "decoder_server/core/stats.h"
#include "decoder_server/serve/results.h"
#include "decoder_server/serve/served_model.h"
#include "wire/message.h"

typedef struct engine engine;

typedef struct engine_host {
    void (*tell)(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body);
    void (*drop)(void *context, uint32_t portion, Fewbit__Reason reason, const char *text);
    /* Reads no more from a node that is far ahead of the others and does not hold, and again. */
    void (*pause)(void *context, uint32_t portion, bool paused);
    void (*answer)(void *context, uint64_t request, const classification *a);
    /* How many nodes are ready and answer. */
    void (*ready)(void *context, uint32_t nodes);
    /* Nodes that come from here on are welcomed to this model's run; what is needed of it is copied. */
    void (*serves)(void *context, const served_model *m);
    /* How engine_swap_model has ended: ERR_OK once the model is in use; else the one before stays, and `text` says why.
     */
    void (*swapped)(void *context, err code, const char *text);
    void *context;
} engine_host;

typedef struct engine_options {
    uint64_t deadline_ns;       /* a sample is answered by then, with what is there */
    uint64_t answer_timeout_ns; /* a node that owes an answer for that long is dropped; 0: none is */
    /* For how long what is due may wait for company on its way through the nets: the latest start of a batch. Never
     * beyond a deadline, and not at all where nothing else is on its way or a full table answers. */
    uint64_t max_batch_delay_ns;
    predictor_options predictor;
    uint64_t stall_timeout_ns; /* how long streams stand still for one that brings nothing; 0: as long as it is here */
    uint64_t first_session;    /* identities of streams' sessions follow this number; see streams.h */
    float confidence; /* an answer less probable than this asks for the next stage of bits; 0: all bits come at once */
} engine_options;

/* What has been done, and what there is to do. Plain numbers, for whoever watches. */
typedef struct engine_counters {
    assembler_counters streamed, on_demand;
    predictor_counters predictor;
    uint32_t ready_nodes;
} engine_counters;

/* `r` and `results` are borrowed. */
err engine_new(engine **d, const run_dir *r, results *results, const engine_options *options, const engine_host *host);
void engine_free(engine *d);

void engine_joined(engine *d, uint32_t portion);

/* On-demand samples no longer wait for that portion; streamed ones do: their node may come back, and go on where it
 * was. */
void engine_left(engine *d, uint32_t portion, uint64_t now_ns);
void engine_receive(engine *d, uint32_t portion, const message *m, uint64_t now_ns);

/* Classify one whole sample, u8 [channels, height, width]; host.answer follows, exactly once, by the deadline. */
void engine_classify(engine *d, uint64_t request, const uint8_t *sample, uint64_t now_ns);

/* Fills in the tables, and of the nodes what the engine knows. */
void engine_report(const engine *d, stats *r);

/* Classifies what is due: full batches at once, the rest when nothing else has come in or, with `max_batch_delay_ns`,
 * when the first of them has waited that long. Returns for how many microseconds there is nothing to do, or -1 for
 * none. */
int64_t engine_poll(engine *d, uint64_t now_ns);

/* Changes to another model, which the engine takes over. host.changed follows, once. Not before that of the one before.
 *
 *     Prepare to every ready node       each loads its encoder beside the one in use, holds its stream
 *     Prepared from all of them         an error from any, or ENGINE_PREPARE_SECONDS without: Switch back, as if
 * nothing Switch from sample S on           S lies behind all that was streamed; requests from here on are the new
 * model's the last sample of the old model  is answered: the old model goes
 *
 * Nodes that are not here are not waited for; those that come later are welcomed to whichever is in use. */
enum { ENGINE_PREPARE_SECONDS = 10 };
void engine_swap_model(engine *d, served_model *m, uint64_t now_ns);

/* Takes no more requests and no more streamed samples; those that wait for some of their portions still get them. */
void engine_stop(engine *d, uint64_t now_ns);

/* After engine_stop: whether nothing waits for an answer. */
bool engine_is_idle(const engine *d);

/* Answers all that waits with what is there. */
void engine_finish(engine *d, uint64_t now_ns);

/* Sends every node away for now. */
void engine_dismiss(engine *d, const char *text);

void engine_count(const engine *d, engine_counters *out);

#endif
