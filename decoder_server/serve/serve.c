#include "decoder_server/serve/serve.h"

#include "base/address.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log_limit.h"
#include "base/sched_slice.h"
#include "decoder_server/core/address_file.h"
#include "decoder_server/core/mail.h"
#include "decoder_server/core/node_listener.h"
#include "decoder_server/core/node_registry.h"
#include "decoder_server/core/sse_producer.h"
#include "decoder_server/http/http_api.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/serve/engine.h"
#include "decoder_server/serve/reloader.h"
#include "experiment/derive.h"
#include "loop/loop.h"
#include "loop/sd_notify.h"
#include "loop/signals.h"
#include "nn/blas.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

typedef struct serving {
    const server_options *options;
    run_dir run;
    const dataset *set;
    partition partition;
    /* the loop's */
    uv_loop_t loop;
    signals signals;
    node_listener *node_listener;
    http_api *api; /* NULL without --http */
    worker *worker;
    reloader *reloader;
    uv_timer_t drain; /* how long a stop waits */
    bool has_signals, is_shut;
    dynbuf described; /* what /v1/model says of the model to come */
    api_token token;
    stats stats;
    stats_reloads reloads;
    atomic_bool is_stopping; /* nodes that go now are sent away, not lost */
    /* the worker's */
    node_registry *node_registry;
    engine *engine;
    sse_producer *sse;
    results *results;
    bool is_draining;
} serving;

/* On the worker. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    node_registry_tell(((serving *)context)->node_registry, portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    serving *s = context;
    log_limited(atomic_load(&s->is_stopping) ? LOG_INFO : LOG_WARN, "node_dropped", portion + 1,
                "portion %u is dropped: %s", portion, text);
    node_registry_drop(s->node_registry, portion, reason, text);
}

static void pause_node(void *context, uint32_t portion, bool paused) {
    node_registry_pause(((serving *)context)->node_registry, portion, paused);
}

static void send_answer(void *context, uint64_t request, const classification *a) {
    uint8_t *to = worker_reply_begin(((serving *)context)->worker, MAIL_ANSWER, request, sizeof *a);
    if (to) {
        classification *sent = (classification *)(void *)to;
        *sent = *a;
        sent->done_ns = clock_now_ns();
        worker_reply_end(((serving *)context)->worker);
    }
}

static void tell_ready(void *context, uint32_t nodes) {
    worker_reply(((serving *)context)->worker, MAIL_READY, nodes, NULL, 0);
}

static void welcome_to(void *context, const served_model *m) {
    node_registry_set_run(((serving *)context)->node_registry, m->run->id, m->text);
}

static void tell_changed(void *context, err code, const char *text) {
    worker_reply(((serving *)context)->worker, MAIL_CHANGED, code, text, strlen(text) + 1);
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    (void)name;
    engine_joined(((serving *)context)->engine, portion);
}

static void on_left(void *context, uint32_t portion) {
    serving *s = context;
    if (!atomic_load(&s->is_stopping)) {
        engine_left(s->engine, portion, clock_now_ns());
    }
}

static void on_message(void *context, uint32_t portion, const message *m) {
    engine_receive(((serving *)context)->engine, portion, m, clock_now_ns());
}

static void on_metered(void *context, uint32_t portion, const traffic_counters *m) {
    (void)context, (void)portion, (void)m;
}

static void change_model(serving *s, const mail *m) {
    served_model *to;
    memcpy(&to, m->bytes, sizeof to);
    engine_swap_model(s->engine, to, clock_now_ns());
}

static void send_report(serving *s) {
    stats *r = (stats *)(void *)worker_reply_begin(s->worker, MAIL_REPORT, 0, sizeof *r);
    if (r) {
        *r = (stats){0};
        node_registry_stats(s->node_registry, r);
        engine_stats(s->engine, r);
        worker_reply_end(s->worker);
    }
}

static void receive(void *role, const mail *m) {
    serving *s = role;
    switch (m->kind) {
    case MAIL_CLASSIFY:
        engine_classify(s->engine, m->about, m->bytes, clock_now_ns());
        break;
    case MAIL_CHANGE:
        change_model(s, m);
        break;
    case MAIL_STOP:
        engine_stop(s->engine, clock_now_ns());
        s->is_draining = true;
        break;
    case MAIL_FINISH:
        engine_finish(s->engine, clock_now_ns());
        break;
    case MAIL_ASK_REPORT:
        send_report(s);
        break;
    case MAIL_EVENTS_TAKEN:
        sse_producer_taken(s->sse);
        break;
    default:
        node_registry_take(s->node_registry, m);
        break;
    }
}

static int64_t settle(void *role) {
    serving *s = role;
    int64_t sleep = engine_poll(s->engine, clock_now_ns());
    if (s->is_draining && engine_is_idle(s->engine)) {
        s->is_draining = false;
        atomic_store(&s->is_stopping, true);
        engine_dismiss(s->engine, "the server is stopping");
        worker_reply(s->worker, MAIL_DRAINED, 0, NULL, 0);
    }
    return sleep;
}

/* On the loop. */

