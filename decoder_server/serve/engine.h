/* The engine: what serving does with nodes, codes and requests. It wires the parts of serving, and alone knows them.
 *
 * Pure: messages, requests and time in; messages, answers and results out. One thread at a time, whichever; nothing is
 * allocated once it is warm. Almost all it does is short; what is not, is done by engine_poll. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ENGINE_H
#define FEWBIT_DECODER_SERVER_SERVE_ENGINE_H

#include "decoder_server/core/question.h"
#include "decoder_server/core/stats.h"
#include "decoder_server/serve/engine_host.h"
#include "decoder_server/serve/results.h"

typedef struct engine engine;

typedef struct engine_options {
    uint64_t deadline_ns;       /* a sample is answered by then, with what is there */
    uint64_t answer_timeout_ns; /* a node that owes an answer for that long is dropped; 0: none is */
    /* For how long a ready sample may wait for company on its way through the nets: the latest start of a batch. Never
     * beyond a deadline, and not at all where nothing else is on its way or a full table answers. */
    uint64_t max_batch_delay_ns;
    predictor_options predictor;
    uint64_t stall_timeout_ns; /* how long streams stand still for one that brings nothing; 0: as long as it is here */
    uint64_t first_session;    /* identities of streams' sessions follow this number; see streams.h */
    float confidence; /* an answer less probable than this asks for the next stage of bits; 0: all bits come at once */
} engine_options;

/* `r` and `results` are borrowed. */
err engine_new(engine **e, const run_dir *r, results *results, const engine_options *options, const engine_host *host);
void engine_free(engine *e);

void engine_joined(engine *e, uint32_t portion);

/* On-demand samples no longer wait for that portion; streamed ones do: their node may come back, and go on where it
 * was. */
void engine_left(engine *e, uint32_t portion, uint64_t now_ns);
void engine_receive(engine *e, uint32_t portion, const message *m, uint64_t now_ns);

/* Classifies one sample. Portions that are handed over have the experiment's length, where they are raw; a row of text
 * is the node's to read. host.answer follows, exactly once, by the deadline. */
void engine_classify(engine *e, uint64_t request, const question *q, uint64_t now_ns);

/* Whether engine_poll, called now, would take longer than about 0.1 ms: the batch that is ready, or past its deadline,
 * needs nets that are that large. Ask after each of the calls above, and before engine_poll. */
bool engine_has_long_work(const engine *e, uint64_t now_ns);

/* Whether a full batch waits for engine_poll, since that is long: no more streamed codes are taken. */
bool engine_is_full(const engine *e);

/* Predicts the batch that is ready: a full one at once (where that is short, without waiting for this call), another
 * one when nothing else has come in or, with `max_batch_delay_ns`, when its first sample has waited that long. Returns
 * for how many microseconds there is nothing to do (0: call it again), or -1 for none. */
int64_t engine_poll(engine *e, uint64_t now_ns);

/* Changes to another model, which the engine takes over. host.swapped follows, once. Not before that of the one before.
 *
 *     Prepare to every ready node     each loads its encoder beside the one in use, and holds its stream
 *     Prepared from all of them       on an error, or after ENGINE_PREPARE_SECONDS: Switch back, as if nothing was
 *     Switch from sample S on         S lies after all that was streamed; later requests are the new model's
 *     the old model's last sample     is answered: the old model goes
 *
 * Nodes that are not here are not waited for; those that come later are welcomed to whichever is in use. */
void engine_swap_model(engine *e, served_model *m, uint64_t now_ns);

/* Takes no more requests and no more streamed samples; those that wait for some of their portions still get them. */
void engine_stop(engine *e, uint64_t now_ns);

/* After engine_stop: whether nothing waits for an answer. */
bool engine_is_idle(const engine *e);

/* Answers all that waits with what is there. */
void engine_finish(engine *e, uint64_t now_ns);

/* Sends every node away for now. */
void engine_dismiss(engine *e, const char *text);

/* Fills in the tables, and of the nodes what the engine knows. */
void engine_stats(const engine *e, stats *s);

/* Where predictions of the model in use came from. */
void engine_count_predictions(const engine *e, predictor_counters *out);

#endif
