#include "cli/loadgen/load_codes.h"

#include "base/clock.h"
#include "base/interrupt.h"
#include "cli/latency.h"
#include "loop/loop.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { EIGHT = 8, TURN_MS = 1, PATIENCE_SECONDS = 30 };

typedef struct codes_run {
    const load_codes *load;
    uv_loop_t loop;
    uv_timer_t turn;
    synthetic_node *nodes[CODEWORD_PORTIONS_MAX];
    uint64_t start_ns, end_ns;
    uint64_t started_waiting_ns;
    bool is_closing;
    _Atomic err failure; /* the probes' thread reads it too */
    char failure_text[256];
    /* the probes' thread */
    pthread_t prober;
    bool probes;
    atomic_bool ends;          /* all is sent that will be */
    atomic_bool is_dealt_with; /* the probe after the last code is answered */
    uint64_t dealt_with_ns;
    latency latency;
    uint64_t probes_failed;
} codes_run;

static void fail(codes_run *r, err e) {
    if (!r->failure) {
        r->failure = e;
        snprintf(r->failure_text, sizeof r->failure_text, "%s", err_text());
    }
}

static void on_failed(void *context, err e) {
    codes_run *r = context;
    if (!r->is_closing) {
        fail(r, e);
    }
}

/* The probes. */