static err classify(void *context, uint64_t request, const uint8_t *sample, size_t length) {
    return worker_post_in_turn(((serving *)context)->worker, MAIL_CLASSIFY, request, sample, length);
}

static err ask_report(void *context) {
    return worker_post(((serving *)context)->worker, MAIL_ASK_REPORT, 0, NULL, 0);
}

static void listen_to_results(void *context, bool wanted) {
    sse_producer_set_wanted(((serving *)context)->sse, wanted);
}

static void results_taken(void *context) {
    worker_post(((serving *)context)->worker, MAIL_EVENTS_TAKEN, 0, NULL, 0);
}

static void take_report(serving *s, const stats *r) {
    size_t in, out;
    s->stats = *r;
    s->stats.reloads = s->reloads;
    node_listener_stats(s->node_listener, &s->stats);
    worker_waiting(s->worker, &in, &out);
    s->stats.worker_bytes = in;
    s->stats.loop_bytes = out;
    http_api_stats(s->api, &s->stats);
}

static void shut(serving *s);

static void deliver(void *loop_side, const mail *m) {
    serving *s = loop_side;
    if (node_listener_deliver(s->node_listener, m)) {
        return;
    }
    if (m->kind == MAIL_DRAINED) {
        shut(s);
        return;
    }
    if (m->kind == MAIL_CHANGED && s->reloader) {
        reloader_changed(s->reloader, (err)m->about, (const char *)m->bytes);
        return;
    }
    if (!s->api) {
        return;
    }
    switch (m->kind) {
    case MAIL_ANSWER:
        http_api_answer(s->api, m->about, (const classification *)(const void *)m->bytes);
        break;
    case MAIL_READY:
        http_api_set_ready(s->api, (uint32_t)m->about, s->partition.portions);
        break;
    case MAIL_REPORT:
        take_report(s, (const stats *)(const void *)m->bytes);
        break;
    case MAIL_EVENTS:
        http_api_events(s->api, m->about, (const char *)m->bytes, m->length);
        break;
    default:
        break;
    }
}

static void delivered(void *loop_side) {
    serving *s = loop_side;
    node_listener_flush(s->node_listener);
}

static void caught_up(void *loop_side) {
    node_listener_resume(((serving *)loop_side)->node_listener);
}

static void on_closed(void *context) {
    uv_stop(&((serving *)context)->loop);
}

static void shut(serving *s) {
    if (s->is_shut) {
        return;
    }
    s->is_shut = true;
    uv_close((uv_handle_t *)&s->drain, NULL);
    if (s->has_signals) {
        signals_release(&s->signals);
    }
    reloader_close(s->reloader);
    s->reloader = NULL;
    if (s->api) {
        http_api_close(s->api);
        s->api = NULL;
    }
    node_listener_close(s->node_listener, on_closed, s);
}

static void on_drain_over(uv_timer_t *timer) {
    serving *s = timer->data;
    log_event(LOG_WARN, "drain_timed_out", "what still waits after %lld ms is answered with what is there",
              (long long)s->options->drain_timeout_ms);
    if (worker_post(s->worker, MAIL_FINISH, 0, NULL, 0)) {
        shut(s);
    }
}

