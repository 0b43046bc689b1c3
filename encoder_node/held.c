#include "encoder_node/held.h"

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

struct held {
    place pushed[HELD_PUSHED], live[HELD_LIVE]; /* by id, modulo */
    uint64_t ids[ID_SET_MAX];
    uint32_t gone[ID_SET_MAX];
    uint8_t bits[ID_SET_MAX * PACK_CODE_BITS_MAX / 8];
};

err held_new(held **h) {
    *h = calloc(1, sizeof **h);
    return *h ? ERR_OK : err_fail(ERR_MEMORY, "no memory for codes that may be asked for");
}

void held_free(held *h) {
    free(h);
}

void held_clear(held *h) {
    memset(h->pushed, 0, sizeof h->pushed);
    memset(h->live, 0, sizeof h->live);
}

static place *place_of(held *h, bool live, uint64_t id) {
    return live ? &h->live[id % HELD_LIVE] : &h->pushed[id % HELD_PUSHED];
}

void held_put(held *h, bool live, uint64_t id, uint32_t model, uint32_t next, uint64_t code) {
    *place_of(h, live, id) = (place){id, code, model, next};
}

/* A place that is behind has been taken anew by a node that began again. */
static bool is_of(const place *p, const Fewbit__RefineRequest *ask, uint64_t id) {
    return p->next >= ask->stage && p->id == id && p->model == ask->model;
}

err held_answer(held *h, const Fewbit__RefineRequest *ask, const refinement *r, Fewbit__Refinement *reply) {
    size_t count = 0, sent = 0;
    if (ask->stage == 0 || ask->stage >= r->count) {
        return err_fail(ERR_INPUT, "the server asks for stage %u of %u", ask->stage, r->count);
    }
    err e = id_set_take(ask, h->ids, &count);
    if (e) {
        return e;
    }
    uint32_t width = refinement_width(r, ask->stage);
    memset(h->bits, 0, pack_bytes(count * width));
    reply->stage = ask->stage;
    reply->first = ask->first;
    reply->gone = h->gone;
    for (size_t i = 0; i < count; i++) {
        place *p = place_of(h, ask->on_demand, h->ids[i]);
        if (!is_of(p, ask, h->ids[i])) {
            h->gone[reply->n_gone++] = (uint32_t)i;
            continue;
        }
        if (p->next != ask->stage) {
            return err_fail(ERR_INPUT, "the server asks for stage %u of sample %" PRIu64 ", of which stage %u is next",
                            ask->stage, h->ids[i], p->next);
        }
        pack_put(h->bits, sent++ * width, width, refinement_bits_of(r, ask->stage, p->code));
        p->next = ask->stage + 1 < r->count ? ask->stage + 1 : 0;
    }
    reply->bits = (ProtobufCBinaryData){pack_bytes(sent * width), h->bits};
    return ERR_OK;
}
