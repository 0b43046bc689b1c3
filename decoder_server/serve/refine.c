#include "decoder_server/serve/refine.h"

#include "bits/pack.h"
#include "wire/id_set.h"

#include <stdlib.h>

enum { QUEUE_MAX = 1 << 16 };

/* What one node was asked, from `begin` to `end`: a ring. */
typedef struct queue {
    refine_note *notes; /* [QUEUE_MAX]; NULL where bits come in one stage */
    uint64_t begin, end;
} queue;

struct refine {
    codeword layout;
    refine_host host;
    id_set ids; /* of the request that is sent */
    queue queues[];
};

err refine_new(refine **out, const codeword *layout, const refine_host *host) {
    refine *r = calloc(1, sizeof *r + layout->portions * sizeof r->queues[0]);
    if (!r) {
        return err_fail(ERR_MEMORY, "no memory to refine");
    }
    r->layout = *layout;
    r->host = *host;
    for (uint32_t k = 0; k < layout->portions && layout->stages > 1; k++) {
        r->queues[k].notes = calloc(QUEUE_MAX, sizeof(refine_note));
        if (!r->queues[k].notes) {
            refine_free(r);
            return err_fail(ERR_MEMORY, "no memory for what is asked for");
        }
    }
    *out = r;
    return ERR_OK;
}

void refine_free(refine *r) {
    for (uint32_t k = 0; r && k < r->layout.portions; k++) {
        free(r->queues[k].notes);
    }
    free(r);
}

bool refine_has_room(const refine *r, uint32_t portion) {
    return r->queues[portion].end - r->queues[portion].begin <= QUEUE_MAX - REFINE_ROWS;
}

bool refine_is_awaited(const refine *r, uint32_t portion) {
    return r->queues[portion].begin < r->queues[portion].end;
}

void refine_left(refine *r, uint32_t portion) {
    r->queues[portion].begin = r->queues[portion].end;
}

/* One frame to one node, of `count` samples that fit in it. */
static void send_one(refine *r, uint32_t portion, const uint64_t *ids, size_t count, const refine_note *about,
                     uint32_t number) {
    Fewbit__RefineRequest request = FEWBIT__REFINE_REQUEST__INIT;
    queue *q = &r->queues[portion];
    request.model = number;
    request.stage = about->stage;
    request.on_demand = about->on_demand;
    id_set_put(&r->ids, ids, count, &request);
    for (size_t i = 0; i < count; i++) {
        refine_note *note = &q->notes[q->end++ % QUEUE_MAX];
        *note = *about;
        note->id = ids[i];
        note->ends = i + 1 == count;
    }
    r->host.send(r->host.context, portion, &request);
}

/* Those of the samples that this node is asked this stage of; of requests each in a frame of its own. */
static void send_stage(refine *r, uint32_t portion, const refine_sample *samples, size_t count,
                       const refine_note *about, uint32_t number) {
    uint64_t ids[REFINE_ROWS];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const refine_sample *s = &samples[i];
        if (s->on_demand == about->on_demand && s->stage == about->stage && s->portions >> portion & 1) {
            ids[n++] = s->id;
        }
    }
    for (size_t at = 0, fit; at < n; at += fit) {
        fit = about->on_demand ? 1 : id_set_fit(ids + at, n - at);
        send_one(r, portion, ids + at, fit, about, number);
    }
}

void refine_send(refine *r, const refine_sample *samples, size_t count, uint8_t model, uint32_t number) {
    for (uint32_t k = 0; k < r->layout.portions && count > 0; k++) {
        for (uint32_t stage = 1; stage < r->layout.stages; stage++) {
            refine_note about = {.stage = (uint8_t)stage, .model = model, .on_demand = false};
            send_stage(r, k, samples, count, &about, number);
            about.on_demand = true;
            send_stage(r, k, samples, count, &about, number);
        }
    }
}

/* How many samples the oldest frame asked for; 0: nothing is asked. */
static uint32_t count_asked(const queue *q) {
    uint32_t count = 0;
    while (q->begin + count < q->end && !q->notes[(q->begin + count) % QUEUE_MAX].ends) {
        count++;
    }
    return q->begin < q->end ? count + 1 : 0;
}

/* Whether an answer of a portion, untrusted, is one to the oldest frame. */
static bool fits(const refine *r, uint32_t portion, uint32_t asked, const Fewbit__Refinement *reply) {
    const queue *q = &r->queues[portion];
    if (asked == 0 || reply->n_gone > asked) {
        return false;
    }
    const refine_note *first = &q->notes[q->begin % QUEUE_MAX];
    if (reply->stage != first->stage || reply->first != first->id) {
        return false;
    }
    for (size_t i = 0; i < reply->n_gone; i++) {
        if (reply->gone[i] >= asked || (i > 0 && reply->gone[i] <= reply->gone[i - 1])) {
            return false;
        }
    }
    size_t bits = (asked - reply->n_gone) * refinement_width(&r->layout.portion[portion], first->stage);
    return reply->bits.len == pack_bytes(bits) && pack_tail_is_clear(reply->bits.data, bits);
}

err refine_receive(refine *r, uint32_t portion, const Fewbit__Refinement *reply, uint64_t now_ns) {
    queue *q = &r->queues[portion];
    const refinement *stages = &r->layout.portion[portion];
    uint32_t asked = count_asked(q);
    if (!fits(r, portion, asked, reply)) {
        return err_fail(ERR_INPUT, "a stage of bits that was not asked for or does not fit");
    }
    size_t gone = 0, at = 0;
    for (uint32_t i = 0; i < asked; i++) {
        const refine_note note = q->notes[q->begin++ % QUEUE_MAX];
        bool is_gone = gone < reply->n_gone && reply->gone[gone] == i;
        uint32_t width = refinement_width(stages, note.stage);
        uint64_t bits = is_gone ? 0 : pack_get(reply->bits.data, at * width, width);
        gone += is_gone;
        at += !is_gone;
        r->host.take(r->host.context, portion, &note, is_gone, bits << stages->upto[note.stage - 1], now_ns);
    }
    return ERR_OK;
}
