/* What is answered where. */
#include "decoder_server/http/http_api_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/http/request_origin.h"

#include <stdio.h>
#include <string.h>

static const char json[] = "application/json";

typedef struct route {
    const char *path, *method;
    unsigned modes;                /* http_api_mode, those that have it */
    bool is_open;                  /* without a token, too */
    void (*start)(api_request *x); /* the head is here; it may be answered already */
    void (*ask)(api_request *x);   /* all of the request is here */
    void (*reply)(api_request *x); /* what it waited for is here */
} route;

static void subscribe(api_request *x) {
    if (!sse_subscribe(x->api->sse, x)) {
        api_request_refuse(x, 503, "busy", "too many listen already");
    }
}

static void ask_report(api_request *x) {
    http_api *api = x->api;
    if (!api->for_report && api->config.ask_report(api->config.context)) {
        http_abort(x->request); /* no memory */
        return;
    }
    x->next = api->for_report;
    api->for_report = x;
}

static void show_nodes(api_request *x) {
    json_views_nodes(&x->reply, &x->api->stats);
    api_request_send(x, 200, json);
}

static void count_connections(http_api *api) {
    if (!api->server) {
        return; /* it is closing: as they were last */
    }
    http_counters c = http_server_count(api->server);
    api->metrics.connections = c.taken;
    api->metrics.connections_refused = c.turned_away;
    api->metrics.connections_cut = c.cut;
    api->metrics.connections_open = c.open;
}

static void show_metrics(api_request *x) {
    http_api *api = x->api;
    count_connections(api);
    metrics_write(&x->reply, &api->metrics, route_paths, ROUTES, sse_count(api->sse), &api->stats);
    api_request_send(x, 200, "text/plain; version=0.0.4; charset=utf-8");
}

static void show_model(api_request *x) {
    dynbuf_add_text(&x->reply, x->api->model.bytes);
    api_request_send(x, 200, json);
}

static void ask_reload(api_request *x) {
    http_api *api = x->api;
    err e =
        api->for_reload ? err_fail(ERR_FULL, "another reload is under way") : api->config.reload(api->config.context);
    if (e) {
        api_request_refuse(x, e == ERR_FULL ? 409 : 503, e == ERR_FULL ? "reload_under_way" : "busy", err_text());
        return;
    }
    api->for_reload = x;
}

void routes_reloaded(http_api *api, const char *text) {
    api_request *x = api->for_reload;
    api->for_reload = NULL;
    if (x && text) {
        api_request_refuse(x, 409, "not_reloaded", text);
    } else if (x) {
        show_model(x);
    }
}

/* Why a balancer should send no requests here; NULL where it should. */
static const char *unready(const http_api *api) {
    if (api->is_stopping) {
        return "stopping";
    }
    if (api->config.mode != HTTP_API_SERVES) {
        return "training";
    }
    if (api->model.length == 0 || api->nodes == 0) {
        return "no_model";
    }
    return api->ready_nodes < api->config.enough_nodes ? "nodes_missing" : NULL;
}

static void show_state(api_request *x, bool ready_matters) {
    const http_api *api = x->api;
    const char *code = unready(api);
    bool ready = !code;
    json_writer w = json_writer_make(&x->reply);
    json_writer_object(&w, NULL);
    json_writer_bool(&w, "ready", ready);
    json_writer_word(&w, "code", ready ? "ready" : code);
    json_writer_uint(&w, "nodes_ready", api->ready_nodes);
    json_writer_uint(&w, "nodes", api->nodes);
    json_writer_word(&w, "mode", api->config.mode == HTTP_API_SERVES ? "serve" : "train");
    json_writer_end_object(&w);
    api_request_send(x, ready_matters && !ready ? 503 : 200, json);
}

static void show_health(api_request *x) {
    show_state(x, false);
}

static void show_readiness(api_request *x) {
    show_state(x, true);
}

static void show_ui(api_request *x) {
    const ui *p = &x->api->ui;
    bool is_known = ui_is_known(p, x->request->head.fields[REQUEST_FIELD_IF_NONE_MATCH]);
    api_request_answer(x, is_known ? 304 : 200, p->fields, UI_FIELDS, is_known ? (span){0} : ui_text());
}

enum { BOTH = HTTP_API_SERVES | HTTP_API_TRAINS };

