#include "client/load_codes.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/rng.h"
#include "bits/pack.h"
#include "client/latency.h"
#include "client/stop.h"
#include "data/dataset.h"
#include "wire/link.h"
#include "wire/message.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FRAME_SAMPLES = 1000, EIGHT = 8, TURN_MS = 1, PATIENCE_SECONDS = 30, STATUS_OK = 200, FRAMES_A_TURN = 64 };

typedef struct codes_run codes_run;

/* One portion's link. */
typedef struct sender {
    codes_run *run;
    uint32_t portion;
    wire_link *link; /* NULL: down */
    uint64_t step;   /* of the model */
    bool may_push;
    uint64_t sent; /* codes */
} sender;

struct codes_run {
    const load_codes *load;
    uv_loop_t loop;
    uv_timer_t turn;
    arena unpacked;
    sender senders[SPLIT_PORTIONS_MAX];
    uint8_t *bits;  /* FRAME_SAMPLES random codes */
    uint64_t first; /* id of the first sample */
    uint64_t start_ns, end_ns;
    uint64_t started_waiting_ns;
    bool is_over; /* all is sent that will be */
    err failure;
    char failure_text[256];
    /* the probes' thread */
    pthread_t prober;
    bool probes;
    atomic_bool ends;
    atomic_bool is_dealt_with; /* the probe behind the last code is answered */
    uint64_t dealt_with_ns;
    latency latency;
    uint64_t probes_failed;
};

static void fail(codes_run *r, err e) {
    if (!r->failure) {
        r->failure = e;
        snprintf(r->failure_text, sizeof r->failure_text, "%s", err_text());
    }
}

static void tell(sender *s, message_type type, const ProtobufCMessage *body) {
    uint8_t frame[FRAME_HEADER + FRAME_FIRST_MAX];
    size_t size = message_frame_size(body);
    if (s->link && size <= sizeof frame) {
        message_pack_frame(type, body, frame);
        link_send(s->link, frame, size);
        link_flush(s->link);
    }
}

static void say_hello(sender *s) {
    const load_codes *load = s->run->load;
    char name[32], digest[65];
    uint32_t shape[3];
    const dataset *set;
    if (dataset_find(load->data_set, &set)) {
        fail(s->run, ERR_INPUT);
        return;
    }
    snprintf(name, sizeof name, "load-%u", s->portion);
    memset(digest, '0', 64);
    digest[64] = '\0';
    split_portion_shape(&load->split, shape);
    Fewbit__Hello hello = FEWBIT__HELLO__INIT;
    hello.protocol = MESSAGE_PROTOCOL;
    hello.name = name;
    hello.portion = s->portion;
    hello.dataset = (char *)(uintptr_t)load->data_set;
    hello.split = (char *)(uintptr_t)split_name(load->split.kind);
    hello.portions = load->split.portions;
    hello.n_shape = 3;
    hello.shape = shape;
    hello.train_samples = set->train_samples;
    hello.test_samples = set->test_samples;
    hello.digest = digest;
    tell(s, MESSAGE_HELLO, &hello.base);
}

static void answer_request(sender *s, const Fewbit__Request *request) {
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    uint8_t code[8] = {0};
    codes.model = (uint32_t)s->step;
    codes.first = request->id;
    codes.bits = (ProtobufCBinaryData){pack_bytes(s->run->load->bits), code};
    tell(s, MESSAGE_ANSWER, &codes.base);
}

static void on_up(void *context, wire_link *l) {
    (void)l;
    say_hello(context);
}

static void on_frame(void *context, wire_link *l, const frame *f) {
    sender *s = context;
    message m;
    if (message_unpack(f->type, f->payload, f->length, &s->run->unpacked, &m)) {
        fail(s->run, ERR_NETWORK);
        return;
    }
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    switch (m.type) {
    case MESSAGE_WELCOME:
        link_set_limit(l, FRAME_PAYLOAD_MAX);
        link_set_heartbeat(l, m.body.welcome->heartbeat_ms);
        break;
    case MESSAGE_RESTORE:
        s->step = ready.step = m.body.restore->step;
        tell(s, MESSAGE_READY, &ready.base);
        break;
    case MESSAGE_BEGIN:
        s->may_push = true;
        break;
    case MESSAGE_REQUEST:
        answer_request(s, m.body.request);
        break;
    case MESSAGE_REFUSAL:
        fail(s->run, err_fail(ERR_REFUSED, "portion %u: the server refuses: %s", s->portion, m.body.refusal->text));
        break;
    default:
        break;
    }
}

