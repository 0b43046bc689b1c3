/* The inside of the gateway, for the files it is parted in: gateway.c (its life), routes.c (what is answered where),
 * classify.c (POST /v1/classify). */
#ifndef FEWBIT_DECODER_SERVER_HTTP_GATEWAY_INSIDE_H
#define FEWBIT_DECODER_SERVER_HTTP_GATEWAY_INSIDE_H

#include "decoder_server/http/events.h"
#include "decoder_server/http/exchange.h"
#include "decoder_server/http/gateway.h"
#include "decoder_server/http/metrics.h"
#include "decoder_server/http/page.h"

enum { REQUESTS_MAX = 4096, FAILURES_LOGGED = 20, TRACES_LOGGED = 200 };

typedef enum route_id {
    ROUTE_PAGE,
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

struct gateway {
    gateway_config config;
    http_server *server; /* NULL once it closes */
    uv_loop_t *loop;
    exchange_pool pool;
    question *asked[REQUESTS_MAX]; /* by number % REQUESTS_MAX */
    uint64_t last_request;
    exchange *for_report; /* wait for a report */
    exchange *for_reload; /* waits for the end of a reload */
    events *events;
    metrics metrics;
    report report;
    text model;
    page page;
    uint32_t ready_nodes, nodes;
    image_queue *images;      /* NULL once it closes */
    uint64_t logged_ms;       /* when the next two began */
    uint32_t failures_logged; /* in this second, at level info */
    uint32_t traces_logged;   /* of requests whose caller records their trace */
    bool is_stopping, is_closing;
};

/* routes.c */
extern const char *const route_paths[ROUTES];

/* The server's host; `context` is the gateway. */
void routes_begin(void *context, http_request *r);
void routes_take(void *context, http_request *r);
void routes_refuse(void *context, http_request *r, const http_problem *p);
void routes_end(void *context, http_request *r, bool is_sent);

/* Answers all that wait for a report with g->report. */
void routes_reported(gateway *g);

/* Answers whoever waits for the end of a reload; `text` is not NULL: why it has failed. */
void routes_reloaded(gateway *g, const char *text);

/* classify.c: a request to POST /v1/classify, once its head and once all of it is here. Each may answer. */
void classify_start(exchange *x);
void classify_ask(exchange *x);
/* Where the images of a request come from, and go. */
extern const image_queue_host classify_images;
/* The answer to one question. */
void classify_answered(gateway *g, question *q, const answer *a);
void classify_forget(gateway *g, exchange *x);

#endif
