/* Responders: which nodes answer what they are asked in time, of those that are ready.
 *
 * One that lets a request's deadline pass, or owes a Refinement for as long, is silent: nobody waits for it any more.
 * It gets a Request of its own now and then, a probe, and takes part again once it answers one in time; where it soon
 * goes silent again, after longer and longer. One that owes any answer for longer than --answer-timeout is dropped. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_RESPONDERS_H
#define FEWBIT_DECODER_SERVER_SERVE_RESPONDERS_H

#include "decoder_server/serve/engine_inside.h"

/* Ready, and not silent. */
static inline bool responders_takes_part(const engine *d, uint32_t portion) {
    return d->is_ready[portion] && !d->is_silent[portion];
}

/* Counts those that take part, and tells the host. */
void responders_count(engine *d);

/* A Request was sent. */
void responders_asked(engine *d, uint32_t portion);

/* An Answer has come. False where the node has sent too many that it did not owe: it is to be dropped. `*is_probe`: it
 * is to no request. */
bool responders_take(engine *d, uint32_t portion, uint64_t id, bool *is_probe, uint64_t now_ns);

/* A request's deadline has passed, and nothing has come of the portions of mask `missing`. */
void responders_expired(engine *d, uint64_t missing, uint64_t opened_ns, uint64_t now_ns);

/* A node has become ready. */
void responders_ready(engine *d, uint32_t portion, uint64_t now_ns);

/* The node is gone. */
void responders_left(engine *d, uint32_t portion);

/* Who is silent, who is probed, who is dropped. Returns when it has to be called again at the latest. */
uint64_t responders_poll(engine *d, uint64_t now_ns);

#endif