/* Nothing new; what is under way is answered; then the nodes are sent away, and MAIL_DRAINED comes. */
static void on_stop(void *context) {
    serving *s = context;
    log_event(LOG_INFO, "stopping", "stopping");
    sd_notify_stopping();
    node_listener_stop_listening(s->node_listener);
    if (s->api) {
        http_api_stop(s->api);
    }
    uv_timer_start(&s->drain, on_drain_over, (uint64_t)s->options->drain_timeout_ms, 0);
    if (worker_post(s->worker, MAIL_STOP, 0, NULL, 0)) {
        shut(s);
    }
}

/* Another model. */

static err hand_on(void *context, served_model *m) {
    serving *s = context;
    err e = json_views_model(&s->described, m->run, s->set, &s->partition, m->commit);
    return e ? e : worker_post(s->worker, MAIL_CHANGE, 0, &m, sizeof m);
}

static void on_reloaded(void *context, err code, const char *text) {
    serving *s = context;
    bool is_new = !code && !text[0];
    (*(code ? &s->reloads.failed : is_new ? &s->reloads.changed : &s->reloads.unchanged))++;
    if (code) {
        log_event(LOG_ERROR, "model_kept", "the model stays as it is: %s", text);
    } else if (!is_new) {
        log_event(LOG_INFO, "model_unchanged", "%s", text);
    }
    if (s->api && is_new && http_api_set_model(s->api, s->described.bytes)) {
        log_error("%s", err_text());
    }
    if (s->api) {
        http_api_reloaded(s->api, code ? text : NULL);
    }
}

static err reload(void *context) {
    serving *s = context;
    return s->reloader ? reloader_start(s->reloader) : err_fail(ERR_FULL, "the server is not ready");
}

static predictor_options how_to_classify(const server_options *o) {
    return (predictor_options){.table_bytes = (size_t)o->table_mib << 20,
                               .by_stage = o->confidence > 0,
                               .cache_bytes = (size_t)o->cache_mib << 20};
}

static err start_reloader(serving *s) {
    reloader_config config = {
        .folder = s->options->run,
        .predictor = how_to_classify(s->options),
        .change = hand_on,
        .done = on_reloaded,
        .context = s,
    };
    const manifest_commit *commit;
    served_model_identity first;
    err e = run_dir_served_commit(&s->run, &commit);
    if (e) {
        return e;
    }
    served_model_identify(&s->run, commit, &first);
    e = reloader_new(&s->reloader, &s->loop, &config, &first);
    return e ? e : signals_on_reload(&s->signals, reloader_ask, s->reloader);
}

static err open_results(serving *s) {
    char path[FILE_PATH_MAX];
    const char *asked = s->options->results;
    err e = file_path(path, sizeof path, asked ? "%s" : "%s/results.jsonl", asked ? asked : s->run.folder);
    return e ? e : results_open(&s->results, path, s->set, s->partition.portions);
}

static err start_worker_side(serving *s) {
    node_registry_config config = {
        .experiment = &s->run.experiment,
        .run = s->run.id,
        .mode = FEWBIT__MODE__MODE_SERVE,
        .heartbeat_ms = (uint32_t)s->options->heartbeat_ms,
        .by_certificate = s->options->tls != NULL,
    };
    node_registry_events events = {on_joined, on_left, on_message, on_metered, s};
    engine_host host = {tell, drop, pause_node, send_answer, tell_ready, welcome_to, tell_changed, s};
    engine_options options = {
        .deadline_ns = (uint64_t)s->options->deadline_ms * 1000000u,
        .answer_timeout_ns = (uint64_t)s->options->answer_timeout_s * 1000000000u,
        .max_batch_delay_ns = (uint64_t)s->options->max_batch_delay_us * 1000u,
        .predictor = how_to_classify(s->options),
        .stall_timeout_ns = (uint64_t)s->options->heartbeat_ms * 3000000u,
        .first_session = (uint64_t)clock_unix_ms() << 16,
        .confidence = (float)s->options->confidence,
    };
    err e = open_results(s);
    e = e ? e : sse_producer_new(&s->sse, &s->worker);
    if (!e) {
        results_set_sse(s->results, s->sse);
    }
    e = e ? e : node_registry_new(&s->node_registry, &config, &events, &s->worker);
    return e ? e : engine_new(&s->engine, &s->run, s->results, &options, &host);
}