static const route routes[ROUTES] = {
    [ROUTE_UI] = {"/", "GET", BOTH, true, NULL, show_ui, NULL},
    [ROUTE_CLASSIFY] = {"/v1/classify", "POST", HTTP_API_SERVES, false, classify_start, classify_ask, NULL},
    [ROUTE_RESULTS] = {"/v1/results", "GET", HTTP_API_SERVES, false, NULL, subscribe, NULL},
    [ROUTE_TRAINING] = {"/v1/training", "GET", HTTP_API_TRAINS, false, NULL, subscribe, NULL},
    [ROUTE_NODES] = {"/v1/nodes", "GET", BOTH, false, NULL, ask_report, show_nodes},
    [ROUTE_MODEL] = {"/v1/model", "GET", BOTH, false, NULL, show_model, NULL},
    [ROUTE_RELOAD] = {"/v1/model/reload", "POST", HTTP_API_SERVES, false, NULL, ask_reload, NULL},
    [ROUTE_METRICS] = {"/metrics", "GET", BOTH, false, NULL, ask_report, show_metrics},
    [ROUTE_HEALTH] = {"/healthz", "GET", BOTH, true, NULL, show_health, NULL},
    [ROUTE_READY] = {"/readyz", "GET", BOTH, true, NULL, show_readiness, NULL},
    [ROUTE_NONE] = {"other", "", 0, false, NULL, NULL, NULL},
};

const char *const route_paths[ROUTES] = {"/",         "/v1/classify",     "/v1/results", "/v1/training", "/v1/nodes",
                                         "/v1/model", "/v1/model/reload", "/metrics",    "/healthz",     "/readyz",
                                         "other"};

void routes_reported(http_api *api) {
    api_request *x = api->for_report, *next;
    api->for_report = NULL; /* who comes from here on wants the next report */
    for (; x; x = next) {
        next = x->next;
        x->next = NULL;
        routes[x->route].reply(x);
    }
}

static void forget_report(http_api *api, const api_request *x) {
    for (api_request **at = &api->for_report; *at; at = &(*at)->next) {
        if (*at == x) {
            *at = x->next;
            return;
        }
    }
}

/* The method by a name that stays; NULL: it is none that HTTP has. */
static const char *method_of(span method) {
    static const char *const known[] = {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "CONNECT", "TRACE"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (span_equals(method, known[i])) {
            return known[i];
        }
    }
    return NULL;
}

/* Whether the method is the route's; HEAD goes where GET goes, but not to a stream. */
static bool is_allowed(const route *r, const char *method) {
    return strcmp(method, r->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0 && r->ask != subscribe);
}

/* Whether it may change something. */
static bool is_unsafe(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "OPTIONS") != 0;
}

static void refuse_method(api_request *x, const route *r) {
    bool is_post = strcmp(r->method, "POST") == 0;
    x->allow = is_post ? "POST" : r->ask == subscribe ? "GET" : "GET, HEAD";
    api_request_refuse(x, 405, "method_not_allowed", is_post ? "only with POST" : "only with GET");
}

/* What is answered whatever the path; whether it was. */
static bool answer_any(api_request *x, const request_head *h) {
    const http_api *api = x->api;
    const char *method = method_of(h->method);
    x->method = method ? method : "other";
    if (api->config.allowed_hosts && !request_origin_is_allowed_host(api->config.allowed_hosts, h->host)) {
        api_request_refuse(x, 421, "wrong_host", "requests for this host are not answered here");
    } else if (!method || strcmp(method, "CONNECT") == 0) {
        api_request_refuse(x, 501, "not_implemented", "this method is not known here");
    } else if (is_unsafe(method) && request_origin_is_foreign(h)) {
        api_request_refuse(x, 403, "foreign_site", "pages of other sites may only read here");
    } else if (span_equals(h->target.path, "*")) {
        x->allow = "GET, HEAD, POST, OPTIONS";
        api_request_answer(x, 204, NULL, 0, (span){0});
    } else {
        return false;
    }
    return true;
}

