#include "decoder_server/http/http_api.h"

#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/http/classify.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/http/request_origin.h"
#include "decoder_server/http/ui.h"

#include <stdio.h>
#include <stdlib.h>

enum { FAILURES_LOGGED = 20, TRACES_LOGGED = 200 };

static const char json[] = "application/json";

struct http_api {
    http_api_config config;
    http_server *server; /* NULL once it closes */
    uv_loop_t *loop;
    routes_policy policy;
    api_request_pool pool;
    classify *classify;
    api_request *for_reload; /* waits for the end of a reload */
    sse *sse;
    metrics metrics;
    stats stats; /* as they were asked for last */
    dynbuf model;
    ui ui;
    uint32_t ready_nodes, nodes;
    uint64_t logged_ms;       /* when the next two began */
    uint32_t failures_logged; /* in this second, at level info */
    uint32_t traces_logged;   /* of requests whose caller records their trace */
    bool is_stopping, is_closing;
};

/* What is answered where. */

static void start_classify(http_api *api, api_request *r) {
    classify_start(api->classify, r);
}

static void take_classify(http_api *api, api_request *r) {
    classify_take(api->classify, r);
}

static void subscribe(http_api *api, api_request *r) {
    if (!sse_subscribe(api->sse, r)) {
        api_request_refuse(r, 503, "busy", "too many listen already");
    }
}

static void show_nodes(http_api *api, api_request *r) {
    api->config.stats(api->config.context, &api->stats);
    json_views_nodes(&r->reply, &api->stats);
    api_request_send(r, 200, json);
}

static void show_samples(http_api *api, api_request *r) {
    api->config.samples(api->config.role, &r->reply);
    api_request_send(r, 200, json);
}

static void show_metrics(http_api *api, api_request *r) {
    if (api->server) { /* else it is closing: as they were last */
        api->metrics.connections = http_server_count(api->server);
    }
    api->config.stats(api->config.context, &api->stats);
    metrics_write(&r->reply, &api->metrics, sse_count(api->sse), &api->stats);
    api_request_send(r, 200, "text/plain; version=0.0.4; charset=utf-8");
}

static void show_model(http_api *api, api_request *r) {
    dynbuf_add(&r->reply, api->model.bytes, api->model.length);
    api_request_send(r, 200, json);
}

static void ask_reload(http_api *api, api_request *r) {
    err e = ERR_FULL;
    if (api->for_reload) {
        err_fail(ERR_FULL, "another reload is under way");
    } else {
        api->for_reload = r;
        e = api->config.reload(api->config.role);
        api->for_reload = e ? NULL : api->for_reload;
    }
    if (e) {
        api_request_refuse(r, e == ERR_FULL ? 409 : 503, e == ERR_FULL ? "reload_under_way" : "busy", err_text());
    }
}

/* Why a balancer should send no requests here; NULL where it should. */
static const char *unready(const http_api *api) {
    if (api->is_stopping) {
        return "stopping";
    }
    if (api->config.mode != ROUTES_SERVING) {
        return "training";
    }
    if (api->model.length == 0 || api->nodes == 0) {
        return "no_model";
    }
    return api->ready_nodes < api->config.enough_nodes ? "nodes_missing" : NULL;
}

static void show_state(http_api *api, api_request *r) {
    const char *code = unready(api);
    json_writer w = json_writer_make(&r->reply);
    json_writer_object(&w, NULL);
    json_writer_bool(&w, "ready", !code);
    json_writer_word(&w, "code", code ? code : "ready");
    json_writer_uint(&w, "nodes_ready", api->ready_nodes);
    json_writer_uint(&w, "nodes", api->nodes);
    json_writer_word(&w, "mode", api->config.mode == ROUTES_SERVING ? "serve" : "train");
    json_writer_end_object(&w);
    api_request_send(r, r->route == ROUTE_READY && code ? 503 : 200, json);
}

