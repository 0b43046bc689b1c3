#include "cli/loadgen/synthetic_node.h"

#include "base/rng.h"
#include "bits/pack.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "wire/id_set.h"
#include "wire/link.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { FRAME_SAMPLES = ID_SET_MAX, FRAMES_A_TURN = 64, CODES_BYTES = FRAME_SAMPLES * PACK_CODE_BITS_MAX / 8 };

struct synthetic_node {
    synthetic_node_config config;
    wire_link *link; /* NULL: down */
    arena unpacked;
    uint32_t model;
    refinement refinement;   /* in which bits come */
    uint32_t initial_stages; /* of them, those that are sent unasked */
    bool is_welcome, may_stream, is_held;
    uint64_t first;       /* id of the first sample */
    uint64_t sent, acked; /* codes */
    atomic_uint_fast64_t asked;
    uint64_t ids[ID_SET_MAX];  /* that are asked for */
    uint8_t bits[CODES_BYTES]; /* random */
    uint8_t refined[CODES_BYTES];
};

static bool is_staged(const synthetic_node *s) {
    return s->initial_stages < s->refinement.count;
}

static load_portion portion_of(const synthetic_node *s) {
    return s->config.model->portion[s->config.portion];
}

/* Bits of a code that are sent unasked. */
static uint32_t initial_bits(const synthetic_node *s) {
    return s->refinement.upto[s->initial_stages - 1];
}

static void tell(synthetic_node *s, message_type type, const ProtobufCMessage *body) {
    if (s->link && link_send_message(s->link, type, body) == ERR_OK) {
        link_flush(s->link);
    }
}

static void fail(synthetic_node *s, err e) {
    s->config.failed(s->config.context, err_prefix(e, "portion %s", portion_of(s).name));
}

static void on_up(void *context, wire_link *l) {
    synthetic_node *s = context;
    link_set_limit(l, FRAME_PAYLOAD_MAX);
    char name[32], digest[65];
    load_portion of = portion_of(s);
    snprintf(name, sizeof name, "load-%u", s->config.portion);
    memset(digest, '0', 64);
    digest[64] = '\0';
    Fewbit__Hello hello = FEWBIT__HELLO__INIT;
    hello.protocol = MESSAGE_PROTOCOL;
    hello.name = name;
    hello.portion = of.name;
    hello.dataset = (char *)(uintptr_t)s->config.model->data_set;
    hello.type = (char *)(uintptr_t)portion_type_name(of.shape.type);
    hello.n_shape = of.shape.rank;
    hello.shape = of.shape.dims;
    hello.train_samples = hello.test_samples = 1; /* a server that serves minds no data */
    hello.digest = digest;
    tell(s, MESSAGE_HELLO, &hello.base);
}

static err on_welcome(synthetic_node *s, const Fewbit__Welcome *w) {
    experiment e;
    err failed =
        s->is_welcome ? err_fail(ERR_NETWORK, "the server welcomes twice") : experiment_parse_sent(w->experiment, &e);
    if (failed) {
        return failed;
    }
    codeword layout = experiment_codeword(&e);
    uint32_t k = s->config.portion, bits = k < layout.portions ? codeword_portion_bits(&layout, k) : 0;
    if (bits != portion_of(s).bits) {
        return err_fail(ERR_REFUSED, "the server's experiment has %u bits a code, its model %u", bits,
                        portion_of(s).bits);
    }
    s->refinement = layout.portion[k];
    s->initial_stages = s->refinement.count;
    s->is_welcome = true;
    link_set_heartbeat(s->link, message_heartbeat_ms(w));
    return ERR_OK;
}

static err on_restore(synthetic_node *s, const Fewbit__Restore *r) {
    if (r->stages > s->refinement.count) {
        return err_fail(ERR_REFUSED, "the server asks for %u stages of bits, there are %u", r->stages,
                        s->refinement.count);
    }
    s->initial_stages = r->stages ? r->stages : s->refinement.count;
    s->model = r->model ? r->model : (uint32_t)r->step;
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.step = r->step;
    tell(s, MESSAGE_READY, &ready.base);
    return ERR_OK;
}

static void on_request(synthetic_node *s, const Fewbit__Request *request) {
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    uint8_t code[PACK_CODE_BITS_MAX / 8] = {0};
    codes.model = s->model;
    codes.first = request->id;
    codes.bits = (ProtobufCBinaryData){pack_bytes(initial_bits(s)), code};
    tell(s, MESSAGE_ANSWER, &codes.base);
}

static err on_refine_request(synthetic_node *s, const Fewbit__RefineRequest *ask) {
    size_t count = 0;
    if (ask->stage < s->initial_stages || ask->stage >= s->refinement.count) {
        return err_fail(ERR_REFUSED, "the server asks for stage %u of %u", ask->stage, s->refinement.count);
    }
    err e = id_set_take(ask, s->ids, &count);
    if (e) {
        return e;
    }
    size_t bits = count * refinement_width(&s->refinement, ask->stage), tail = bits % 8;
    memcpy(s->refined, s->bits, pack_bytes(bits));
    if (tail) {
        s->refined[bits / 8] &= (uint8_t)((1u << tail) - 1);
    }
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    reply.stage = ask->stage;
    reply.first = ask->first;
    reply.bits = (ProtobufCBinaryData){pack_bytes(bits), s->refined};
    tell(s, MESSAGE_REFINEMENT, &reply.base);
    atomic_fetch_add(&s->asked, ask->on_demand ? 0 : count);
    return ERR_OK;
}

