#include "decoder_server/serve/serve.h"

#include "base/clock.h"
#include "base/log_limit.h"
#include "decoder_server/core/server_runtime.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/serve/engine.h"
#include "decoder_server/serve/offered_samples.h"
#include "decoder_server/serve/reloader.h"
#include "experiment/derive.h"
#include "nn/blas.h"

#include <stdio.h>

enum {
    WAITING_BYTES_MAX = 256 << 20,
    REQUEST_BYTES = 128 /* a Request's, without its portion */
};

typedef struct given_answer {
    uint64_t request;
    classification answer;
} given_answer;

typedef struct serving {
    const server_options *options;
    run_dir run;
    server_runtime *runtime;
    engine *engine;
    results *results;
    reloader *reloader;
    uv_timer_t drain; /* how long a stop waits */
    bool has_started;
    offered_samples offered;
    dynbuf described; /* what /v1/model says of the model to come */
    stats_reloads reloads;
    /* What the engine is to do once it is not lent. */
    dynbuf requests;          /* u64 number and the packed question of each */
    served_model *next_model; /* to change to; NULL: none */
    bool is_stopping, is_late;
    /* What the engine has said, for once it has returned, and is not lent: the HTTP API may call it again. */
    dynbuf answers; /* given_answer; with room for all that are to come */
    uint32_t unanswered;
    bool has_swapped;
    err swap_code;
    char swap_text[512];
    uint32_t ready_nodes;
    bool is_poll_long;
    bool has_stopped, is_dismissed;
} serving;

/* The engine's host. */

static void tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    node_registry_send(server_runtime_nodes(((serving *)context)->runtime), portion, type, body);
}

static void drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    serving *s = context;
    log_limited(s->is_dismissed ? LOG_INFO : LOG_WARN, "node_dropped", portion + 1, "portion %s is dropped: %s",
                s->run.experiment.portions[portion].name, text);
    node_registry_drop(server_runtime_nodes(s->runtime), portion, reason, text);
}

static void pause_node(void *context, uint32_t portion, bool paused) {
    node_registry_pause(server_runtime_nodes(((serving *)context)->runtime), portion, paused);
}

static void keep_answer(void *context, uint64_t request, const classification *a) {
    given_answer given = {request, *a};
    given.answer.done_ns = clock_now_ns();
    dynbuf_add(&((serving *)context)->answers, &given, sizeof given);
}

static void tell_ready(void *context, uint32_t nodes) {
    ((serving *)context)->ready_nodes = nodes;
}

static void welcome_to(void *context, const served_model *m) {
    node_registry_set_run(server_runtime_nodes(((serving *)context)->runtime), m->run->id, m->text);
}

static void tell_swapped(void *context, err code, const char *text) {
    serving *s = context;
    s->has_swapped = true;
    s->swap_code = code;
    snprintf(s->swap_text, sizeof s->swap_text, "%s", text);
}

/* The runtime's role. */

static void on_joined(void *context, uint32_t portion, const char *name) {
    (void)name;
    engine_joined(((serving *)context)->engine, portion);
}

static void on_left(void *context, uint32_t portion) {
    serving *s = context;
    offered_samples_forget(&s->offered, portion);
    if (!s->is_dismissed) { /* nodes that go now were sent away */
        engine_left(s->engine, portion, clock_now_ns());
    }
}

static void on_message(void *context, uint32_t portion, const message *m) {
    serving *s = context;
    if (m->type == MESSAGE_READY && offered_samples_set(&s->offered, portion, m->body.ready)) {
        drop(s, portion, FEWBIT__REASON__REASON_PROTOCOL, err_text());
        return;
    }
    engine_receive(s->engine, portion, m, clock_now_ns());
    s->is_poll_long = engine_is_full(s->engine);
}

static server_work work_due(void *context) {
    return ((serving *)context)->is_poll_long ? SERVER_WORK_LONG : SERVER_WORK_NONE;
}

static void work(void *context) {
    engine_poll(((serving *)context)->engine, clock_now_ns());
}

static void write_samples(void *context, dynbuf *to) {
    offered_samples_write(&((serving *)context)->offered, to);
}

static void fill_stats(void *context, stats *to) {
    serving *s = context;
    engine_stats(s->engine, to);
    to->reloads = s->reloads;
}

/* Whether every node's link takes its part of a request. */
static bool have_room(const serving *s, const question *q) {
    uint64_t left = question_portions(q, s->run.experiment.portion_count);
    bool has_room = true;
    for (; left > 0 && has_room; left &= left - 1) {
        uint32_t portion = (uint32_t)__builtin_ctzll(left);
        size_t bytes = REQUEST_BYTES + (q->sample ? 0 : q->portions[portion].length);
        has_room = server_runtime_has_room(s->runtime, portion, bytes);
    }
    return has_room;
}

/* With room for the answers to all requests there are, and for its own. */
static err classify_now(serving *s, uint64_t request, const question *q) {
    dynbuf_room(&s->answers, (s->unanswered + 1) * sizeof(given_answer));
    err e = dynbuf_check(&s->answers, "an answer");
    s->answers.has_failed = false;
    if (!e && !have_room(s, q)) {
        e = err_fail(ERR_FULL, "more is asked of a node than it takes");
    }
    if (!e) {
        s->unanswered++;
        engine_classify(s->engine, request, q, clock_now_ns());
    }
    return e;
}