static void show_ui(http_api *api, api_request *r) {
    const ui *u = &api->ui;
    bool is_known = ui_is_known(u, r->http->head.fields[REQUEST_FIELD_IF_NONE_MATCH]);
    api_request_answer(r, is_known ? 304 : 200, u->fields, UI_FIELDS, is_known ? (span){0} : ui_text());
}

/* A request once its head is here (it may be answered already), and once all of it is. */
typedef struct handler {
    void (*start)(http_api *api, api_request *r);
    void (*take)(http_api *api, api_request *r);
} handler;

static const handler handlers[ROUTES] = {
    [ROUTE_UI] = {.take = show_ui},           [ROUTE_CLASSIFY] = {.start = start_classify, .take = take_classify},
    [ROUTE_RESULTS] = {.take = subscribe},    [ROUTE_TRAINING] = {.take = subscribe},
    [ROUTE_SAMPLES] = {.take = show_samples}, [ROUTE_NODES] = {.take = show_nodes},
    [ROUTE_MODEL] = {.take = show_model},     [ROUTE_RELOAD] = {.take = ask_reload},
    [ROUTE_METRICS] = {.take = show_metrics}, [ROUTE_HEALTH] = {.take = show_state},
    [ROUTE_READY] = {.take = show_state},
};

/* Requests. */

static api_request *start_request(http_api *api, http_request *http) {
    api_request *r = api_request_start(&api->pool, http);
    if (!r) {
        http_abort(http); /* no memory */
    }
    return r;
}

static void on_begin(void *context, http_request *http) {
    http_api *api = context;
    api_request *r = start_request(api, http);
    if (!r) {
        return;
    }
    routes_match m = routes_find(&api->policy, &http->head);
    r->route = m.route;
    r->method = m.method;
    r->allow = m.allow;
    if (m.problem.status == 204) {
        api_request_answer(r, 204, NULL, 0, (span){0});
    } else if (m.problem.status) {
        api_request_refuse(r, m.problem.status, m.problem.code, m.problem.message);
    } else if (handlers[r->route].start) {
        handlers[r->route].start(api, r);
    }
}

static void on_take(void *context, http_request *http) {
    http_api *api = context;
    api_request *r = http->data;
    if (api->is_closing) {
        api_request_refuse(r, 503, "stopping", "the server is stopping");
    } else {
        handlers[r->route].take(api, r);
    }
}

static void on_refuse(void *context, http_request *http, const http_problem *p) {
    api_request *r = http->data ? http->data : start_request(context, http);
    if (r) {
        api_request_refuse(r, p->status, p->code, p->message);
    }
}

static void on_resume(void *context, http_request *http) {
    (void)context;
    sse_resume(((api_request *)http->data)->subscriber);
}

/* A 5xx status that is not about a feature the server does not have. */
static bool is_own_failure(unsigned status) {
    return status >= 500 && status != 501 && status != 505;
}

/* Failures of the server's own, and requests of a trace that their caller records, get a line in the log (some a
 * second); not that a balancer hears, over and over, that this server is not ready. */
static void log_request(http_api *api, const api_request *r, bool is_sent) {
    if (uv_now(api->loop) - api->logged_ms >= 1000) {
        api->logged_ms = uv_now(api->loop);
        api->failures_logged = api->traces_logged = 0;
    }
    bool has_failed = is_own_failure(r->status) && r->route != ROUTE_READY && api->failures_logged < FAILURES_LOGGED;
    bool is_traced = r->is_sampled && api->traces_logged < TRACES_LOGGED;
    api->failures_logged += has_failed;
    api->traces_logged += is_traced;
    log_level level = has_failed || is_traced ? LOG_INFO : LOG_DEBUG;
    if (!log_wants(level)) {
        return;
    }
    char members[LOG_MEMBERS_MAX + 1];
    double ms = (double)(clock_now_ns() - r->started_ns) * 1e-6;
    snprintf(members, sizeof members, "\"status\":%u,\"ms\":%.3f,\"request\":\"%s\"%s%s%s", r->status, ms, r->id,
             r->trace[0] ? ",\"traceparent\":\"" : "", r->trace, r->trace[0] ? "\"" : "");
    log_event_with(level, "http_request", members, "HTTP %s %s: %u%s, %.3f ms, request %s%s%s", r->method,
                   routes_path(r->route), r->status, is_sent ? "" : " (cut off)", ms, r->id,
                   r->trace[0] ? ", traceparent " : "", r->trace);
}