/* What /v1/model says. */
static err describe_model(serving *s) {
    const manifest_commit *commit;
    err e = run_dir_served_commit(&s->run, &commit);
    e = e ? e : json_views_model(&s->described, &s->run, s->set, &s->partition, commit);
    return e ? e : http_api_set_model(s->api, s->described.bytes);
}

static err start_http_api(serving *s) {
    const server_options *o = s->options;
    if (!o->has_http) {
        return ERR_OK;
    }
    http_api_config config = {
        .host = o->http_host,
        .port = o->http_port,
        .mode = ROUTES_SERVING,
        .token = o->token_file ? &s->token : NULL,
        .allowed_hosts = o->allowed_hosts,
        .set = s->set,
        .shape = s->partition,
        .enough_nodes = o->ready_nodes > 0 ? (uint32_t)o->ready_nodes : s->partition.portions,
        .classify = classify,
        .ask_report = ask_report,
        .reload = reload,
        .listen = listen_to_results,
        .events_taken = results_taken,
        .context = s,
    };
    err e = o->token_file ? api_token_load(&s->token, o->token_file) : ERR_OK;
    e = e ? e : http_api_new(&s->api, &s->loop, &config);
    e = e ? e : describe_model(s);
    if (!e) {
        http_api_set_ready(s->api, 0, s->partition.portions);
    }
    return e;
}

static err write_address_file(const serving *s) {
    const server_options *o = s->options;
    return address_file_write(o->address_file, o->host, node_listener_port(s->node_listener),
                              s->api ? o->http_host : NULL, s->api ? http_api_port(s->api) : 0);
}

static err run_loop(serving *s) {
    static const worker_role role = {receive, settle, deliver, delivered, caught_up};
    err e =
        node_listener_new(&s->node_listener, &s->loop, s->options->host, s->options->port, s->options->tls, &s->worker);
    if (e) {
        return e;
    }
    uv_timer_init(&s->loop, &s->drain);
    s->drain.data = s;
    e = start_http_api(s);
    e = e ? e : worker_new(&s->worker, &s->loop, &role, s, s);
    e = e ? e : write_address_file(s);
    e = e ? e : signals_catch(&s->signals, &s->loop, on_stop, s);
    s->has_signals = !e;
    e = e || !s->options->tls ? e : signals_on_reload(&s->signals, tls_context_refresh, s->options->tls);
    e = e ? e : start_reloader(s);
    if (e) {
        shut(s);
    } else {
        worker_gather(s->worker);
        char address[ADDRESS_TEXT_MAX];
        log_event(LOG_INFO, "serving", "serving run %s: nodes on %s%s", s->run.folder,
                  address_text(address, s->options->host, node_listener_port(s->node_listener)),
                  s->options->tls ? " with TLS" : "");
        if (s->api) {
            log_event(LOG_INFO, "http_listening", "HTTP on %s",
                      address_text(address, s->options->http_host, http_api_port(s->api)));
        }
        sd_notify_ready("serving");
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    worker_free(s->worker);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    node_listener_free(s->node_listener);
    return e;
}

static err serve_run(serving *s) {
    uint32_t classes;
    err e = dataset_find(s->run.experiment.dataset.name, &s->set);
    e = e ? e : experiment_partition(&s->run.experiment, &s->partition, &classes);
    e = e ? e : start_worker_side(s);
    e = e ? e : loop_open(&s->loop);
    if (!e) {
        e = run_loop(s);
        loop_close(&s->loop);
    }
    engine_free(s->engine);
    node_registry_free(s->node_registry);
    results_close(s->results);
    sse_producer_free(s->sse);
    return e;
}

err serve_command(const server_options *options) {
    static serving s; /* one a process */
    sched_slice_shorten();
    s = (serving){.options = options, .described = dynbuf_make(JSON_VIEWS_MAX)};
    err e = blas_begin(2); /* the worker's, and another model's that is loaded meanwhile */
    e = e ? e : run_dir_open(&s.run, options->run);
    if (e) {
        return e;
    }
    e = serve_run(&s);
    dynbuf_free(&s.described);
    run_dir_close(&s.run);
    return e;
}
