#include "decoder_server/serve/serve.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "decoder_server/announce.h"
#include "decoder_server/feed.h"
#include "decoder_server/gate.h"
#include "decoder_server/http/gateway.h"
#include "decoder_server/http/views.h"
#include "decoder_server/mail.h"
#include "decoder_server/peers.h"
#include "decoder_server/serve/desk.h"
#include "loop/signals.h"
#include "loop/supervisor.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct serving {
    const server_options *options;
    run run;
    const dataset *set;
    split split;
    /* the loop's */
    uv_loop_t loop;
    signals signals;
    gate *gate;
    gateway *gateway; /* NULL without --http */
    worker *worker;
    token token;
    report report;
    atomic_bool is_stopping; /* nodes that go now are sent away, not lost */
    /* the worker's */
    peers *peers;
    desk *desk;
    feed *feed;
    results *results;
} serving;

/* On the worker. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    peers_tell(((serving *)context)->peers, portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    log_warn("portion %u is dropped: %s", portion, text);
    peers_drop(((serving *)context)->peers, portion, reason, text);
}

static void pause_node(void *context, uint32_t portion, bool paused) {
    peers_pause(((serving *)context)->peers, portion, paused);
}

static void send_answer(void *context, uint64_t request, const answer *a) {
    uint8_t *to = worker_reply_begin(((serving *)context)->worker, MAIL_ANSWER, request, sizeof *a);
    if (to) {
        answer *sent = (answer *)(void *)to;
        *sent = *a;
        sent->done_ns = clock_now_ns();
        worker_reply_end(((serving *)context)->worker);
    }
}

static void tell_ready(void *context, uint32_t nodes) {
    worker_reply(((serving *)context)->worker, MAIL_READY, nodes, NULL, 0);
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    (void)name;
    desk_joined(((serving *)context)->desk, portion);
}

static void on_left(void *context, uint32_t portion) {
    serving *s = context;
    if (!atomic_load(&s->is_stopping)) {
        desk_left(s->desk, portion, clock_now_ns());
    }
}

static void on_message(void *context, uint32_t portion, const message *m) {
    desk_receive(((serving *)context)->desk, portion, m, clock_now_ns());
}

static void on_metered(void *context, uint32_t portion, const meter *m) {
    (void)context, (void)portion, (void)m;
}

static void send_report(serving *s) {
    report *r = (report *)(void *)worker_reply_begin(s->worker, MAIL_REPORT, 0, sizeof *r);
    if (r) {
        *r = (report){0};
        peers_report(s->peers, r);
        desk_report(s->desk, r);
        worker_reply_end(s->worker);
    }
}

static void receive(void *role, const mail *m) {
    serving *s = role;
    switch (m->kind) {
    case MAIL_CLASSIFY:
        desk_classify(s->desk, m->about, m->bytes, clock_now_ns());
        break;
    case MAIL_ASK_REPORT:
        send_report(s);
        break;
    case MAIL_EVENTS_TAKEN:
        feed_taken(s->feed);
        break;
    default:
        peers_take(s->peers, m);
        break;
    }
}

static int64_t settle(void *role) {
    return desk_settle(((serving *)role)->desk, clock_now_ns());
}

/* On the loop. */

static err classify(void *context, uint64_t request, const uint8_t *sample, size_t length) {
    return worker_post_in_turn(((serving *)context)->worker, MAIL_CLASSIFY, request, sample, length);
}

static err ask_report(void *context) {
    return worker_post(((serving *)context)->worker, MAIL_ASK_REPORT, 0, NULL, 0);
}

static void listen_to_results(void *context, bool wanted) {
    feed_set_wanted(((serving *)context)->feed, wanted);
}

static void results_taken(void *context) {
    worker_post(((serving *)context)->worker, MAIL_EVENTS_TAKEN, 0, NULL, 0);
}

static void take_report(serving *s, const report *r) {
    size_t in, out;
    s->report = *r;
    gate_report(s->gate, &s->report);
    worker_waiting(s->worker, &in, &out);
    s->report.worker_bytes = in;
    s->report.loop_bytes = out;
    gateway_report(s->gateway, &s->report);
}

static void deliver(void *loop_side, const mail *m) {
    serving *s = loop_side;
    if (gate_deliver(s->gate, m) || !s->gateway) {
        return;
    }
    switch (m->kind) {
    case MAIL_ANSWER:
        gateway_answer(s->gateway, m->about, (const answer *)(const void *)m->bytes);
        break;
    case MAIL_READY:
        gateway_set_ready(s->gateway, (uint32_t)m->about, s->split.portions);
        break;
    case MAIL_REPORT:
        take_report(s, (const report *)(const void *)m->bytes);
        break;
    case MAIL_EVENTS:
        gateway_events(s->gateway, m->about, (const char *)m->bytes, m->length);
        break;
    default:
        break;
    }
}

static void delivered(void *loop_side) {
    serving *s = loop_side;
    gate_flush(s->gate);
    if (s->gateway) {
        gateway_flush(s->gateway);
    }
}

static void caught_up(void *loop_side) {
    gate_resume(((serving *)loop_side)->gate);
}

static void on_closed(void *context) {
    uv_stop(&((serving *)context)->loop);
}

static void shut(serving *s) {
    if (s->gateway) {
        gateway_close(s->gateway);
        s->gateway = NULL;
    }
    gate_close(s->gate, on_closed, s);
}

