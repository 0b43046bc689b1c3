/* On-demand requests: whole samples that somebody waits for, by the ids that the nodes get for them. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ON_DEMAND_H
#define FEWBIT_DECODER_SERVER_SERVE_ON_DEMAND_H

#include "base/err.h"
#include "wire/traffic_counters.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct on_demand on_demand;

/* Requests at once; and ids stay below ON_DEMAND_IDS, so that a single code's frame stays small. */
enum { ON_DEMAND_CAPACITY = 8192, ON_DEMAND_IDS = 1 << 21 };

typedef struct on_demand_request {
    uint64_t id, request;    /* `request`: the caller's */
    uint64_t asked;          /* bit k: portion k's node */
    uint32_t frame_bytes[2]; /* by traffic_direction */
    bool waits;
} on_demand_request;

err on_demand_new(on_demand **o);
void on_demand_free(on_demand *o);

/* The id that a request would get: of a place where none waits, if there is one. */
uint64_t on_demand_next_id(on_demand *o);

/* A request has that id. */
void on_demand_begin(on_demand *o, uint64_t id, uint64_t request, uint64_t asked);

/* The request that had the id's place last: of that id while it waits. */
const on_demand_request *on_demand_find(const on_demand *o, uint64_t id);

/* A frame for a request; nothing where its place has another one by now. */
void on_demand_count_frame(on_demand *o, uint64_t id, traffic_direction direction, size_t bytes);

/* It is answered. */
void on_demand_end(on_demand *o, uint64_t id);

#endif
