/* What is answered where. */
#include "decoder_server/http/gateway_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/http/site.h"
#include "decoder_server/http/views.h"

#include <stdio.h>
#include <string.h>

static const char json[] = "application/json";

typedef struct route {
    const char *path, *method;
    unsigned modes;             /* gateway_mode, those that have it */
    bool is_open;               /* without a token, too */
    void (*start)(exchange *x); /* the head is here; it may be answered already */
    void (*ask)(exchange *x);   /* all of the request is here */
    void (*reply)(exchange *x); /* what it waited for is here */
} route;

static void listen_to_events(exchange *x) {
    if (!events_listen(x->gateway->events, x)) {
        exchange_refuse(x, 503, "busy", "too many listen already");
    }
}

static void ask_report(exchange *x) {
    gateway *g = x->gateway;
    if (!g->for_report && g->config.ask_report(g->config.context)) {
        http_drop(x->request); /* no memory */
        return;
    }
    x->next = g->for_report;
    g->for_report = x;
}

static void show_nodes(exchange *x) {
    views_nodes(&x->reply, &x->gateway->report);
    exchange_send(x, 200, json);
}

static void count_connections(gateway *g) {
    if (!g->server) {
        return; /* it is closing: as they were last */
    }
    http_counters c = http_server_count(g->server);
    g->metrics.connections = c.taken;
    g->metrics.connections_refused = c.turned_away;
    g->metrics.connections_cut = c.cut;
    g->metrics.connections_open = c.open;
}

static void show_metrics(exchange *x) {
    gateway *g = x->gateway;
    count_connections(g);
    metrics_write(&x->reply, &g->metrics, route_paths, ROUTES, events_count(g->events), &g->report);
    exchange_send(x, 200, "text/plain; version=0.0.4; charset=utf-8");
}

static void show_model(exchange *x) {
    text_add(&x->reply, x->gateway->model.bytes);
    exchange_send(x, 200, json);
}

static void ask_reload(exchange *x) {
    gateway *g = x->gateway;
    err e = g->for_reload ? err_fail(ERR_FULL, "another reload is under way") : g->config.reload(g->config.context);
    if (e) {
        exchange_refuse(x, e == ERR_FULL ? 409 : 503, e == ERR_FULL ? "reload_under_way" : "busy", err_text());
        return;
    }
    g->for_reload = x;
}

void routes_reloaded(gateway *g, const char *text) {
    exchange *x = g->for_reload;
    g->for_reload = NULL;
    if (x && text) {
        exchange_refuse(x, 409, "not_reloaded", text);
    } else if (x) {
        show_model(x);
    }
}

/* Why a balancer should send no requests here; NULL where it should. */
static const char *unready(const gateway *g) {
    if (g->is_stopping) {
        return "stopping";
    }
    if (g->config.mode != GATEWAY_SERVES) {
        return "training";
    }
    if (g->model.length == 0 || g->nodes == 0) {
        return "no_model";
    }
    return g->ready_nodes < g->config.enough_nodes ? "nodes_missing" : NULL;
}

static void show_state(exchange *x, bool ready_matters) {
    const gateway *g = x->gateway;
    const char *code = unready(g);
    bool ready = !code;
    text_put(&x->reply, "{\"ready\":%s,\"code\":\"%s\",\"nodes_ready\":%u,\"nodes\":%u,\"mode\":\"%s\"}",
             ready ? "true" : "false", ready ? "ready" : code, g->ready_nodes, g->nodes,
             g->config.mode == GATEWAY_SERVES ? "serve" : "train");
    exchange_send(x, ready_matters && !ready ? 503 : 200, json);
}

static void show_health(exchange *x) {
    show_state(x, false);
}

static void show_readiness(exchange *x) {
    show_state(x, true);
}

static void show_page(exchange *x) {
    const page *p = &x->gateway->page;
    bool is_known = page_is_known(p, x->request->head.fields[FIELD_IF_NONE_MATCH]);
    exchange_answer(x, is_known ? 304 : 200, p->fields, PAGE_FIELDS, is_known ? (span){0} : page_text());
}