static void on_ack(synthetic_node *s, const Fewbit__Ack *ack) {
    uint64_t most = s->sent - s->acked; /* untrusted */
    s->acked += ack->samples < most ? ack->samples : most;
}

static void on_prepare(synthetic_node *s, const Fewbit__Prepare *p) {
    char why[] = "this is no node: it has random codes of one model";
    Fewbit__Prepared prepared = FEWBIT__PREPARED__INIT;
    prepared.model = p->model;
    prepared.next = s->first + s->sent;
    prepared.error = why;
    tell(s, MESSAGE_PREPARED, &prepared.base);
}

static err take(synthetic_node *s, const message *m) {
    switch (m->type) {
    case MESSAGE_WELCOME:
        return on_welcome(s, m->body.welcome);
    case MESSAGE_RESTORE:
        return on_restore(s, m->body.restore);
    case MESSAGE_BEGIN:
        s->may_stream = true;
        s->first = m->body.begin->first;
        return ERR_OK;
    case MESSAGE_STREAM_HOLD:
        s->is_held = m->body.stream_hold->held;
        return m->body.stream_hold->outside ? err_fail(ERR_REFUSED, "%s", m->body.stream_hold->text) : ERR_OK;
    case MESSAGE_REQUEST:
        on_request(s, m->body.request);
        return ERR_OK;
    case MESSAGE_REFINE_REQUEST:
        return on_refine_request(s, m->body.refine_request);
    case MESSAGE_ACK:
        on_ack(s, m->body.ack);
        return ERR_OK;
    case MESSAGE_PREPARE:
        on_prepare(s, m->body.prepare);
        return ERR_OK;
    case MESSAGE_REFUSAL:
        return err_fail(ERR_REFUSED, "the server refuses: %s", m->body.refusal->text);
    default:
        return ERR_OK;
    }
}

static void on_frame(void *context, wire_link *l, const frame *f) {
    (void)l;
    synthetic_node *s = context;
    message m;
    err e = message_unpack(f->type, f->payload, f->length, &s->unpacked, &m);
    e = e ? e : take(s, &m);
    if (e) {
        fail(s, e == ERR_INPUT ? ERR_NETWORK : e); /* what makes no sense is no input of the user's */
    }
}

static void on_down(void *context, wire_link *l, const char *reason) {
    (void)l;
    synthetic_node *s = context;
    s->link = NULL;
    fail(s, err_fail(ERR_NETWORK, "%s", reason));
}

static void draw_bits(synthetic_node *s) {
    rng draws = rng_at(1, s->config.portion, 0);
    for (size_t i = 0; i < CODES_BYTES; i++) {
        s->bits[i] = (uint8_t)rng_u32(&draws);
    }
}

err synthetic_node_new(synthetic_node **out, uv_loop_t *loop, const synthetic_node_config *config) {
    static const link_events events = {on_up, on_frame, on_down};
    synthetic_node *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for random codes");
    }
    s->config = *config;
    s->refinement = (refinement){1, {config->model->portion[config->portion].bits}};
    s->initial_stages = 1;
    draw_bits(s);
    err e = arena_init(&s->unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    e = e ? e : link_connect(loop, config->server->host, config->server->port, NULL, &events, s, &s->link);
    if (e) {
        s->link = NULL;
        synthetic_node_free(s);
        return e;
    }
    *out = s;
    return ERR_OK;
}

void synthetic_node_free(synthetic_node *s) {
    if (s) {
        arena_free(&s->unpacked);
        free(s);
    }
}

void synthetic_node_close(synthetic_node *s, const char *reason) {
    if (s->link) {
        link_close(s->link, reason);
    }
}

bool synthetic_node_may_stream(const synthetic_node *s) {
    return s->may_stream;
}

static void send_frame(synthetic_node *s, uint64_t samples) {
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = s->model;
    codes.first = s->first + s->sent;
    codes.more = (uint32_t)samples - 1;
    codes.bits = (ProtobufCBinaryData){pack_bytes(samples * initial_bits(s)), s->bits};
    if (link_send_message(s->link, MESSAGE_CODES, &codes.base) == ERR_OK) {
        s->sent += samples;
    }
}

static bool has_room(const synthetic_node *s) {
    return !s->is_held && link_backlog(s->link) < LINK_BACKLOG_HIGH &&
           (!is_staged(s) || s->sent <= s->acked + MESSAGE_UNACKED_MAX - FRAME_SAMPLES);
}

void synthetic_node_stream(synthetic_node *s, uint64_t due) {
    for (int i = 0; i < FRAMES_A_TURN && s->link && s->sent < due && has_room(s); i++) {
        uint64_t left = due - s->sent;
        send_frame(s, left < FRAME_SAMPLES ? left : FRAME_SAMPLES);
    }
    if (s->link) {
        link_flush(s->link);
    }
}

size_t synthetic_node_backlog(const synthetic_node *s) {
    return s->link ? link_backlog(s->link) : 0;
}

bool synthetic_node_is_settled(const synthetic_node *s) {
    return !is_staged(s) || s->acked >= s->sent;
}

uint64_t synthetic_node_sent(const synthetic_node *s) {
    return s->sent;
}

uint64_t synthetic_node_asked(synthetic_node *s) {
    return atomic_load(&s->asked);
}
