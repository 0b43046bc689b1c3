#include "decoder_server/train/training.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/announce.h"
#include "decoder_server/gate.h"
#include "decoder_server/http/http_api.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/mail.h"
#include "decoder_server/owed.h"
#include "decoder_server/peers.h"
#include "decoder_server/train/broadcast.h"
#include "decoder_server/train/coordinator.h"
#include "decoder_server/train/progress.h"
#include "decoder_server/train/schedule.h"
#include "loop/loop.h"
#include "loop/signals.h"
#include "loop/supervisor.h"

#include <stdio.h>
#include <string.h>

typedef struct end_note {
    err code;
    char text[256];
} end_note;

typedef struct training {
    const training_config *config;
    /* the loop's */
    uv_loop_t loop;
    signals signals;
    gate *gate;
    http_api *api; /* NULL without --http */
    api_token token;
    report report;
    worker *worker;
    end_note end;
    bool has_signals, ending;
    /* the worker's */
    thread_pool *pool;
    peers *peers;
    coordinator *coordinator;
    progress progress;
    broadcast broadcast;
    uint32_t nodes_here;
    bool is_over;
} training;

/* On the worker. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    peers_tell(((training *)context)->peers, portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    peers_drop(((training *)context)->peers, portion, reason, text);
}

static void ask_meter(void *context, uint32_t portion) {
    peers_ask_meter(((training *)context)->peers, portion);
}

static void show(void *context, const coordinator_progress *p) {
    training *t = context;
    progress_show(&t->progress, p);
    broadcast_progress(&t->broadcast, p);
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    training *t = context;
    worker_reply(t->worker, MAIL_READY, ++t->nodes_here, NULL, 0);
    coordinator_joined(t->coordinator, portion, name);
}

static void on_left(void *context, uint32_t portion) {
    training *t = context;
    worker_reply(t->worker, MAIL_READY, --t->nodes_here, NULL, 0);
    coordinator_left(t->coordinator, portion);
}

static void on_message(void *context, uint32_t portion, const message *m) {
    coordinator_receive(((training *)context)->coordinator, portion, m);
}

static void on_metered(void *context, uint32_t portion, const traffic_counters *m) {
    coordinator_metered(((training *)context)->coordinator, portion, m);
}

static void work_task(void *context, size_t task) {
    coordinator_work_task(context, task);
}

static void send_report(training *t) {
    report *r = (report *)(void *)worker_reply_begin(t->worker, MAIL_REPORT, 0, sizeof *r);
    if (!r) {
        return;
    }
    *r = (report){.training = t->broadcast.now};
    peers_report(t->peers, r);
    for (uint32_t k = 0; k < r->portions; k++) {
        owed_report(coordinator_owed(t->coordinator), k, &r->nodes[k]);
        for (traffic_direction d = TRAFFIC_IN; d <= TRAFFIC_OUT; d++) {
            r->nodes[k].payload_bits[d] = coordinator_payload_bits(t->coordinator, k, d);
        }
    }
    worker_reply_end(t->worker);
}

static void receive(void *role, const mail *m) {
    training *t = role;
    coordinator_poll(t->coordinator, clock_now_ns());
    if (m->kind == MAIL_ASK_REPORT) {
        send_report(t);
        return;
    }
    if (m->kind == MAIL_EVENTS_TAKEN) {
        feed_taken(t->broadcast.feed);
        return;
    }
    peers_take(t->peers, m);
    size_t tasks = coordinator_work_tasks(t->coordinator);
    if (tasks > 0) {
        thread_pool_run(t->pool, work_task, t->coordinator, tasks);
        coordinator_work_done(t->coordinator);
    }
    err outcome;
    if (!t->is_over && coordinator_is_over(t->coordinator, &outcome)) {
        t->is_over = true;
        end_note note = {.code = outcome};
        snprintf(note.text, sizeof note.text, "%s", outcome ? err_text() : "");
        feed_finish(t->broadcast.feed);
        worker_reply(t->worker, MAIL_END, 0, &note, sizeof note);
    }
}

static int64_t settle(void *role) {
    return coordinator_poll(((training *)role)->coordinator, clock_now_ns());
}

/* On the loop. */

static void on_closed(void *context) {
    uv_stop(&((training *)context)->loop);
}

static void shut(training *t) {
    if (t->has_signals) {
        signals_release(&t->signals);
    }
    if (t->api) {
        http_api_close(t->api);
        t->api = NULL;
    }
    gate_close(t->gate, on_closed, t);
}

static void end(training *t, const end_note *note) {
    if (!t->ending) {
        t->ending = true;
        supervisor_stopping();
        t->end = *note;
        shut(t);
    }
}

static void take_report(training *t, const report *r) {
    size_t in, out;
    t->report = *r;
    gate_report(t->gate, &t->report);
    worker_waiting(t->worker, &in, &out);
    t->report.worker_bytes = in;
    t->report.loop_bytes = out;
    http_api_report(t->api, &t->report);
}

/* A record for the HTTP side. */
static void show_over_http(training *t, const mail *m) {
    switch (m->kind) {
    case MAIL_READY:
        http_api_set_ready(t->api, (uint32_t)m->about, t->config->run->experiment.data.portions);
        break;
    case MAIL_REPORT:
        take_report(t, (const report *)(const void *)m->bytes);
        break;
    case MAIL_EVENTS:
        http_api_events(t->api, m->about, (const char *)m->bytes, m->length);
        break;
    case MAIL_GREETING:
        http_api_greet(t->api, (const char *)m->bytes, m->length);
        break;
    default:
        break;
    }
}

