/* The inside of the HTTP API, for the files it is partitioned in: http_api.c (its life), routes.c (what is answered
 * where), classify.c (POST /v1/classify). */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_API_INSIDE_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_API_INSIDE_H

#include "decoder_server/http/api_request.h"
#include "decoder_server/http/http_api.h"
#include "decoder_server/http/metrics.h"
#include "decoder_server/http/sse.h"
#include "decoder_server/http/ui.h"

enum { REQUESTS_MAX = 4096, FAILURES_LOGGED = 20, TRACES_LOGGED = 200 };

typedef enum route_id {
    ROUTE_UI,
    ROUTE_CLASSIFY,
    ROUTE_RESULTS,
    ROUTE_TRAINING,
    ROUTE_NODES,
    ROUTE_MODEL,
    ROUTE_RELOAD,
    ROUTE_METRICS,
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_NONE, /* there is nothing at that path */
    ROUTES
} route_id;

struct http_api {
    http_api_config config;
    http_server *server; /* NULL once it closes */
    uv_loop_t *loop;
    api_request_pool pool;
    classify_item *asked[REQUESTS_MAX]; /* by number % REQUESTS_MAX */
    uint64_t last_request;
    api_request *for_report; /* wait for a report */
    api_request *for_reload; /* waits for the end of a reload */
    sse *sse;
    metrics metrics;
    stats stats;
    dynbuf model;
    ui ui;
    uint32_t ready_nodes, nodes;
    image_queue *images;      /* NULL once it closes */
    uint64_t logged_ms;       /* when the next two began */
    uint32_t failures_logged; /* in this second, at level info */
    uint32_t traces_logged;   /* of requests whose caller records their trace */
    bool is_stopping, is_closing;
};

/* routes.c */
extern const char *const route_paths[ROUTES];

/* The server's host; `context` is the http_api. */
void routes_begin(void *context, http_request *r);
void routes_take(void *context, http_request *r);
void routes_refuse(void *context, http_request *r, const http_problem *p);
void routes_end(void *context, http_request *r, bool is_sent);

/* Answers all that wait for a report with api->stats. */
void routes_reported(http_api *api);

/* Answers whoever waits for the end of a reload; `text` is not NULL: why it has failed. */
void routes_reloaded(http_api *api, const char *text);

/* classify.c: a request to POST /v1/classify, once its head and once all of it is here. Each may answer. */
void classify_start(api_request *x);
void classify_ask(api_request *x);
/* Where the images of a request come from, and go. */
extern const image_queue_callbacks classify_images;
/* The answer to one question. */
void classify_answered(http_api *api, classify_item *q, const classification *a);
void classify_forget(http_api *api, api_request *x);

#endif