enum { BOTH = GATEWAY_SERVES | GATEWAY_TRAINS };

static const route routes[ROUTES] = {
    [ROUTE_PAGE] = {"/", "GET", BOTH, true, NULL, show_page, NULL},
    [ROUTE_CLASSIFY] = {"/v1/classify", "POST", GATEWAY_SERVES, false, classify_start, classify_ask, NULL},
    [ROUTE_RESULTS] = {"/v1/results", "GET", GATEWAY_SERVES, false, NULL, listen_to_events, NULL},
    [ROUTE_TRAINING] = {"/v1/training", "GET", GATEWAY_TRAINS, false, NULL, listen_to_events, NULL},
    [ROUTE_NODES] = {"/v1/nodes", "GET", BOTH, false, NULL, ask_report, show_nodes},
    [ROUTE_MODEL] = {"/v1/model", "GET", BOTH, false, NULL, show_model, NULL},
    [ROUTE_RELOAD] = {"/v1/model/reload", "POST", GATEWAY_SERVES, false, NULL, ask_reload, NULL},
    [ROUTE_METRICS] = {"/metrics", "GET", BOTH, false, NULL, ask_report, show_metrics},
    [ROUTE_HEALTH] = {"/healthz", "GET", BOTH, true, NULL, show_health, NULL},
    [ROUTE_READY] = {"/readyz", "GET", BOTH, true, NULL, show_readiness, NULL},
    [ROUTE_NONE] = {"other", "", 0, false, NULL, NULL, NULL},
};

const char *const route_paths[ROUTES] = {"/",         "/v1/classify",     "/v1/results", "/v1/training", "/v1/nodes",
                                         "/v1/model", "/v1/model/reload", "/metrics",    "/healthz",     "/readyz",
                                         "other"};

void routes_reported(gateway *g) {
    exchange *x = g->for_report, *next;
    g->for_report = NULL; /* who comes from here on wants the next report */
    for (; x; x = next) {
        next = x->next;
        x->next = NULL;
        routes[x->route].reply(x);
    }
}