static void deliver(void *loop_side, const mail *m) {
    training *t = loop_side;
    if (gate_deliver(t->gate, m)) {
        return;
    }
    if (m->kind == MAIL_END) {
        end(t, (const end_note *)(const void *)m->bytes);
    } else if (t->api) {
        show_over_http(t, m);
    }
}

static void delivered(void *loop_side) {
    training *t = loop_side;
    gate_flush(t->gate);
}

static err ask_report(void *context) {
    return worker_post(((training *)context)->worker, MAIL_ASK_REPORT, 0, NULL, 0);
}

static void on_listening(void *context, bool wanted) {
    (void)context, (void)wanted; /* progress is made in any case: a new listener gets the last of it */
}

static void events_taken(void *context) {
    worker_post(((training *)context)->worker, MAIL_EVENTS_TAKEN, 0, NULL, 0);
}

static void caught_up(void *loop_side) {
    gate_resume(((training *)loop_side)->gate);
}

static void on_stop(void *context) {
    end_note note = {.code = schedule_check_interrupt()};
    snprintf(note.text, sizeof note.text, "%s", err_text());
    end(context, &note);
}

static err start_worker_side(training *t) {
    const training_config *config = t->config;
    peers_config peers_of_run = {
        .experiment = &config->run->experiment,
        .run = config->run->id,
        .training = config->run->identity.training,
        .mode = FEWBIT__MODE__MODE_TRAIN,
        .heartbeat_ms = config->heartbeat_ms,
        .labels = config->labels,
        .by_certificate = config->tls != NULL,
    };
    peers_events events = {on_joined, on_left, on_message, on_metered, t};
    coordinator_host host = {tell, drop, ask_meter, show, t};
    err e = thread_pool_new(&t->pool, config->threads, false);
    e = e ? e : broadcast_start(&t->broadcast, &t->worker);
    e = e ? e : peers_new(&t->peers, &peers_of_run, &events, &t->worker);
    e = e ? e : coordinator_new(&t->coordinator, config->run, config->labels, t->pool, true, &host);
    if (!e) {
        coordinator_set_answer_timeout(t->coordinator, config->answer_timeout_s * (uint64_t)1000000000);
    }
    return e;
}

/* What /v1/model says, and the epochs that a run which goes on has behind it. */
static err describe_run(training *t, const dataset *set, const partition *shape) {
    const run *r = t->config->run;
    strbuf described = {0};
    json_views_model(&described, r, set, shape, NULL);
    err e = described.has_failed ? err_fail(ERR_MEMORY, "no memory for the model's description")
                                 : http_api_set_model(t->api, described.bytes);
    strbuf_free(&described);
    for (uint32_t i = 0; i < r->evaluation_count && !e; i++) {
        char event[BROADCAST_EVENT_MAX];
        http_api_greet(t->api, event, broadcast_epoch_event(&r->evaluations[i], event));
    }
    return e;
}

static err start_http_api(training *t) {
    const training_config *c = t->config;
    if (!c->http_host) {
        return ERR_OK;
    }
    const dataset *set;
    partition shape;
    uint32_t classes;
    err e = dataset_find(c->run->experiment.data.set, &set);
    e = e ? e : experiment_partition(&c->run->experiment, &shape, &classes);
    e = e || !c->token_file ? e : api_token_load(&t->token, c->token_file);
    if (e) {
        return e;
    }
    http_api_config config = {
        .host = c->http_host,
        .port = c->http_port,
        .mode = HTTP_API_TRAINS,
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

static err announce_addresses(const training *t) {
    const training_config *c = t->config;
    return announce(c->address_file, c->host, gate_port(t->gate), c->http_host, t->api ? http_api_port(t->api) : 0);
}

static err run_loop(training *t) {
    static const worker_role role = {receive, settle, deliver, delivered, caught_up};
    err e = gate_new(&t->gate, &t->loop, t->config->host, t->config->port, t->config->tls, &t->worker);
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
    } else if (announce_addresses(t)) {
        end_note note = {.code = ERR_IO};
        snprintf(note.text, sizeof note.text, "%s", err_text());
        end(t, &note);
    } else {
        char address[ADDRESS_TEXT_MAX];
        log_info("listening on %s for %u nodes, run %s", address_text(address, t->config->host, gate_port(t->gate)),
                 t->config->run->experiment.data.portions, t->config->run->folder);
        if (t->api) {
            log_info("HTTP on %s", address_text(address, t->config->http_host, http_api_port(t->api)));
        }
        supervisor_ready("training");
    }
    uv_run(&t->loop, UV_RUN_DEFAULT);
    worker_free(t->worker);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    gate_free(t->gate);
    return e;
}

err training_run(const training_config *config) {
    static training t; /* one a process */
    t = (training){.config = config};
    progress_start(&t.progress);
    err e = start_worker_side(&t);
    e = e ? e : loop_open(&t.loop);
    if (!e) {
        e = run_loop(&t);
        loop_close(&t.loop);
    }
    progress_end(&t.progress);
    coordinator_free(t.coordinator);
    peers_free(t.peers);
    broadcast_end(&t.broadcast);
    thread_pool_free(t.pool);
    return e || !t.end.code ? e : err_fail(t.end.code, "%s", t.end.text);
}