static void on_end(void *context, http_request *http, bool is_sent) {
    http_api *api = context;
    api_request *r = http->data;
    if (!r) {
        return;
    }
    if (r->subscriber) {
        sse_leave(r->subscriber);
    }
    classify_forget(r);
    api->for_reload = api->for_reload == r ? NULL : api->for_reload;
    metrics_count_request(&api->metrics, r->route, r->status);
    log_request(api, r, is_sent);
    api_request_end(&api->pool, r);
}

/* What comes from outside. */

void http_api_events(http_api *api, uint64_t dropped, const char *bytes, size_t length) {
    sse_add(api->sse, dropped, bytes, length);
}

void http_api_add_replay(http_api *api, const char *bytes, size_t length) {
    sse_add_replay(api->sse, bytes, length);
}

void http_api_answer(http_api *api, uint64_t request, const classification *a) {
    classify_answer(api->classify, request, a);
}

void http_api_set_ready(http_api *api, uint32_t nodes, uint32_t of) {
    api->ready_nodes = nodes;
    api->nodes = of;
}

err http_api_set_model(http_api *api, const char *model) {
    dynbuf_reset(&api->model);
    dynbuf_add_text(&api->model, model);
    return dynbuf_check(&api->model, "the model's description");
}

void http_api_stop(http_api *api) {
    api->is_stopping = true;
}

void http_api_reloaded(http_api *api, const char *text) {
    api_request *r = api->for_reload;
    api->for_reload = NULL;
    if (r && text) {
        api_request_refuse(r, 409, "not_reloaded", text);
    } else if (r) {
        show_model(api, r);
    }
}

/* Start and end. */

static void free_http_api(void *context) {
    http_api *api = context;
    sse_free(api->sse);
    api_request_pool_free(&api->pool);
    dynbuf_free(&api->model);
    classify_free(api->classify);
    free(api);
}

static err start_parts(http_api *api) {
    const http_api_config *c = &api->config;
    const http_callbacks callbacks = {on_begin, on_take, on_refuse, on_resume, on_end, api};
    const sse_callbacks subscribers = {c->listen, c->events_taken, c->context};
    const classify_config asking = {.classes = c->classes,
                                    .experiment = c->experiment,
                                    .ask = c->classify,
                                    .context = c->role,
                                    .metrics = &api->metrics};
    err e = c->allowed_hosts ? request_origin_check_hosts(c->allowed_hosts) : ERR_OK;
    e = e ? e : ui_init(&api->ui);
    e = e ? e : classify_new(&api->classify, api->loop, &asking);
    e = e ? e : http_server_new(&api->server, api->loop, c->host, c->port, &callbacks);
    return e ? e : sse_new(&api->sse, api->loop, &subscribers, c->mode == ROUTES_TRAINING);
}

err http_api_new(http_api **out, uv_loop_t *loop, const http_api_config *config) {
    http_api *api = calloc(1, sizeof *api);
    if (!api) {
        return err_fail(ERR_MEMORY, "no memory for the HTTP side");
    }
    api->config = *config;
    api->policy = (routes_policy){config->mode, config->token, config->allowed_hosts};
    api->loop = loop;
    api->model = dynbuf_make(JSON_VIEWS_MAX);
    err e = start_parts(api);
    if (!e) {
        *out = api;
    } else if (api->server) {
        http_server_close(api->server, free_http_api);
    } else {
        free_http_api(api);
    }
    return e;
}

uint16_t http_api_port(const http_api *api) {
    return http_server_port(api->server);
}

void http_api_close(http_api *api) {
    api->is_closing = true;
    classify_stop(api->classify);
    http_api_reloaded(api, "the server is stopping");
    sse_end(api->sse);
    http_server *server = api->server;
    api->server = NULL;
    http_server_close(server, free_http_api);
}
