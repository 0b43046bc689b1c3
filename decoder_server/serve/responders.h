/* Responders: which nodes are connected, and which of them answer requests in time.
 *
 * One that lets a request's deadline pass, or owes a Refinement for as long, is silent: nobody waits for it any more.
 * It gets a Request of its own now and then, a probe, and takes part again once it answers one in time; where it soon
 * goes silent again, after longer and longer. One that owes any answer for longer than --answer-timeout is dropped.
 * Sets of nodes are masks: bit k is portion k's. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_RESPONDERS_H
#define FEWBIT_DECODER_SERVER_SERVE_RESPONDERS_H

#include "decoder_server/core/stats.h"
#include "decoder_server/serve/engine_host.h"

typedef struct responders responders;

typedef struct responders_config {
    uint32_t portions;
    uint64_t deadline_ns;                                             /* of a request */
    uint64_t answer_timeout_ns;                                       /* 0: nobody is dropped */
    uint64_t first_probe;                                             /* ids of probes, above those of all requests */
    size_t portion_bytes[CODEWORD_PORTIONS_MAX];                      /* of a Request to each portion's node */
    const char *names[CODEWORD_PORTIONS_MAX];                         /* of the portions; borrowed */
    void (*silent)(void *context, uint32_t portion, uint64_t now_ns); /* a node is */
    void *context;
} responders_config;

err responders_new(responders **r, const responders_config *config, const engine_host *host);
void responders_free(responders *r);

/* Nodes that have joined; that are ready too; that are ready and not silent. */
uint64_t responders_here(const responders *r);
uint64_t responders_ready(const responders *r);
uint64_t responders_taking_part(const responders *r);

void responders_joined(responders *r, uint32_t portion);
void responders_set_ready(responders *r, uint32_t portion, uint64_t now_ns);

/* The node is gone; whether it was ready. */
bool responders_left(responders *r, uint32_t portion);

/* Time has passed: before whatever has come from a node or is asked of one. */
void responders_read_clock(responders *r, uint64_t now_ns);

/* A node owes an answer of that type; it has come, and `others` of it are still owed. */
void responders_expect(responders *r, uint32_t portion, message_type answer);
void responders_received(responders *r, uint32_t portion, message_type answer, bool others);

/* A Request was sent. */
void responders_asked(responders *r, uint32_t portion);

/* An Answer has come. False where the node has sent too many that it did not owe: it is to be dropped. */
bool responders_answered(responders *r, uint32_t portion, uint64_t id, uint64_t now_ns);

/* A request's deadline has passed, and nothing has come of the nodes `missing`. */
void responders_expired(responders *r, uint64_t missing, uint64_t opened_ns, uint64_t now_ns);

/* Who is silent, who is probed, who is dropped. Returns when it has to be called again at the latest. */
uint64_t responders_poll(responders *r, uint64_t now_ns);

/* What `n` says of a portion's node. */
void responders_stats(const responders *r, uint32_t portion, stats_node *n);

#endif