/* A request that comes while the engine is lent waits, with those before it. */
static err classify(void *context, uint64_t request, const question *q) {
    serving *s = context;
    if (!server_runtime_is_lent(s->runtime) && s->requests.length == 0) {
        return classify_now(s, request, q);
    }
    size_t before = s->requests.length;
    dynbuf_add(&s->requests, &request, sizeof request);
    question_pack(&s->requests, q, s->run.experiment.portion_count);
    err e = dynbuf_check(&s->requests, "a request");
    if (e) {
        s->requests.length = before;
        s->requests.has_failed = false;
    }
    return e;
}

static void take_requests(serving *s) {
    const classification busy = {.outcome = CLASSIFICATION_BUSY};
    http_api *http = server_runtime_http(s->runtime);
    for (size_t at = 0; at < s->requests.length;) { /* grows meanwhile */
        const uint8_t *one = (const uint8_t *)s->requests.bytes + at;
        question_portion portions[PARTITION_PORTIONS_MAX];
        question q;
        uint64_t request;
        memcpy(&request, one, sizeof request);
        at += (size_t)(question_unpack(one + sizeof request, s->run.experiment.portion_count, &q, portions) - one);
        if (classify_now(s, request, &q) && http) {
            http_api_answer(http, request, &busy);
        }
    }
    dynbuf_reset(&s->requests);
}

/* Hands on what the engine has said. Whether there was anything: it may have brought new requests. */
static bool pass_on(serving *s) {
    http_api *http = server_runtime_http(s->runtime);
    bool any = s->answers.length > 0 || s->has_swapped;
    server_runtime_set_ready(s->runtime, s->ready_nodes);
    for (size_t at = 0; at < s->answers.length; at += sizeof(given_answer)) { /* grows meanwhile */
        given_answer given;
        memcpy(&given, s->answers.bytes + at, sizeof given);
        s->unanswered--;
        if (http) {
            http_api_answer(http, given.request, &given.answer);
        }
    }
    dynbuf_reset(&s->answers);
    if (s->has_swapped) {
        s->has_swapped = false;
        reloader_changed(s->reloader, s->swap_code, s->swap_text);
    }
    return any;
}

/* What has been asked for while the engine was lent. */
static void catch_up(serving *s, uint64_t now_ns) {
    if (s->next_model) {
        served_model *m = s->next_model;
        s->next_model = NULL;
        engine_swap_model(s->engine, m, now_ns);
    }
    take_requests(s);
    if (s->is_stopping && !s->has_stopped) {
        s->has_stopped = true;
        engine_stop(s->engine, now_ns);
    }
    if (s->is_late) {
        s->is_late = false;
        engine_finish(s->engine, now_ns);
    }
}

static void work_done(void *context) {
    serving *s = context;
    s->is_poll_long = false;
    pass_on(s);
    catch_up(s, clock_now_ns());
}

static int64_t poll_engine(void *context, uint64_t now_ns) {
    serving *s = context;
    int64_t rest_us;
    catch_up(s, now_ns);
    do {
        s->is_poll_long = engine_has_long_work(s->engine, now_ns);
        if (s->is_poll_long) {
            return 0; /* work comes first */
        }
        rest_us = engine_poll(s->engine, now_ns);
    } while (pass_on(s));
    if (s->has_stopped && engine_is_idle(s->engine)) {
        s->is_dismissed = true;
        engine_dismiss(s->engine, "the server is stopping");
        server_runtime_end(s->runtime, ERR_OK, "");
    }
    return rest_us;
}

/* The end. */

static void on_drain_over(uv_timer_t *timer) {
    serving *s = timer->data;
    log_event(LOG_WARN, "drain_timed_out", "what still waits after %lld ms is answered with what is there",
              (long long)s->options->drain_timeout_ms);
    s->is_late = true;
    server_runtime_wake(s->runtime);
}

/* Nothing new; what is under way is answered; then the nodes are sent away. */
static void stop(void *context) {
    serving *s = context;
    log_event(LOG_INFO, "stopping", "stopping");
    server_runtime_let_nobody_in(s->runtime);
    s->is_stopping = true;
    uv_timer_start(&s->drain, on_drain_over, (uint64_t)s->options->drain_timeout_ms, 0);
}

static void close_role(void *context) {
    serving *s = context;
    if (s->has_started) {
        uv_close((uv_handle_t *)&s->drain, NULL);
    }
    reloader_close(s->reloader);
    s->reloader = NULL;
}

/* Another model. */

static err swap_model(void *context, served_model *m) {
    serving *s = context;
    err e = json_views_model(&s->described, m->run, predictor_layout(m->predictor), m->commit);
    if (!e) {
        s->next_model = m;
    }
    return e;
}

