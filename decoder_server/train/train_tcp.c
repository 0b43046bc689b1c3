#include "decoder_server/train/train_tcp.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/core/address_file.h"
#include "decoder_server/core/mail.h"
#include "decoder_server/core/node_listener.h"
#include "decoder_server/core/node_registry.h"
#include "decoder_server/core/pending_replies.h"
#include "decoder_server/http/http_api.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/train/coordinator.h"
#include "decoder_server/train/progress.h"
#include "decoder_server/train/schedule.h"
#include "decoder_server/train/train_sse.h"
#include "experiment/derive.h"
#include "loop/loop.h"
#include "loop/sd_notify.h"
#include "loop/signals.h"

#include <stdio.h>
#include <string.h>

typedef struct end_note {
    err code;
    char text[256];
} end_note;

typedef struct train_tcp {
    const train_tcp_config *config;
    /* the loop's */
    uv_loop_t loop;
    signals signals;
    node_listener *node_listener;
    http_api *api; /* NULL without --http */
    api_token token;
    stats stats;
    worker *worker;
    end_note end;
    bool has_signals, ending;
    /* the worker's */
    thread_pool *pool;
    node_registry *node_registry;
    coordinator *coordinator;
    progress progress;
    train_sse sse;
    uint32_t nodes_here;
    bool is_over;
    uint64_t counted; /* bit k: traffic[k] is of now */
    traffic_counters traffic[PARTITION_PORTIONS_MAX];
} train_tcp;

/* On the worker. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    node_registry_tell(((train_tcp *)context)->node_registry, portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    node_registry_drop(((train_tcp *)context)->node_registry, portion, reason, text);
}

/* The counters are the loop's: it is asked, and what it says holds until the traffic is counted. */
static bool traffic(void *context, uint32_t portion, traffic_counters *counters) {
    train_tcp *t = context;
    if (t->counted >> portion & 1) {
        *counters = t->traffic[portion];
        return true;
    }
    node_registry_ask_meter(t->node_registry, portion);
    return false;
}

static void show(void *context, const train_loop_progress *p) {
    train_tcp *t = context;
    progress_show(&t->progress, p);
    train_sse_progress(&t->sse, p);
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    train_tcp *t = context;
    worker_reply(t->worker, MAIL_READY, ++t->nodes_here, NULL, 0);
    coordinator_joined(t->coordinator, portion, name);
}

static void on_left(void *context, uint32_t portion) {
    train_tcp *t = context;
    t->counted = 0;
    worker_reply(t->worker, MAIL_READY, --t->nodes_here, NULL, 0);
    coordinator_left(t->coordinator, portion);
}

static void on_message(void *context, uint32_t portion, const message *m) {
    coordinator_receive(((train_tcp *)context)->coordinator, portion, m);
}

static void on_metered(void *context, uint32_t portion, const traffic_counters *m) {
    train_tcp *t = context;
    uint64_t all = UINT64_MAX >> (64 - t->config->run->experiment.dataset.portions);
    t->traffic[portion] = *m;
    t->counted |= (uint64_t)1 << portion;
    if (t->counted == all) {
        coordinator_counted(t->coordinator);
        t->counted = 0;
    }
}

static void send_report(train_tcp *t) {
    stats *r = (stats *)(void *)worker_reply_begin(t->worker, MAIL_REPORT, 0, sizeof *r);
    if (!r) {
        return;
    }
    *r = (stats){.training = t->sse.now};
    node_registry_stats(t->node_registry, r);
    for (uint32_t k = 0; k < r->portions; k++) {
        pending_replies_stats(coordinator_pending_replies(t->coordinator), k, &r->nodes[k]);
        for (traffic_direction d = TRAFFIC_IN; d <= TRAFFIC_OUT; d++) {
            r->nodes[k].payload_bits[d] = coordinator_payload_bits(t->coordinator, k, d);
        }
    }
    worker_reply_end(t->worker);
}

