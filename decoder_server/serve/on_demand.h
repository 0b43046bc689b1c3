/* On-demand requests: whole samples that somebody waits for, by the ids that the nodes get for them. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ON_DEMAND_H
#define FEWBIT_DECODER_SERVER_SERVE_ON_DEMAND_H

#include "wire/traffic_counters.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Requests at once; and ids stay below ON_DEMAND_IDS, so that a single code's frame stays small. */
enum { ON_DEMAND_CAPACITY = 8192, ON_DEMAND_IDS = 1 << 21 };

typedef struct on_demand_request {
    uint64_t id, request;    /* `request`: the caller's */
    uint64_t asked;          /* bit k: portion k's node */
    uint32_t frame_bytes[2]; /* by traffic_direction */
    bool waits;
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

/* A frame for a request; nothing where its place has another one by now. */
static inline void on_demand_count_frame(on_demand *o, uint64_t id, traffic_direction direction, size_t bytes) {
    on_demand_request *r = on_demand_find(o, id);
    r->frame_bytes[direction] += r->id == id ? (uint32_t)bytes : 0;
}

#endif
