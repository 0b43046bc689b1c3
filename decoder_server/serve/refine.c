#include "decoder_server/serve/refine.h"

#include "bits/pack.h"
#include "decoder_server/serve/responders.h"

#include <stdlib.h>
#include <string.h>

enum { ACK_STEP = 4096 };

static const uint64_t ack_pause_ns = 1000000000;

/* For all that are due at once. */
static bool has_room(const engine *d, uint32_t k) {
    return d->asks[k].end - d->asks[k].begin <= ASKS_MAX - PREDICTOR_ROWS;
}

bool refine_holds(engine *d, size_t due, float probability, uint64_t now_ns, bool *is_cut) {
    const assembler_sample *s = &d->due[due];
    *is_cut = d->refinement.count > 1 && s->stage + 1u < d->refinement.count && probability < d->confidence;
    if (!*is_cut || d->asks_no_more || now_ns >= s->opened_ns + d->deadline_ns || (s->stage > 0 && s->got != s->have)) {
        return false;
    }
    uint64_t expected = 0;
    for (uint32_t k = 0; k < d->portions; k++) {
        bool may_ask = s->have >> k & 1 && responders_takes_part(d, k) && has_room(d, k);
        expected |= (uint64_t)may_ask << k;
    }
    if (expected == 0 ||
        !assembler_extend(d->waiters[due].is_on_demand ? d->on_demand : d->streamed, s->id, expected)) {
        return false;
    }
    d->due[due].got = expected;
    return true;
}

static void note(engine *d, uint32_t k, const ask_note *n) {
    asks *a = &d->asks[k];
    a->notes[a->end++ % ASKS_MAX] = *n;
    pending_replies_begin(&d->pending, k, MESSAGE_REFINEMENT);
}

/* One frame to one node, of `count` samples that fit in it. */
static void send_one(engine *d, uint32_t k, const uint64_t *ids, size_t count, uint32_t stage, bool on_demand) {
    Fewbit__RefineRequest ask = FEWBIT__REFINE_REQUEST__INIT;
    ask.model = d->numbers[d->due_model];
    ask.stage = stage;
    ask.on_demand = on_demand;
    id_set_put(&d->id_set, ids, count, &ask);
    for (size_t i = 0; i < count; i++) {
        const ask_note n = {ids[i], (uint8_t)stage, d->due_model, on_demand, i + 1 == count};
        note(d, k, &n);
    }
    if (on_demand) {
        d->requests[ids[0] % ON_DEMAND_CAPACITY].frame_bytes[TRAFFIC_OUT] += (uint32_t)message_frame_size(&ask.base);
    }
    d->host.tell(d->host.context, k, MESSAGE_REFINE_REQUEST, &ask.base);
}

/* Those of the held samples that this node is asked this stage of. */
static void send_stage(engine *d, uint32_t k, uint32_t stage, bool on_demand, const uint32_t *held, size_t count) {
    uint64_t ids[PREDICTOR_ROWS];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        const assembler_sample *s = &d->due[held[i]];
        if (d->waiters[held[i]].is_on_demand == on_demand && s->stage + 1u == stage && s->got >> k & 1) {
            ids[n++] = s->id;
        }
    }
    for (size_t at = 0, fit; at < n; at += fit) {
        fit = on_demand ? 1 : id_set_fit(ids + at, n - at);
        send_one(d, k, ids + at, fit, stage, on_demand);
    }
}

void refine_send(engine *d, const uint32_t *held, size_t count) {
    for (uint32_t k = 0; k < d->portions && count > 0; k++) {
        for (uint32_t stage = 1; stage < d->refinement.count; stage++) {
            send_stage(d, k, stage, false, held, count);
            send_stage(d, k, stage, true, held, count);
        }
    }
}

/* How many samples the oldest frame asked for; 0: nothing is asked. */
static uint32_t front(const asks *a) {
    uint32_t count = 0;
    while (a->begin + count < a->end && !a->notes[(a->begin + count) % ASKS_MAX].ends) {
        count++;
    }
    return a->begin < a->end ? count + 1 : 0;
}

