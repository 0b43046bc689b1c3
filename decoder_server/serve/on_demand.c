#include "decoder_server/serve/on_demand.h"

#include <stdlib.h>

struct on_demand {
    uint32_t next;
    on_demand_request requests[ON_DEMAND_CAPACITY]; /* by id, modulo */
};

err on_demand_new(on_demand **out) {
    on_demand *o = calloc(1, sizeof *o);
    if (!o) {
        return err_fail(ERR_MEMORY, "no memory for requests");
    }
    *out = o;
    return ERR_OK;
}

void on_demand_free(on_demand *o) {
    free(o);
}

uint64_t on_demand_next_id(on_demand *o) {
    for (uint32_t i = 0; i < ON_DEMAND_CAPACITY && o->requests[o->next % ON_DEMAND_CAPACITY].waits; i++) {
        o->next = (o->next + 1) % ON_DEMAND_IDS; /* past those that wait for their deadline */
    }
    return o->next;
}

void on_demand_begin(on_demand *o, uint64_t id, uint64_t request, uint64_t asked) {
    o->next = (uint32_t)((id + 1) % ON_DEMAND_IDS);
    o->requests[id % ON_DEMAND_CAPACITY] =
        (on_demand_request){.id = id, .request = request, .asked = asked, .waits = true};
}

const on_demand_request *on_demand_find(const on_demand *o, uint64_t id) {
    return &o->requests[id % ON_DEMAND_CAPACITY];
}

void on_demand_count_frame(on_demand *o, uint64_t id, traffic_direction direction, size_t bytes) {
    on_demand_request *r = &o->requests[id % ON_DEMAND_CAPACITY];
    r->frame_bytes[direction] += r->id == id ? (uint32_t)bytes : 0;
}

void on_demand_end(on_demand *o, uint64_t id) {
    o->requests[id % ON_DEMAND_CAPACITY].waits = false;
}