static void receive(void *role, const mail *m) {
    train_tcp *t = role;
    coordinator_poll(t->coordinator, clock_now_ns());
    if (m->kind == MAIL_ASK_REPORT) {
        send_report(t);
        return;
    }
    if (m->kind == MAIL_EVENTS_TAKEN) {
        sse_producer_taken(t->sse.sse);
        return;
    }
    node_registry_take(t->node_registry, m);
    while (coordinator_has_long_work(t->coordinator)) {
        coordinator_work(t->coordinator);
    }
    err outcome;
    if (!t->is_over && coordinator_is_over(t->coordinator, &outcome)) {
        t->is_over = true;
        end_note note = {.code = outcome};
        snprintf(note.text, sizeof note.text, "%s", outcome ? err_text() : "");
        sse_producer_finish(t->sse.sse);
        worker_reply(t->worker, MAIL_END, 0, &note, sizeof note);
    }
}

static int64_t settle(void *role) {
    return coordinator_poll(((train_tcp *)role)->coordinator, clock_now_ns());
}

/* On the loop. */

static void on_closed(void *context) {
    uv_stop(&((train_tcp *)context)->loop);
}

static void shut(train_tcp *t) {
    if (t->has_signals) {
        signals_release(&t->signals);
    }
    if (t->api) {
        http_api_close(t->api);
        t->api = NULL;
    }
    node_listener_close(t->node_listener, on_closed, t);
}

static void end(train_tcp *t, const end_note *note) {
    if (!t->ending) {
        t->ending = true;
        sd_notify_stopping();
        t->end = *note;
        shut(t);
    }
}

static void take_report(train_tcp *t, const stats *r) {
    size_t in, out;
    t->stats = *r;
    node_listener_stats(t->node_listener, &t->stats);
    worker_waiting(t->worker, &in, &out);
    t->stats.worker_bytes = in;
    t->stats.loop_bytes = out;
    http_api_stats(t->api, &t->stats);
}

/* A record for the HTTP side. */
static void show_over_http(train_tcp *t, const mail *m) {
    switch (m->kind) {
    case MAIL_READY:
        http_api_set_ready(t->api, (uint32_t)m->about, t->config->run->experiment.dataset.portions);
        break;
    case MAIL_REPORT:
        take_report(t, (const stats *)(const void *)m->bytes);
        break;
    case MAIL_EVENTS:
        http_api_events(t->api, m->about, (const char *)m->bytes, m->length);
        break;
    case MAIL_GREETING:
        http_api_add_replay(t->api, (const char *)m->bytes, m->length);
        break;
    default:
        break;
    }
}

static void deliver(void *loop_side, const mail *m) {
    train_tcp *t = loop_side;
    if (node_listener_deliver(t->node_listener, m)) {
        return;
    }
    if (m->kind == MAIL_END) {
        end(t, (const end_note *)(const void *)m->bytes);
    } else if (t->api) {
        show_over_http(t, m);
    }
}

static void delivered(void *loop_side) {
    train_tcp *t = loop_side;
    node_listener_flush(t->node_listener);
}

static err ask_report(void *context) {
    return worker_post(((train_tcp *)context)->worker, MAIL_ASK_REPORT, 0, NULL, 0);
}

static void on_listening(void *context, bool wanted) {
    (void)context, (void)wanted; /* progress is made in any case: a new listener gets the last of it */
}

static void events_taken(void *context) {
    worker_post(((train_tcp *)context)->worker, MAIL_EVENTS_TAKEN, 0, NULL, 0);
}

static void caught_up(void *loop_side) {
    node_listener_resume(((train_tcp *)loop_side)->node_listener);
}

static void on_stop(void *context) {
    end_note note = {.code = schedule_check_interrupt()};
    snprintf(note.text, sizeof note.text, "%s", err_text());
    end(context, &note);
}

static err start_worker_side(train_tcp *t) {
    const train_tcp_config *config = t->config;
    node_registry_config registry_of_run = {
        .experiment = &config->run->experiment,
        .run = config->run->id,
        .training = config->run->identity.training,
        .mode = FEWBIT__MODE__MODE_TRAIN,
        .heartbeat_ms = config->heartbeat_ms,
        .labels = config->labels,
        .by_certificate = config->tls != NULL,
    };
    node_registry_events events = {on_joined, on_left, on_message, on_metered, t};
    coordinator_host host = {tell, drop, traffic, show, t};
    err e = thread_pool_new(&t->pool, config->threads, false);
    e = e ? e : train_sse_start(&t->sse, &t->worker);
    e = e ? e : node_registry_new(&t->node_registry, &registry_of_run, &events, &t->worker);
    e = e ? e : coordinator_new(&t->coordinator, config->run, config->labels, t->pool, true, &host);
    if (!e) {
        coordinator_set_answer_timeout(t->coordinator, config->answer_timeout_s * (uint64_t)1000000000);
    }
    return e;
}