/* Whether an answer, untrusted, is one to the oldest frame. */
static bool fits(const engine *d, const asks *a, uint32_t asked, const Fewbit__Refinement *reply) {
    if (asked == 0 || reply->n_gone > asked) {
        return false;
    }
    const ask_note *first = &a->notes[a->begin % ASKS_MAX];
    if (reply->stage != first->stage || reply->first != first->id) {
        return false;
    }
    for (size_t i = 0; i < reply->n_gone; i++) {
        if (reply->gone[i] >= asked || (i > 0 && reply->gone[i] <= reply->gone[i - 1])) {
            return false;
        }
    }
    size_t bits = (asked - reply->n_gone) * refinement_width(&d->refinement, first->stage);
    return reply->bits.len == pack_bytes(bits) && pack_tail_is_clear(reply->bits.data, bits);
}

/* One sample's stage from a node: its bits, or that they are `gone` there. */
static void take_one(engine *d, uint32_t portion, const ask_note *n, bool gone, uint64_t bits, uint64_t now_ns) {
    assembler *of = n->on_demand ? d->on_demand : d->streamed;
    assembler_sample sample;
    assembler_outcome outcome;
    assembler_set_model(of, n->model);
    if (gone) {
        outcome = assembler_skip_stage(of, n->id, portion, n->stage, &sample);
    } else {
        d->payload_bits[portion] += refinement_width(&d->refinement, n->stage);
        outcome = assembler_add_stage(of, n->id, portion, n->stage, bits << d->refinement.upto[n->stage - 1], &sample);
    }
    if (outcome == ASSEMBLER_COMPLETE) {
        engine_add_due(d, &sample, n->on_demand, now_ns);
    }
}

static void count_frame(engine *d, const ask_note *n, const Fewbit__Refinement *reply) {
    live *request = &d->requests[n->id % ON_DEMAND_CAPACITY];
    if (n->on_demand && request->id == n->id) {
        request->frame_bytes[TRAFFIC_IN] += (uint32_t)message_frame_size(&reply->base);
    }
}

void refine_take(engine *d, uint32_t portion, const Fewbit__Refinement *reply, uint64_t now_ns) {
    asks *a = &d->asks[portion];
    uint32_t asked = d->refinement.count > 1 ? front(a) : 0;
    if (!fits(d, a, asked, reply)) {
        d->host.drop(d->host.context, portion, FEWBIT__REASON__REASON_PROTOCOL,
                     "a stage of bits that was not asked for or does not fit");
        return;
    }
    size_t gone = 0, at = 0;
    pending_replies_answered(&d->pending, portion, MESSAGE_REFINEMENT, a->begin + asked < a->end);
    for (uint32_t i = 0; i < asked; i++) {
        const ask_note n = a->notes[a->begin++ % ASKS_MAX];
        count_frame(d, &n, reply);
        bool is_gone = gone < reply->n_gone && reply->gone[gone] == i;
        uint32_t width = refinement_width(&d->refinement, n.stage);
        uint64_t bits = is_gone ? 0 : pack_get(reply->bits.data, at * width, width);
        gone += is_gone;
        at += !is_gone;
        take_one(d, portion, &n, is_gone, bits, now_ns);
    }
}

void refine_left(engine *d, uint32_t portion, uint64_t now_ns) {
    assembler_sample sample;
    if (d->refinement.count == 1) {
        return;
    }
    d->asks[portion].begin = d->asks[portion].end;
    d->to_ack[portion] = 0;
    d->connections[portion]++;
    assembler_drop_acks(d->streamed, portion);
    for (size_t i = 0; i < d->due_count; i++) {
        d->due[i].to_ack &= ~((uint64_t)1 << portion);
    }
    while (assembler_give_up_stages(d->streamed, portion, &sample)) {
        engine_add_due(d, &sample, false, now_ns);
    }
}

uint64_t refine_poll(engine *d, uint64_t now_ns) {
    uint64_t next = UINT64_MAX;
    for (uint32_t k = 0; k < d->portions && d->refinement.count > 1; k++) {
        uint64_t due_ns = d->acked_ns[k] + ack_pause_ns;
        if (d->to_ack[k] == 0 || !d->is_ready[k]) {
            continue;
        }
        if (d->to_ack[k] < ACK_STEP && now_ns < due_ns && !d->is_stopping) {
            next = due_ns < next ? due_ns : next;
            continue;
        }
        Fewbit__Ack ack = FEWBIT__ACK__INIT;
        ack.samples = d->to_ack[k];
        d->to_ack[k] = 0;
        d->acked_ns[k] = now_ns;
        d->host.tell(d->host.context, k, MESSAGE_ACK, &ack.base);
    }
    return next;
}