/* The route is known; whether the request may go on, else it is answered. */
static void check_route(api_request *x, const request_head *h) {
    const http_api *api = x->api;
    const route *r = &routes[x->route];
    if (api->config.token && !r->is_open &&
        !api_token_matches(api->config.token, h->fields[REQUEST_FIELD_AUTHORIZATION])) {
        api_request_refuse(x, 401, "unauthorized", "this needs Authorization: Bearer TOKEN");
    } else if (x->route == ROUTE_NONE) {
        api_request_refuse(x, 404, "not_found", "there is nothing here");
    } else if (!(r->modes & api->config.mode)) {
        api_request_refuse(x, 404, "not_found",
                           api->config.mode == HTTP_API_SERVES ? "only while training" : "only while serving");
    } else if (!is_allowed(r, x->method)) {
        refuse_method(x, r);
    } else if (r->start) {
        r->start(x);
    }
}

static api_request *start_api_request(http_api *api, http_request *r) {
    api_request *x = api_request_start(&api->pool, api, r);
    if (x) {
        x->route = ROUTE_NONE;
    } else {
        http_abort(r); /* no memory */
    }
    return x;
}

void routes_begin(void *context, http_request *r) {
    api_request *x = start_api_request(context, r);
    char path[REQUEST_PATH_MAX + 1];
    if (!x || answer_any(x, &r->head)) {
        return;
    }
    if (!request_path_read(r->head.target.path, path)) {
        api_request_refuse(x, 400, "bad_request", "the path has a percent sign without two digits behind it");
        return;
    }
    x->route = 0;
    while (x->route < ROUTE_NONE && strcmp(path, routes[x->route].path) != 0) {
        x->route++;
    }
    check_route(x, &r->head);
}

void routes_take(void *context, http_request *r) {
    const http_api *api = context;
    api_request *x = r->data;
    if (api->is_closing) {
        api_request_refuse(x, 503, "stopping", "the server is stopping");
    } else {
        routes[x->route].ask(x);
    }
}

void routes_refuse(void *context, http_request *r, const http_problem *p) {
    api_request *x = r->data ? r->data : start_api_request(context, r);
    if (x) {
        api_request_refuse(x, p->status, p->code, p->message);
    }
}

/* Not what a caller asked of it that it does not have. */
static bool is_own_failure(unsigned status) {
    return status >= 500 && status != 501 && status != 505;
}

/* Failures of the server's own, and requests of a trace that their caller records, are worth a line (some a second);
 * not that a balancer hears, over and over, that this server is not ready. */
static void log_api_request(http_api *api, const api_request *x, bool is_sent) {
    if (uv_now(api->loop) - api->logged_ms >= 1000) {
        api->logged_ms = uv_now(api->loop);
        api->failures_logged = api->traces_logged = 0;
    }
    bool has_failed = is_own_failure(x->status) && x->route != ROUTE_READY && api->failures_logged < FAILURES_LOGGED;
    bool is_traced = x->is_sampled && api->traces_logged < TRACES_LOGGED;
    api->failures_logged += has_failed;
    api->traces_logged += is_traced;
    log_level level = has_failed || is_traced ? LOG_INFO : LOG_DEBUG;
    if (!log_wants(level)) {
        return;
    }
    char members[LOG_MEMBERS_MAX + 1];
    double ms = (double)(clock_now_ns() - x->started_ns) * 1e-6;
    snprintf(members, sizeof members, "\"status\":%u,\"ms\":%.3f,\"request\":\"%s\"%s%s%s", x->status, ms, x->id,
             x->trace[0] ? ",\"traceparent\":\"" : "", x->trace, x->trace[0] ? "\"" : "");
    log_event_with(level, "http_request", members, "HTTP %s %s: %u%s, %.3f ms, request %s%s%s", x->method,
                   route_paths[x->route], x->status, is_sent ? "" : " (cut off)", ms, x->id,
                   x->trace[0] ? ", traceparent " : "", x->trace);
}

void routes_end(void *context, http_request *r, bool is_sent) {
    http_api *api = context;
    api_request *x = r->data;
    if (!x) {
        return;
    }
    if (x->subscriber) {
        sse_leave(x->subscriber);
    }
    classify_forget(api, x);
    forget_report(api, x);
    api->for_reload = api->for_reload == x ? NULL : api->for_reload;
    metrics_count_request(&api->metrics, x->route, x->status);
    log_api_request(api, x, is_sent);
    api_request_end(&api->pool, x);
}