static bool probe(codes_run *r, uint64_t due_ns) {
    long status = 0;
    json_t *answer = NULL;
    err e = http_client_call(r->load->http, "/v1/classify", &r->load->probe, &status, &answer);
    json_decref(answer);
    bool is_answered = !e && status == HTTP_OK;
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

static uint64_t asked_in_all(const codes_run *r) {
    uint64_t asked = 0;
    for (uint32_t k = 0; k < r->load->model->portions; k++) {
        asked += synthetic_node_asked(r->nodes[k]);
    }
    return asked;
}

/* Everything is with the kernel or in the links' order before the requests to come. But what is asked for while one is
 * under way comes after it: then it takes another. */
static bool probe_last(codes_run *r) {
    uint64_t asked;
    bool is_answered;
    do {
        asked = asked_in_all(r);
        is_answered = probe(r, clock_now_ns());
    } while (is_answered && asked != asked_in_all(r) && !r->failure);
    return is_answered;
}

static void *run_probes(void *context) {
    codes_run *r = context;
    for (uint64_t n = 0; !atomic_load(&r->ends); n++) {
        uint64_t due_ns = r->start_ns + (uint64_t)((double)n / r->load->probe_rate * 1e9);
        sleep_until(due_ns);
        probe(r, due_ns);
    }
    if (!r->failure && probe_last(r)) {
        r->dealt_with_ns = clock_now_ns();
    }
    atomic_store(&r->is_dealt_with, true);
    return NULL;
}

/* Sending. */

static uint64_t codes_due(const codes_run *r, uint64_t now_ns) {
    uint64_t until = now_ns < r->end_ns ? now_ns : r->end_ns;
    double due = r->load->rate > 0 ? (double)(until - r->start_ns) * 1e-9 * r->load->rate : 1e18;
    return (uint64_t)due / EIGHT * EIGHT; /* so that a frame ends with a byte */
}

static bool all_may_stream(const codes_run *r) {
    for (uint32_t k = 0; k < r->load->model->portions; k++) {
        if (!synthetic_node_may_stream(r->nodes[k])) {
            return false;
        }
    }
    return true;
}

static void start_streams(codes_run *r) {
    r->start_ns = clock_now_ns();
    r->end_ns = r->start_ns + (uint64_t)(r->load->seconds * 1e9);
    r->probes = pthread_create(&r->prober, NULL, run_probes, r) == 0;
    if (!r->probes) {
        fail(r, err_fail(ERR_IO, "no thread for the probes"));
    }
}

static void close_links(codes_run *r) {
    r->is_closing = true;
    uv_timer_stop(&r->turn);
    for (uint32_t k = 0; k < r->load->model->portions && r->nodes[k]; k++) {
        synthetic_node_close(r->nodes[k], "the load is over");
    }
    if (!uv_is_closing((uv_handle_t *)&r->turn)) {
        uv_close((uv_handle_t *)&r->turn, NULL);
    }
}

/* The links must all have brought the same samples, else the last ones stay in parts. */
static bool is_even(const codes_run *r) {
    for (uint32_t k = 0; k < r->load->model->portions; k++) {
        if (synthetic_node_sent(r->nodes[k]) != synthetic_node_sent(r->nodes[0]) ||
            synthetic_node_backlog(r->nodes[k]) > 0) {
            return false;
        }
    }
    return true;
}

static bool is_acked(const codes_run *r) {
    for (uint32_t k = 0; k < r->load->model->portions; k++) {
        if (!synthetic_node_is_settled(r->nodes[k])) {
            return false;
        }
    }
    return true;
}

static uint64_t most_sent(const codes_run *r) {
    uint64_t most = 0;
    for (uint32_t k = 0; k < r->load->model->portions; k++) {
        most = synthetic_node_sent(r->nodes[k]) > most ? synthetic_node_sent(r->nodes[k]) : most;
    }
    return most;
}

static void stream(codes_run *r, uint64_t now_ns) {
    bool ends = now_ns >= r->end_ns;
    uint64_t due = ends ? most_sent(r) : codes_due(r, now_ns);
    for (uint32_t k = 0; k < r->load->model->portions; k++) {
        synthetic_node_stream(r->nodes[k], due);
    }
    if (ends && is_even(r)) {
        atomic_store(&r->ends, true);
    }
    if (now_ns > r->end_ns + PATIENCE_SECONDS * 1000000000ull) {
        fail(r, err_fail(ERR_NETWORK, "the server has not dealt with all codes %d seconds later", PATIENCE_SECONDS));
    }
}

static void go_on(codes_run *r) {
    uint64_t now_ns = clock_now_ns();
    if (interrupt_asked()) {
        fail(r, err_fail(ERR_STOPPED, "stopped"));
    } else if (r->start_ns) {
        stream(r, now_ns);
    } else if (all_may_stream(r)) {
        start_streams(r);
    } else if (now_ns - r->started_waiting_ns > PATIENCE_SECONDS * 1000000000ull) {
        fail(r, err_fail(ERR_NETWORK, "the server does not let all portions begin"));
    }
}

static void on_turn(uv_timer_t *timer) {
    codes_run *r = timer->data;
    if (!r->failure) {
        go_on(r);
    }
    if (r->failure || (atomic_load(&r->is_dealt_with) && is_acked(r))) {
        close_links(r);
    }
}

static err connect_all(codes_run *r) {
    const load_codes *load = r->load;
    r->started_waiting_ns = clock_now_ns();
    synthetic_node_config config = {
        .server = load->server,
        .model = load->model,
        .failed = on_failed,
        .context = r,
    };
    err e = ERR_OK;
    for (; config.portion < load->model->portions && !e; config.portion++) {
        e = synthetic_node_new(&r->nodes[config.portion], &r->loop, &config);
    }
    return e;
}

static json_t *report_of(codes_run *r) {
    uint64_t sent = synthetic_node_sent(r->nodes[0]);
    double seconds = (double)(r->dealt_with_ns - r->start_ns) * 1e-9;
    double offered = r->load->rate > 0 ? r->load->rate * r->load->seconds : (double)sent;
    return json_pack("{s:f, s:I, s:I, s:f, s:f, s:o, s:I}", "offered", offered, "sent", (json_int_t)sent, "asked",
                     (json_int_t)asked_in_all(r), "seconds", seconds, "rate", (double)sent / seconds, "probes",
                     latency_json(&r->latency), "probes_failed", (json_int_t)r->probes_failed);
}

err load_codes_run(const load_codes *load, json_t **report) {
    static codes_run r; /* one a process */
    r = (codes_run){.load = load, .latency = latency_make()};
    err e = loop_open(&r.loop);
    if (e) {
        return e;
    }
    uv_timer_init(&r.loop, &r.turn);
    r.turn.data = &r;
    uv_timer_start(&r.turn, on_turn, TURN_MS, TURN_MS);
    e = connect_all(&r);
    if (e) {
        fail(&r, e);
    }
    uv_run(&r.loop, UV_RUN_DEFAULT);
    atomic_store(&r.ends, true);
    if (r.probes) {
        pthread_join(r.prober, NULL);
    }
    loop_close(&r.loop);
    e = r.failure ? err_fail(r.failure, "%s", r.failure_text) : ERR_OK;
    e = e || r.dealt_with_ns ? e : err_fail(ERR_REFUSED, "the request after the last code was not answered");
    *report = e ? NULL : report_of(&r);
    for (uint32_t k = 0; k < load->model->portions; k++) {
        synthetic_node_free(r.nodes[k]);
    }
    latency_free(&r.latency);
    return e;
}