/* What /v1/model says, and the epochs that a run which goes on has behind it. */
static err describe_run(train_tcp *t, const dataset *set, const partition *shape) {
    const run_dir *r = t->config->run;
    dynbuf described = dynbuf_make(JSON_VIEWS_MAX);
    err e = json_views_model(&described, r, set, shape, NULL);
    e = e ? e : http_api_set_model(t->api, described.bytes);
    dynbuf_free(&described);
    for (uint32_t i = 0; i < r->manifest.evaluation_count && !e; i++) {
        char event[TRAIN_SSE_EVENT_MAX];
        http_api_add_replay(t->api, event, train_sse_epoch_event(&r->manifest.evaluations[i], event));
    }
    return e;
}

static err start_http_api(train_tcp *t) {
    const train_tcp_config *c = t->config;
    if (!c->http_host) {
        return ERR_OK;
    }
    const dataset *set;
    partition shape;
    uint32_t classes;
    err e = dataset_find(c->run->experiment.dataset.name, &set);
    e = e ? e : experiment_partition(&c->run->experiment, &shape, &classes);
    e = e || !c->token_file ? e : api_token_load(&t->token, c->token_file);
    if (e) {
        return e;
    }
    http_api_config config = {
        .host = c->http_host,
        .port = c->http_port,
        .mode = ROUTES_TRAINING,
        .token = c->token_file ? &t->token : NULL,
        .allowed_hosts = c->allowed_hosts,
        .set = set,
        .shape = shape,
        .enough_nodes = shape.portions,
        .ask_report = ask_report,
        .listen = on_listening,
        .events_taken = events_taken,
        .context = t,
    };
    e = http_api_new(&t->api, &t->loop, &config);
    e = e ? e : describe_run(t, set, &shape);
    if (!e) {
        http_api_set_ready(t->api, 0, shape.portions);
    }
    return e;
}

static err write_address_file(const train_tcp *t) {
    const train_tcp_config *c = t->config;
    return address_file_write(c->address_file, c->host, node_listener_port(t->node_listener), c->http_host,
                              t->api ? http_api_port(t->api) : 0);
}

static err run_loop(train_tcp *t) {
    static const worker_role role = {receive, settle, deliver, delivered, caught_up};
    err e =
        node_listener_new(&t->node_listener, &t->loop, t->config->host, t->config->port, t->config->tls, &t->worker);
    if (e) {
        return e;
    }
    e = start_http_api(t);
    e = e ? e : worker_new(&t->worker, &t->loop, &role, t, t);
    e = e ? e : signals_catch(&t->signals, &t->loop, on_stop, t);
    t->has_signals = !e;
    e = e || !t->config->tls ? e : signals_on_reload(&t->signals, tls_context_refresh, t->config->tls);
    if (e) {
        shut(t);
    } else if (write_address_file(t)) {
        end_note note = {.code = ERR_IO};
        snprintf(note.text, sizeof note.text, "%s", err_text());
        end(t, &note);
    } else {
        char address[ADDRESS_TEXT_MAX];
        log_event(LOG_INFO, "listening", "listening on %s for %u nodes, run %s",
                  address_text(address, t->config->host, node_listener_port(t->node_listener)),
                  t->config->run->experiment.dataset.portions, t->config->run->folder);
        if (t->api) {
            log_event(LOG_INFO, "http_listening", "HTTP on %s",
                      address_text(address, t->config->http_host, http_api_port(t->api)));
        }
        sd_notify_ready("training");
    }
    uv_run(&t->loop, UV_RUN_DEFAULT);
    worker_free(t->worker);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    node_listener_free(t->node_listener);
    return e;
}

err train_tcp_run(const train_tcp_config *config) {
    static train_tcp t; /* one a process */
    t = (train_tcp){.config = config};
    progress_start(&t.progress);
    err e = start_worker_side(&t);
    e = e ? e : loop_open(&t.loop);
    if (!e) {
        e = run_loop(&t);
        loop_close(&t.loop);
    }
    progress_end(&t.progress);
    coordinator_free(t.coordinator);
    node_registry_free(t.node_registry);
    train_sse_end(&t.sse);
    thread_pool_free(t.pool);
    return e || !t.end.code ? e : err_fail(t.end.code, "%s", t.end.text);
}