static void on_stop(void *context) {
    serving *s = context;
    log_info("stopping");
    supervisor_stopping();
    atomic_store(&s->is_stopping, true);
    signals_release(&s->signals);
    shut(s);
}

static err open_results(serving *s) {
    char path[FILE_PATH_MAX];
    const char *asked = s->options->results;
    err e = file_path(path, sizeof path, asked ? "%s" : "%s/results.jsonl", asked ? asked : s->run.folder);
    return e ? e : results_open(&s->results, path, s->set, s->split.portions, s->run.experiment.encoder.bits);
}

static err start_worker_side(serving *s) {
    peers_config config = {
        .experiment = &s->run.experiment,
        .run = s->run.id,
        .mode = FEWBIT__MODE__MODE_SERVE,
        .heartbeat_ms = (uint32_t)s->options->heartbeat_ms,
        .by_certificate = s->options->tls != NULL,
    };
    peers_events events = {on_joined, on_left, on_message, on_metered, s};
    desk_host host = {tell, drop, pause_node, send_answer, tell_ready, s};
    desk_options options = {
        .deadline_ns = (uint64_t)s->options->deadline_ms * 1000000u,
        .batch_wait_ns = (uint64_t)s->options->batch_wait_us * 1000u,
        .classifier = {.answers_bytes = (size_t)s->options->answers_mib << 20,
                       .seen_bytes = (size_t)s->options->cache_mib << 20},
    };
    err e = open_results(s);
    e = e ? e : feed_new(&s->feed, &s->worker);
    if (!e) {
        results_set_feed(s->results, s->feed);
    }
    e = e ? e : peers_new(&s->peers, &config, &events, &s->worker);
    return e ? e : desk_new(&s->desk, &s->run, s->results, &options, &host);
}

/* What /v1/model says. */
static err describe_model(serving *s) {
    const run_commit *commit;
    text described = {0};
    err e = run_served_commit(&s->run, &commit);
    if (!e) {
        views_model(&described, &s->run, s->set, &s->split, commit);
        e = described.has_failed ? err_fail(ERR_MEMORY, "no memory for the model's description")
                                 : gateway_set_model(s->gateway, described.bytes);
    }
    text_free(&described);
    return e;
}

static err start_gateway(serving *s) {
    const server_options *o = s->options;
    if (!o->has_http) {
        return ERR_OK;
    }
    gateway_config config = {
        .host = o->http_host,
        .port = o->http_port,
        .mode = GATEWAY_SERVES,
        .token = o->token_file ? &s->token : NULL,
        .set = s->set,
        .shape = s->split,
        .enough_nodes = o->ready_nodes > 0 ? (uint32_t)o->ready_nodes : s->split.portions,
        .classify = classify,
        .ask_report = ask_report,
        .listen = listen_to_results,
        .events_taken = results_taken,
        .context = s,
    };
    err e = o->token_file ? token_load(&s->token, o->token_file) : ERR_OK;
    e = e ? e : gateway_new(&s->gateway, &s->loop, &config);
    e = e ? e : describe_model(s);
    if (!e) {
        gateway_set_ready(s->gateway, 0, s->split.portions);
    }
    return e;
}

static err announce_addresses(const serving *s) {
    const server_options *o = s->options;
    return announce(o->announce, o->host, gate_port(s->gate), s->gateway ? o->http_host : NULL,
                    s->gateway ? gateway_port(s->gateway) : 0);
}

static err run_loop(serving *s) {
    static const worker_role role = {receive, settle, deliver, delivered, caught_up};
    err e = gate_new(&s->gate, &s->loop, s->options->host, s->options->port, s->options->tls, &s->worker);
    if (e) {
        return e;
    }
    e = start_gateway(s);
    e = e ? e : worker_new(&s->worker, &s->loop, &role, s, s);
    e = e ? e : announce_addresses(s);
    e = e ? e : signals_catch(&s->signals, &s->loop, on_stop, s);
    e = e || !s->options->tls ? e : signals_on_reload(&s->signals, tls_context_refresh, s->options->tls);
    if (e) {
        shut(s);
    } else {
        worker_gather(s->worker);
        log_info("serving run %s: nodes on %s:%u%s", s->run.folder, s->options->host, gate_port(s->gate),
                 s->options->tls ? " with TLS" : "");
        if (s->gateway) {
            log_info("HTTP on %s:%u", s->options->http_host, gateway_port(s->gateway));
        }
        supervisor_ready("serving");
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    worker_free(s->worker);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    gate_free(s->gate);
    return e;
}

static err serve_run(serving *s) {
    uint32_t classes;
    err e = dataset_find(s->run.experiment.data.set, &s->set);
    e = e ? e : experiment_split(&s->run.experiment, &s->split, &classes);
    e = e ? e : start_worker_side(s);
    if (!e) {
        uv_loop_init(&s->loop);
        e = run_loop(s);
        if (uv_loop_close(&s->loop) != 0) {
            log_warn("the loop did not close clean");
        }
    }
    desk_free(s->desk);
    peers_free(s->peers);
    results_close(s->results);
    feed_free(s->feed);
    return e;
}

err serve_command(const server_options *options) {
    static serving s; /* one a process */
    s = (serving){.options = options};
    err e = run_open(&s.run, options->run, NULL);
    if (e) {
        return e;
    }
    e = serve_run(&s);
    run_close(&s.run);
    return e;
}
