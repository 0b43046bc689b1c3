#include "encoder_node/refinement_buffer.h"

#include "bits/pack.h"
#include "wire/id_set.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* `next` is the stage that may be asked for; 0: the place is free. */
typedef struct place {
    uint64_t id, code;
    uint32_t model, next;
} place;

struct refinement_buffer {
    place streamed[REFINEMENT_BUFFER_STREAMED], on_demand[REFINEMENT_BUFFER_ON_DEMAND]; /* by id, modulo */
    uint64_t ids[ID_SET_MAX];
    uint32_t gone[ID_SET_MAX];
    uint8_t bits[ID_SET_MAX * PACK_CODE_BITS_MAX / 8];
};

err refinement_buffer_new(refinement_buffer **b) {
    *b = calloc(1, sizeof **b);
    return *b ? ERR_OK : err_fail(ERR_MEMORY, "no memory for codes that may be asked for");
}

void refinement_buffer_free(refinement_buffer *b) {
    free(b);
}

void refinement_buffer_clear(refinement_buffer *b) {
    memset(b->streamed, 0, sizeof b->streamed);
    memset(b->on_demand, 0, sizeof b->on_demand);
}

static place *place_of(refinement_buffer *b, bool on_demand, uint64_t id) {
    return on_demand ? &b->on_demand[id % REFINEMENT_BUFFER_ON_DEMAND] : &b->streamed[id % REFINEMENT_BUFFER_STREAMED];
}

void refinement_buffer_put(refinement_buffer *b, bool on_demand, uint64_t id, uint32_t model, uint32_t next,
                           uint64_t code) {
    *place_of(b, on_demand, id) = (place){id, code, model, next};
}

/* A place that is behind has been taken anew by a node that began again. */
static bool is_of(const place *p, const Fewbit__RefineRequest *ask, uint64_t id) {
    return p->next >= ask->stage && p->id == id && p->model == ask->model;
}

err refinement_buffer_answer(refinement_buffer *b, const Fewbit__RefineRequest *ask, const refinement *r,
                             Fewbit__Refinement *reply) {
    size_t count = 0, sent = 0;
    if (ask->stage == 0 || ask->stage >= r->count) {
        return err_fail(ERR_INPUT, "the server asks for stage %u of %u", ask->stage, r->count);
    }
    err e = id_set_take(ask, b->ids, &count);
    if (e) {
        return e;
    }
    uint32_t width = refinement_width(r, ask->stage);
    memset(b->bits, 0, pack_bytes(count * width));
    reply->stage = ask->stage;
    reply->first = ask->first;
    reply->gone = b->gone;
    for (size_t i = 0; i < count; i++) {
        place *p = place_of(b, ask->on_demand, b->ids[i]);
        if (!is_of(p, ask, b->ids[i])) {
            b->gone[reply->n_gone++] = (uint32_t)i;
            continue;
        }
        if (p->next != ask->stage) {
            return err_fail(ERR_INPUT, "the server asks for stage %u of sample %" PRIu64 ", of which stage %u is next",
                            ask->stage, b->ids[i], p->next);
        }
        pack_put(b->bits, sent++ * width, width, refinement_bits_of(r, ask->stage, p->code));
        p->next = ask->stage + 1 < r->count ? ask->stage + 1 : 0;
    }
    reply->bits = (ProtobufCBinaryData){pack_bytes(sent * width), b->bits};
    return ERR_OK;
}
