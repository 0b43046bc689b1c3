/* What is answered where. */
#include "decoder_server/http/gateway_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/http/views.h"

#include <stdio.h>
#include <string.h>

static const char json[] = "application/json";

typedef struct route {
    const char *path, *method;
    unsigned modes;                        /* gateway_mode, those that have it */
    bool is_open;                          /* without a token, too */
    enum MHD_Result (*start)(exchange *x); /* the head is here; an answer may be queued already */
    enum MHD_Result (*ask)(exchange *x);   /* all of the request is here */
    enum MHD_Result (*reply)(exchange *x); /* it was suspended, and may be answered */
} route;

static enum MHD_Result listen_to_events(exchange *x) {
    struct MHD_Response *response = events_listen(x->gateway->events, x->connection);
    if (!response) {
        return exchange_refuse(x, MHD_HTTP_SERVICE_UNAVAILABLE, "busy", "too many listen already");
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return exchange_queue(x, MHD_HTTP_OK, response);
}

static enum MHD_Result ask_report(exchange *x) {
    gateway *g = x->gateway;
    if (!g->for_report && g->config.ask_report(g->config.context)) {
        return MHD_NO; /* no memory: the connection is closed */
    }
    x->next = g->for_report;
    g->for_report = x;
    x->is_asked = true;
    MHD_suspend_connection(x->connection);
    return MHD_YES;
}

void routes_reported(gateway *g) {
    while (g->for_report) {
        exchange *x = g->for_report;
        g->for_report = x->next;
        x->next = NULL;
        gateway_resume(g, x);
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

static enum MHD_Result show_nodes(exchange *x) {
    views_nodes(&x->reply, &x->gateway->report);
    return exchange_send(x, MHD_HTTP_OK, json);
}

static void count_connections(gateway *g) {
    if (!g->door) {
        return; /* it is closing: as they were last */
    }
    const door_counters *d = door_count(g->door);
    g->metrics.connections = d->taken;
    g->metrics.connections_refused = d->turned_away;
    g->metrics.connections_cut_outside = d->cut;
    g->metrics.connections_open = d->outside + d->inside;
}

static enum MHD_Result show_metrics(exchange *x) {
    gateway *g = x->gateway;
    count_connections(g);
    metrics_write(&x->reply, &g->metrics, route_paths, ROUTES, events_count(g->events), &g->report);
    return exchange_send(x, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8");
}

static enum MHD_Result show_model(exchange *x) {
    text_add(&x->reply, x->gateway->model.bytes);
    return exchange_send(x, MHD_HTTP_OK, json);
}

static enum MHD_Result ask_reload(exchange *x) {
    gateway *g = x->gateway;
    err e = g->for_reload ? err_fail(ERR_FULL, "another reload is under way") : g->config.reload(g->config.context);
    if (e) {
        return exchange_refuse(x, e == ERR_FULL ? MHD_HTTP_CONFLICT : MHD_HTTP_SERVICE_UNAVAILABLE,
                               e == ERR_FULL ? "reload_under_way" : "busy", err_text());
    }
    g->for_reload = x;
    x->is_asked = true;
    MHD_suspend_connection(x->connection);
    return MHD_YES;
}

void routes_reloaded(gateway *g, const char *text) {
    exchange *x = g->for_reload;
    if (x) {
        g->for_reload = NULL;
        x->first.code = text ? "not_reloaded" : NULL;
        snprintf(x->first.message, sizeof x->first.message, "%s", text ? text : "");
        gateway_resume(g, x);
    }
}

static enum MHD_Result show_reload(exchange *x) {
    return x->first.code ? exchange_refuse(x, MHD_HTTP_CONFLICT, x->first.code, x->first.message) : show_model(x);
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

static enum MHD_Result show_state(exchange *x, bool ready_matters) {
    const gateway *g = x->gateway;
    const char *code = unready(g);
    bool ready = !code;
    text_put(&x->reply, "{\"ready\":%s,\"code\":\"%s\",\"nodes_ready\":%u,\"nodes\":%u,\"mode\":\"%s\"}",
             ready ? "true" : "false", ready ? "ready" : code, g->ready_nodes, g->nodes,
             g->config.mode == GATEWAY_SERVES ? "serve" : "train");
    return exchange_send(x, ready_matters && !ready ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, json);
}

static enum MHD_Result show_health(exchange *x) {
    return show_state(x, false);
}

static enum MHD_Result show_readiness(exchange *x) {
    return show_state(x, true);
}

static enum MHD_Result show_page(exchange *x) {
    unsigned status;
    const char *offered = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
    struct MHD_Response *response = page_answer(&x->gateway->page, offered, &status);
    return exchange_queue(x, status, response);
}

enum { BOTH = GATEWAY_SERVES | GATEWAY_TRAINS };

static const route routes[ROUTES] = {
    [ROUTE_PAGE] = {"/", "GET", BOTH, true, NULL, show_page, NULL},
    [ROUTE_CLASSIFY] = {"/v1/classify", "POST", GATEWAY_SERVES, false, classify_start, classify_ask, classify_reply},
    [ROUTE_RESULTS] = {"/v1/results", "GET", GATEWAY_SERVES, false, NULL, listen_to_events, NULL},
    [ROUTE_TRAINING] = {"/v1/training", "GET", GATEWAY_TRAINS, false, NULL, listen_to_events, NULL},
    [ROUTE_NODES] = {"/v1/nodes", "GET", BOTH, false, NULL, ask_report, show_nodes},
    [ROUTE_MODEL] = {"/v1/model", "GET", BOTH, false, NULL, show_model, NULL},
    [ROUTE_RELOAD] = {"/v1/model/reload", "POST", GATEWAY_SERVES, false, NULL, ask_reload, show_reload},
    [ROUTE_METRICS] = {"/metrics", "GET", BOTH, false, NULL, ask_report, show_metrics},
    [ROUTE_HEALTH] = {"/healthz", "GET", BOTH, true, NULL, show_health, NULL},
    [ROUTE_READY] = {"/readyz", "GET", BOTH, true, NULL, show_readiness, NULL},
    [ROUTE_NONE] = {"other", "", 0, false, NULL, NULL, NULL},
};

const char *const route_paths[ROUTES] = {"/",         "/v1/classify",     "/v1/results", "/v1/training", "/v1/nodes",
                                         "/v1/model", "/v1/model/reload", "/metrics",    "/healthz",     "/readyz",
                                         "other"};

/* Whether the method is the route's; HEAD goes where GET goes, but not to a stream. */
static bool is_allowed(const route *r, const char *method) {
    return strcmp(method, r->method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0 && r->ask != listen_to_events);
}

static enum MHD_Result refuse_method(exchange *x, const route *r) {
    bool is_post = strcmp(r->method, "POST") == 0;
    x->allow = is_post ? "POST" : r->ask == listen_to_events ? "GET" : "GET, HEAD";
    return exchange_refuse(x, MHD_HTTP_METHOD_NOT_ALLOWED, "method_not_allowed",
                           is_post ? "only with POST" : "only with GET");
}

/* The route is known; whether the request may go on, else it is answered. */
static enum MHD_Result check_head(exchange *x, const char *method) {
    const gateway *g = x->gateway;
    const route *r = &routes[x->route];
    const char *authorization = MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Authorization");
    if (g->config.token && !r->is_open && !token_fits(g->config.token, authorization)) {
        return exchange_refuse(x, MHD_HTTP_UNAUTHORIZED, "unauthorized", "this needs Authorization: Bearer TOKEN");
    }
    if (x->route == ROUTE_NONE) {
        return exchange_refuse(x, MHD_HTTP_NOT_FOUND, "not_found", "there is nothing here");
    }
    if (!(r->modes & g->config.mode)) {
        return exchange_refuse(x, MHD_HTTP_NOT_FOUND, "not_found",
                               g->config.mode == GATEWAY_SERVES ? "only while training" : "only while serving");
    }
    if (!is_allowed(r, method)) {
        return refuse_method(x, r);
    }
    return r->start ? r->start(x) : MHD_YES;
}

static client *client_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* Something must come within `ms`; 0: nothing need. */
static void expect_from(client *c, const gateway *g, uint64_t ms) {
    if (c) {
        c->until_ms = ms ? uv_now(g->loop) + ms : 0;
    }
}

static enum MHD_Result start_exchange(gateway *g, struct MHD_Connection *connection, const char *url,
                                      const char *method, void **state) {
    exchange *x = exchange_start(&g->pool, g, connection);
    if (!x) {
        return MHD_NO; /* no memory: the connection is closed */
    }
    *state = x;
    x->method = method;
    x->route = 0;
    while (x->route < ROUTE_NONE && strcmp(url, routes[x->route].path) != 0) {
        x->route++;
    }
    expect_from(client_of(connection), g, BODY_MS);
    return check_head(x, method);
}

/* A piece of the body; that of what has none is read and dropped. */
static enum MHD_Result take_body(gateway *g, exchange *x, const char *bytes, size_t length) {
    x->received += length;
    if (x->received > BODY_END && !x->is_resting) { /* one that is suspended must not be closed */
        g->metrics.connections_cut++;
        return MHD_NO; /* it does not end: closed without a word */
    }
    if (routes[x->route].start && !x->status) {
        classify_take(x, bytes, length);
    }
    if (x->received > GATEWAY_BODY_MAX) {
        gateway_rest(g, x);
    }
    return MHD_YES;
}

enum MHD_Result routes_take(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *upload, size_t *upload_length, void **state) {
    (void)version;
    exchange *x = *state;
    if (!x) {
        return start_exchange(context, connection, url, method, state);
    }
    const route *r = &routes[x->route];
    if (*upload_length > 0) {
        size_t length = *upload_length;
        *upload_length = 0;
        return take_body(context, x, upload, length);
    }
    if (x->status || (x->is_asked && !x->is_answered)) {
        return MHD_YES;
    }
    if (x->is_answered) {
        return r->reply(x);
    }
    expect_from(client_of(connection), context, 0);
    if (x->gateway->is_closing) { /* nobody is there to answer: it must not be suspended */
        return exchange_refuse(x, MHD_HTTP_SERVICE_UNAVAILABLE, "stopping", "the server is stopping");
    }
    return r->ask(x);
}

/* Failures of the server's own, and requests of a trace that their caller records, are worth a line (some a second);
 * not that a balancer hears, over and over, that this server is not ready. */
static void log_exchange(gateway *g, const exchange *x, enum MHD_RequestTerminationCode code) {
    bool has_failed =
        x->status >= MHD_HTTP_INTERNAL_SERVER_ERROR && x->route != ROUTE_READY && g->failures_logged < FAILURES_LOGGED;
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
                   x->status, code == MHD_REQUEST_TERMINATED_COMPLETED_OK ? "" : " (cut off)", ms, x->id,
                   x->trace[0] ? ", traceparent " : "", x->trace);
}

void routes_completed(void *context, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code) {
    gateway *g = context;
    exchange *x = *state;
    if (!x) {
        return;
    }
    *state = NULL;
    classify_forget(g, x);
    forget_report(g, x);
    g->for_reload = g->for_reload == x ? NULL : g->for_reload;
    metrics_count_request(&g->metrics, x->route, x->status);
    log_exchange(g, x, code);
    exchange_end(&g->pool, x);
    if (!g->is_closing) {
        expect_from(client_of(connection), g, HEAD_MS);
    }
}
