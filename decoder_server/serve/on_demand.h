/* On-demand requests: samples that somebody waits for, by the ids that the nodes get for them. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ON_DEMAND_H
#define FEWBIT_DECODER_SERVER_SERVE_ON_DEMAND_H

#include "decoder_server/core/question.h"
#include "decoder_server/serve/responders.h"

/* Requests at once; and ids stay below ON_DEMAND_IDS, so that a single code's frame stays small. */
enum { ON_DEMAND_CAPACITY = 8192, ON_DEMAND_IDS = 1 << 21 };

typedef struct on_demand_request {
    uint64_t id, request;    /* `request`: the caller's */
    uint64_t asked;          /* bit k: portion k's node, unless it has said that it gives no code */
    uint32_t frame_bytes[2]; /* by traffic_direction */
    bool waits;
    bool is_refused; /* and answered so: nobody waits for what other nodes say */
} on_demand_request;

/* All zero at first. */
typedef struct on_demand {
    uint32_t next;
    on_demand_request requests[ON_DEMAND_CAPACITY]; /* by id, modulo */
} on_demand;

/* The request that had the id's place last: of that id while it waits. */
static inline on_demand_request *on_demand_find(on_demand *o, uint64_t id) {
    return &o->requests[id % ON_DEMAND_CAPACITY];
}

/* The id that a request would get: of a place where none waits, if there is one. */
static inline uint64_t on_demand_next_id(on_demand *o) {
    for (uint32_t i = 0; i < ON_DEMAND_CAPACITY && on_demand_find(o, o->next)->waits; i++) {
        o->next = (o->next + 1) % ON_DEMAND_IDS; /* past those that wait for their deadline */
    }
    return o->next;
}

/* A request gets that id. */
static inline void on_demand_begin(on_demand *o, uint64_t id, uint64_t request, uint64_t asked) {
    o->next = (uint32_t)((id + 1) % ON_DEMAND_IDS);
    *on_demand_find(o, id) = (on_demand_request){.id = id, .request = request, .asked = asked, .waits = true};
}

/* Asks the nodes of a request that has begun. */
void on_demand_ask(on_demand *o, uint64_t id, const question *q, responders *responders, const engine_host *host);

/* A frame for a request; nothing where its place has another one by now. */
static inline void on_demand_count_frame(on_demand *o, uint64_t id, traffic_direction direction, size_t bytes) {
    on_demand_request *r = on_demand_find(o, id);
    r->frame_bytes[direction] += r->id == id ? (uint32_t)bytes : 0;
}

/* A node gives no code for a request. Where it does not have the sample, its portion is missing; for what was handed to
 * it the request is refused at once, in the node's words. True where the sample in *out waits for nothing more: it is
 * to be ended. */
bool on_demand_take_error(on_demand *o, uint32_t portion, const Fewbit__RequestError *error, assembler *samples,
                          const engine_host *host, assembler_sample *out);

/* A sample waits for no more of its first codes. True where it is to be classified, else its request is answered. */
bool on_demand_end(on_demand *o, const assembler_sample *sample, const engine_host *host);

/* Answers a request without a class. */
void on_demand_refuse(uint64_t request, classification_outcome outcome, const engine_host *host);

#endif