static void forget_report(gateway *g, const exchange *x) {
    for (exchange **at = &g->for_report; *at; at = &(*at)->next) {
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
           (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0 && r->ask != listen_to_events);
}

/* Whether it may change something. */
static bool is_unsafe(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 && strcmp(method, "OPTIONS") != 0;
}

static void refuse_method(exchange *x, const route *r) {
    bool is_post = strcmp(r->method, "POST") == 0;
    x->allow = is_post ? "POST" : r->ask == listen_to_events ? "GET" : "GET, HEAD";
    exchange_refuse(x, 405, "method_not_allowed", is_post ? "only with POST" : "only with GET");
}

/* What is answered whatever the path; whether it was. */
static bool answer_any(exchange *x, const request_head *h) {
    const gateway *g = x->gateway;
    const char *method = method_of(h->method);
    x->method = method ? method : "other";
    if (g->config.allowed_hosts && !site_is_named(g->config.allowed_hosts, h->host)) {
        exchange_refuse(x, 421, "wrong_host", "requests for this host are not answered here");
    } else if (!method || strcmp(method, "CONNECT") == 0) {
        exchange_refuse(x, 501, "not_implemented", "this method is not known here");
    } else if (is_unsafe(method) && site_is_foreign(h)) {
        exchange_refuse(x, 403, "foreign_site", "pages of other sites may only read here");
    } else if (span_equals(h->target.path, "*")) {
        x->allow = "GET, HEAD, POST, OPTIONS";
        exchange_answer(x, 204, NULL, 0, (span){0});
    } else {
        return false;
    }
    return true;
}

/* The route is known; whether the request may go on, else it is answered. */
static void check_route(exchange *x, const request_head *h) {
    const gateway *g = x->gateway;
    const route *r = &routes[x->route];
    if (g->config.token && !r->is_open && !token_fits(g->config.token, h->fields[FIELD_AUTHORIZATION])) {
        exchange_refuse(x, 401, "unauthorized", "this needs Authorization: Bearer TOKEN");
    } else if (x->route == ROUTE_NONE) {
        exchange_refuse(x, 404, "not_found", "there is nothing here");
    } else if (!(r->modes & g->config.mode)) {
        exchange_refuse(x, 404, "not_found",
                        g->config.mode == GATEWAY_SERVES ? "only while training" : "only while serving");
    } else if (!is_allowed(r, x->method)) {
        refuse_method(x, r);
    } else if (r->start) {
        r->start(x);
    }
}

static exchange *start_exchange(gateway *g, http_request *r) {
    exchange *x = exchange_start(&g->pool, g, r);
    if (x) {
        x->route = ROUTE_NONE;
    } else {
        http_drop(r); /* no memory */
    }
    return x;
}

void routes_begin(void *context, http_request *r) {
    exchange *x = start_exchange(context, r);
    char path[REQUEST_PATH_MAX + 1];
    if (!x || answer_any(x, &r->head)) {
        return;
    }
    if (!request_path_read(r->head.target.path, path)) {
        exchange_refuse(x, 400, "bad_request", "the path has a percent sign without two digits behind it");
        return;
    }
    x->route = 0;
    while (x->route < ROUTE_NONE && strcmp(path, routes[x->route].path) != 0) {
        x->route++;
    }
    check_route(x, &r->head);
}

void routes_take(void *context, http_request *r) {
    const gateway *g = context;
    exchange *x = r->mark;
    if (g->is_closing) {
        exchange_refuse(x, 503, "stopping", "the server is stopping");
    } else {
        routes[x->route].ask(x);
    }
}

void routes_refuse(void *context, http_request *r, const http_problem *p) {
    exchange *x = r->mark ? r->mark : start_exchange(context, r);
    if (x) {
        exchange_refuse(x, p->status, p->code, p->message);
    }
}

/* Not what a caller asked of it that it does not have. */
static bool is_own_failure(unsigned status) {
    return status >= 500 && status != 501 && status != 505;
}

/* Failures of the server's own, and requests of a trace that their caller records, are worth a line (some a second);
 * not that a balancer hears, over and over, that this server is not ready. */
static void log_exchange(gateway *g, const exchange *x, bool is_sent) {
    if (uv_now(g->loop) - g->logged_ms >= 1000) {
        g->logged_ms = uv_now(g->loop);
        g->failures_logged = g->traces_logged = 0;
    }
    bool has_failed = is_own_failure(x->status) && x->route != ROUTE_READY && g->failures_logged < FAILURES_LOGGED;
    bool is_traced = x->is_sampled && g->traces_logged < TRACES_LOGGED;
    g->failures_logged += has_failed;
    g->traces_logged += is_traced;
    log_level level = has_failed || is_traced ? LOG_INFO : LOG_DEBUG;
    if (!log_wants(level)) {
        return;
    }
    char members[LOG_MEMBERS_MAX + 1];
    double ms = (double)(clock_now_ns() - x->started_ns) * 1e-6;
    snprintf(members, sizeof members, "\"status\":%u,\"ms\":%.3f,\"request\":\"%s\"%s%s%s", x->status, ms, x->id,
             x->trace[0] ? ",\"traceparent\":\"" : "", x->trace, x->trace[0] ? "\"" : "");
    log_write_with(level, members, "HTTP %s %s: %u%s, %.3f ms, request %s%s%s", x->method, route_paths[x->route],
                   x->status, is_sent ? "" : " (cut off)", ms, x->id, x->trace[0] ? ", traceparent " : "", x->trace);
}

void routes_end(void *context, http_request *r, bool is_sent) {
    gateway *g = context;
    exchange *x = r->mark;
    if (!x) {
        return;
    }
    if (x->listener) {
        events_leave(x->listener);
    }
    classify_forget(g, x);
    forget_report(g, x);
    g->for_reload = g->for_reload == x ? NULL : g->for_reload;
    metrics_count_request(&g->metrics, x->route, x->status);
    log_exchange(g, x, is_sent);
    exchange_end(&g->pool, x);
}