static void on_down(void *context, wire_link *l, const char *reason) {
    (void)l;
    sender *s = context;
    s->link = NULL;
    if (!s->run->is_over || !atomic_load(&s->run->is_dealt_with)) {
        fail(s->run, err_fail(ERR_NETWORK, "portion %u: %s", s->portion, reason));
    }
}

/* The probes. */

static bool probe(codes_run *r, const uint8_t *sample, size_t length, uint64_t due_ns) {
    const http_body body = {sample, length, "application/octet-stream"};
    long status = 0;
    json_t *answer = NULL;
    err e = http_call(r->load->http, "/v1/classify", &body, &status, &answer);
    json_decref(answer);
    bool is_answered = !e && status == STATUS_OK;
    r->probes_failed += !is_answered;
    if (is_answered) {
        latency_add(&r->latency, clock_now_ns() - due_ns);
    }
    return is_answered;
}

static void sleep_until(uint64_t at_ns) {
    uint64_t now_ns = clock_now_ns();
    if (at_ns > now_ns) {
        const struct timespec pause = {.tv_sec = (time_t)((at_ns - now_ns) / 1000000000),
                                       .tv_nsec = (long)((at_ns - now_ns) % 1000000000)};
        nanosleep(&pause, NULL);
    }
}

static void *run_probes(void *context) {
    codes_run *r = context;
    size_t length = split_sample_elements(&r->load->split);
    uint8_t *sample = calloc(1, length);
    for (uint64_t n = 0; sample && !atomic_load(&r->ends); n++) {
        uint64_t due_ns = r->start_ns + (uint64_t)((double)n / r->load->probe_rate * 1e9);
        sleep_until(due_ns);
        probe(r, sample, length, due_ns);
    }
    /* Now everything is with the kernel or in the links' order before the requests to come. */
    if (sample && probe(r, sample, length, clock_now_ns())) {
        r->dealt_with_ns = clock_now_ns();
    }
    free(sample);
    atomic_store(&r->is_dealt_with, true);
    return NULL;
}

/* Sending. */

static uint64_t codes_due(const codes_run *r, uint64_t now_ns) {
    uint64_t until = now_ns < r->end_ns ? now_ns : r->end_ns;
    double due = r->load->rate > 0 ? (double)(until - r->start_ns) * 1e-9 * r->load->rate : 1e18;
    return (uint64_t)due / EIGHT * EIGHT; /* so that a frame ends with a byte */
}

static void send_frame(sender *s, uint64_t samples) {
    static uint8_t frame[FRAME_HEADER + FRAME_PAYLOAD_MAX];
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = (uint32_t)s->step;
    codes.first = s->run->first + s->sent;
    codes.more = (uint32_t)samples - 1;
    codes.bits = (ProtobufCBinaryData){pack_bytes(samples * s->run->load->bits), s->run->bits};
    message_pack_frame(MESSAGE_CODES, &codes.base, frame);
    if (link_send(s->link, frame, message_frame_size(&codes.base)) == ERR_OK) {
        s->sent += samples;
    }
}

static void send_due(sender *s, uint64_t due) {
    for (int i = 0; i < FRAMES_A_TURN && s->link && s->sent < due && link_backlog(s->link) < LINK_BACKLOG_HIGH; i++) {
        send_frame(s, due - s->sent < FRAME_SAMPLES ? due - s->sent : FRAME_SAMPLES);
    }
    if (s->link) {
        link_flush(s->link);
    }
}

static bool all_may_push(const codes_run *r) {
    for (uint32_t k = 0; k < r->load->split.portions; k++) {
        if (!r->senders[k].may_push) {
            return false;
        }
    }
    return true;
}

static void start_pushing(codes_run *r) {
    r->start_ns = clock_now_ns();
    r->end_ns = r->start_ns + (uint64_t)(r->load->seconds * 1e9);
    r->probes = pthread_create(&r->prober, NULL, run_probes, r) == 0;
    if (!r->probes) {
        fail(r, err_fail(ERR_IO, "no thread for the probes"));
    }
}

static void close_links(codes_run *r) {
    uv_timer_stop(&r->turn);
    for (uint32_t k = 0; k < r->load->split.portions; k++) {
        if (r->senders[k].link) {
            link_close(r->senders[k].link, "the load is over");
        }
    }
    if (!uv_is_closing((uv_handle_t *)&r->turn)) {
        uv_close((uv_handle_t *)&r->turn, NULL);
    }
}

/* The links must all have brought the same samples, else the last ones stay in parts. */
static bool is_even(const codes_run *r) {
    for (uint32_t k = 0; k < r->load->split.portions; k++) {
        if (r->senders[k].sent != r->senders[0].sent || (r->senders[k].link && link_backlog(r->senders[k].link) > 0)) {
            return false;
        }
    }
    return true;
}