static void on_reloaded(void *context, err code, const char *text) {
    serving *s = context;
    http_api *http = server_runtime_http(s->runtime);
    bool is_new = !code && !text[0];
    (*(code ? &s->reloads.failed : is_new ? &s->reloads.changed : &s->reloads.unchanged))++;
    if (code) {
        log_event(LOG_ERROR, "model_kept", "the model stays as it is: %s", text);
    } else if (!is_new) {
        log_event(LOG_INFO, "model_unchanged", "%s", text);
    }
    if (http && is_new && http_api_set_model(http, s->described.bytes)) {
        log_error("%s", err_text());
    }
    if (http) {
        http_api_reloaded(http, code ? text : NULL);
    }
}

static err reload(void *context) {
    serving *s = context;
    return s->reloader ? reloader_start(s->reloader) : err_fail(ERR_FULL, "the server is not ready");
}

/* The start. */

static predictor_options how_to_classify(const server_options *o) {
    return (predictor_options){.table_bytes = (size_t)o->table_mib << 20,
                               .by_stage = o->confidence > 0,
                               .cache_bytes = (size_t)o->cache_mib << 20};
}

static err start_reloader(serving *s, const manifest_commit *commit) {
    reloader_config config = {
        .folder = s->options->run,
        .predictor = how_to_classify(s->options),
        .change = swap_model,
        .done = on_reloaded,
        .context = s,
    };
    served_model_identity first;
    served_model_identify(&s->run, commit, &first);
    err e = reloader_new(&s->reloader, server_runtime_loop(s->runtime), &config, &first);
    return e ? e : server_runtime_on_reload(s->runtime, reloader_ask, s->reloader);
}

static err start(void *context) {
    serving *s = context;
    http_api *http = server_runtime_http(s->runtime);
    const manifest_commit *commit;
    codeword layout = experiment_codeword(&s->run.experiment);
    uv_timer_init(server_runtime_loop(s->runtime), &s->drain);
    s->drain.data = s;
    s->has_started = true;
    err e = run_dir_served_commit(&s->run, &commit);
    e = e ? e : json_views_model(&s->described, &s->run, &layout, commit);
    e = e || !http ? e : http_api_set_model(http, s->described.bytes);
    return e ? e : start_reloader(s, commit);
}

static err open_results(serving *s) {
    char path[FILE_PATH_MAX];
    const char *asked = s->options->results;
    err e = file_path(path, sizeof path, asked ? "%s" : "%s/results.jsonl", asked ? asked : s->run.folder);
    return e ? e : results_open(&s->results, path, &s->run.identity.classes, s->run.experiment.portion_count);
}

static err open_engine(serving *s) {
    const server_options *o = s->options;
    const engine_host host = {tell, drop, pause_node, keep_answer, tell_ready, welcome_to, tell_swapped, s};
    const engine_options options = {
        .deadline_ns = (uint64_t)o->deadline_ms * 1000000u,
        .answer_timeout_ns = (uint64_t)o->answer_timeout_s * 1000000000u,
        .max_batch_delay_ns = (uint64_t)o->max_batch_delay_us * 1000u,
        .predictor = how_to_classify(o),
        .stall_timeout_ns = (uint64_t)o->heartbeat_ms * 3000000u,
        .first_session = (uint64_t)clock_unix_ms() << 16,
        .confidence = (float)o->confidence,
    };
    err e = open_results(s);
    if (!e) {
        results_set_sse(s->results, server_runtime_sse(s->runtime));
    }
    return e ? e : engine_new(&s->engine, &s->run, s->results, &options, &host);
}

static err serve_run(serving *s) {
    static const server_role role = {start, on_joined, on_left,    on_message, poll_engine, work_due,
                                     work,  work_done, fill_stats, stop,       close_role};
    const server_runtime_config config = {
        .options = s->options,
        .classes = &s->run.identity.classes,
        .nodes = {.experiment = &s->run.experiment, .run = s->run.id, .mode = FEWBIT__MODE__MODE_SERVE},
        .mode = ROUTES_SERVING,
        .enough_nodes = (uint32_t)s->options->ready_nodes,
        .classify = classify,
        .samples = write_samples,
        .reload = reload,
    };
    err e = server_runtime_new(&s->runtime, &config, &role, s);
    e = e ? e : open_engine(s);
    e = e ? e : server_runtime_run(s->runtime);
    engine_free(s->engine);
    results_close(s->results);
    server_runtime_free(s->runtime);
    served_model_free(s->next_model);
    return e;
}

err serve_command(const server_options *options) {
    static serving s; /* one a process */
    s = (serving){.options = options,
                  .described = dynbuf_make(JSON_VIEWS_MAX),
                  .requests = dynbuf_make(WAITING_BYTES_MAX),
                  .answers = dynbuf_make(WAITING_BYTES_MAX)};
    err e = blas_begin(2); /* the engine's, and another model's that is loaded meanwhile */
    e = e ? e : run_dir_open(&s.run, options->run);
    if (e) {
        return e;
    }
    e = serve_run(&s);
    offered_samples_free(&s.offered);
    dynbuf_free(&s.described);
    dynbuf_free(&s.requests);
    dynbuf_free(&s.answers);
    run_dir_close(&s.run);
    return e;
}
