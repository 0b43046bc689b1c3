/* Answering: which nodes answer what they are asked in time, of those that are ready.
 *
 * One that lets a request's deadline pass, or owes a Refinement for as long, is silent: nobody waits for it any more.
 * It gets a Request of its own now and then, a probe, and takes part again once it answers one in time; where it soon
 * goes silent again, after longer and longer. One that owes any answer for longer than --answer-timeout is dropped. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ANSWERING_H
#define FEWBIT_DECODER_SERVER_SERVE_ANSWERING_H

#include "decoder_server/serve/desk_inside.h"

/* Ready, and not silent. */
static inline bool answering_takes_part(const desk *d, uint32_t portion) {
    return d->is_ready[portion] && !d->is_silent[portion];
}

/* Counts those that take part, and tells the host. */
void answering_count(desk *d);

/* A Request was sent. */
void answering_asked(desk *d, uint32_t portion);

/* An Answer has come. False where the node has sent too many that it did not owe: it is to be dropped. `*is_probe`: it
 * is to no request. */
bool answering_take(desk *d, uint32_t portion, uint64_t id, bool *is_probe, uint64_t now_ns);

/* A request's deadline has passed, and nothing has come of the portions of mask `missing`. */
void answering_expired(desk *d, uint64_t missing, uint64_t opened_ns, uint64_t now_ns);

/* A node has become ready. */
void answering_ready(desk *d, uint32_t portion, uint64_t now_ns);

/* The node is gone. */
void answering_left(desk *d, uint32_t portion);

/* Who is silent, who is probed, who is dropped. Returns when it has to be called again at the latest. */
uint64_t answering_settle(desk *d, uint64_t now_ns);

#endif