static uint64_t most_sent(const codes_run *r) {
    uint64_t most = 0;
    for (uint32_t k = 0; k < r->load->split.portions; k++) {
        most = r->senders[k].sent > most ? r->senders[k].sent : most;
    }
    return most;
}

static void push(codes_run *r, uint64_t now_ns) {
    bool ends = now_ns >= r->end_ns;
    uint64_t due = ends ? most_sent(r) : codes_due(r, now_ns);
    for (uint32_t k = 0; k < r->load->split.portions; k++) {
        send_due(&r->senders[k], due);
    }
    if (ends && is_even(r) && !r->is_over) {
        r->is_over = true;
        atomic_store(&r->ends, true);
    }
    if (now_ns > r->end_ns + PATIENCE_SECONDS * 1000000000ull) {
        fail(r, err_fail(ERR_NETWORK, "the server has not taken all codes %d seconds later", PATIENCE_SECONDS));
    }
}

static void on_turn(uv_timer_t *timer) {
    codes_run *r = timer->data;
    uint64_t now_ns = clock_now_ns();
    if (stop_asked()) {
        fail(r, err_fail(ERR_STOPPED, "stopped"));
    } else if (r->start_ns) {
        push(r, now_ns);
    } else if (all_may_push(r)) {
        start_pushing(r);
    } else if (now_ns - r->started_waiting_ns > PATIENCE_SECONDS * 1000000000ull) {
        fail(r, err_fail(ERR_NETWORK, "the server does not let all portions begin"));
    }
    if (r->failure || atomic_load(&r->is_dealt_with)) {
        close_links(r);
    }
}

static err open_run(codes_run *r) {
    const load_codes *load = r->load;
    size_t bytes = pack_bytes((size_t)FRAME_SAMPLES * load->bits);
    r->bits = malloc(bytes);
    err e = r->bits ? ERR_OK : err_fail(ERR_MEMORY, "no memory for codes");
    e = e ? e : arena_init(&r->unpacked, message_arena_size(FRAME_PAYLOAD_MAX));
    if (e) {
        return e;
    }
    rng draws = rng_at(1, 0, 0);
    for (size_t i = 0; i < bytes; i++) {
        r->bits[i] = (uint8_t)rng_u32(&draws);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    r->first = (uint64_t)now.tv_sec << 20; /* none that a load before has used */
    r->started_waiting_ns = clock_now_ns();
    uv_loop_init(&r->loop);
    uv_timer_init(&r->loop, &r->turn);
    r->turn.data = r;
    uv_timer_start(&r->turn, on_turn, TURN_MS, TURN_MS);
    static const link_events events = {on_up, on_frame, on_down};
    for (uint32_t k = 0; k < load->split.portions && !r->failure; k++) {
        sender *s = &r->senders[k];
        *s = (sender){.run = r, .portion = k};
        if (link_connect(&r->loop, load->host, load->port, NULL, &events, s, &s->link)) {
            s->link = NULL;
            fail(r, ERR_NETWORK);
        }
    }
    return ERR_OK;
}

static json_t *report_of(codes_run *r) {
    uint64_t sent = r->senders[0].sent;
    double seconds = (double)(r->dealt_with_ns - r->start_ns) * 1e-9;
    double offered = r->load->rate > 0 ? r->load->rate * r->load->seconds : (double)sent;
    return json_pack("{s:f, s:I, s:f, s:f, s:o, s:I}", "offered", offered, "sent", (json_int_t)sent, "seconds", seconds,
                     "rate", (double)sent / seconds, "probes", latency_json(&r->latency), "probes_failed",
                     (json_int_t)r->probes_failed);
}

err load_codes_run(const load_codes *load, json_t **report) {
    static codes_run r; /* one a process */
    r = (codes_run){.load = load};
    err e = open_run(&r);
    if (!e) {
        uv_run(&r.loop, UV_RUN_DEFAULT);
        atomic_store(&r.ends, true);
        if (r.probes) {
            pthread_join(r.prober, NULL);
        }
        uv_loop_close(&r.loop);
        e = r.failure ? err_fail(r.failure, "%s", r.failure_text) : ERR_OK;
        e = e || r.dealt_with_ns ? e : err_fail(ERR_REFUSED, "the request behind the last code was not answered");
    }
    *report = e ? NULL : report_of(&r);
    arena_free(&r.unpacked);
    free(r.bits);
    latency_free(&r.latency);
    return e;
}
