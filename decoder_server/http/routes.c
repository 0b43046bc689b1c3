#include "decoder_server/http/routes.h"

#include "decoder_server/http/request_origin.h"

#include <string.h>

enum { BOTH = ROUTES_SERVING | ROUTES_TRAINING };

typedef struct route {
    const char *path, *method;
    unsigned modes; /* routes_mode, those that have it */
    bool is_open;   /* without a token, too */
    bool is_stream; /* HEAD does not go where GET goes */
} route;

static const route routes[ROUTES] = {
    [ROUTE_UI] = {"/", "GET", BOTH, true, false},
    [ROUTE_CLASSIFY] = {"/v1/classify", "POST", ROUTES_SERVING, false, false},
    [ROUTE_RESULTS] = {"/v1/results", "GET", ROUTES_SERVING, false, true},
    [ROUTE_TRAINING] = {"/v1/training", "GET", ROUTES_TRAINING, false, true},
    [ROUTE_SAMPLES] = {"/v1/samples", "GET", ROUTES_SERVING, false, false},
    [ROUTE_NODES] = {"/v1/nodes", "GET", BOTH, false, false},
    [ROUTE_MODEL] = {"/v1/model", "GET", BOTH, false, false},
    [ROUTE_RELOAD] = {"/v1/model/reload", "POST", ROUTES_SERVING, false, false},
    [ROUTE_METRICS] = {"/metrics", "GET", BOTH, false, false},
    [ROUTE_HEALTH] = {"/healthz", "GET", BOTH, true, false},
    [ROUTE_READY] = {"/readyz", "GET", BOTH, true, false},
    [ROUTE_NONE] = {"other", "", 0, false, false},
};

const char *routes_path(route_id id) {
    return routes[id].path;
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

static bool is_get(const char *method) {
    return strcmp(method, "GET") == 0;
}

static bool is_allowed(const route *r, const char *method) {
    return strcmp(method, r->method) == 0 || (strcmp(method, "HEAD") == 0 && is_get(r->method) && !r->is_stream);
}

/* Whether it may change something. */
static bool is_unsafe(const char *method) {
    return !is_get(method) && strcmp(method, "HEAD") != 0 && strcmp(method, "OPTIONS") != 0;
}

/* What is answered whatever the path is. */
static http_problem check_any(const routes_policy *policy, const request_head *h, const char *method) {
    if (policy->allowed_hosts && !request_origin_is_allowed_host(policy->allowed_hosts, h->host)) {
        return (http_problem){421, "wrong_host", "requests for this host are not answered here"};
    }
    if (!method || strcmp(method, "CONNECT") == 0) {
        return (http_problem){501, "not_implemented", "this method is not known here"};
    }
    if (is_unsafe(method) && request_origin_is_foreign(h)) {
        return (http_problem){403, "foreign_site", "pages of other sites may only read here"};
    }
    return (http_problem){span_equals(h->target.path, "*") ? 204 : 0, NULL, NULL};
}

static http_problem check_route(const routes_policy *policy, const request_head *h, const routes_match *m) {
    const route *r = &routes[m->route];
    if (policy->token && !r->is_open && !api_token_matches(policy->token, h->fields[REQUEST_FIELD_AUTHORIZATION])) {
        return (http_problem){401, "unauthorized", "this needs Authorization: Bearer TOKEN"};
    }
    if (m->route == ROUTE_NONE) {
        return (http_problem){404, "not_found", "there is nothing here"};
    }
    if (!(r->modes & policy->mode)) {
        const char *message = policy->mode == ROUTES_SERVING ? "only while training" : "only while serving";
        return (http_problem){404, "not_found", message};
    }
    if (!is_allowed(r, m->method)) {
        return (http_problem){405, "method_not_allowed", is_get(r->method) ? "only with GET" : "only with POST"};
    }
    return (http_problem){0};
}

static const char *methods_of(const route *r) {
    return !is_get(r->method) ? "POST" : r->is_stream ? "GET" : "GET, HEAD";
}

routes_match routes_find(const routes_policy *policy, const request_head *h) {
    char path[REQUEST_PATH_MAX + 1];
    const char *method = method_of(h->method);
    routes_match m = {ROUTE_NONE, method ? method : "other", check_any(policy, h, method), NULL};
    if (m.problem.status) {
        m.allow = m.problem.status == 204 ? "GET, HEAD, POST, OPTIONS" : NULL;
        return m;
    }
    if (!request_path_read(h->target.path, path)) {
        m.problem = (http_problem){400, "bad_request", "the path has a percent sign without two digits after it"};
        return m;
    }
    m.route = 0;
    while (m.route < ROUTE_NONE && strcmp(path, routes[m.route].path) != 0) {
        m.route++;
    }
    m.problem = check_route(policy, h, &m);
    m.allow = m.problem.status == 405 ? methods_of(&routes[m.route]) : NULL;
    return m;
}
