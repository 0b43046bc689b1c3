/* The inside of the gateway, for the files it is parted in: gateway.c (the daemon on the loop), routes.c (what is
 * answered where), classify.c (POST /v1/classify). */
#ifndef FEWBIT_DECODER_SERVER_HTTP_GATEWAY_INSIDE_H
#define FEWBIT_DECODER_SERVER_HTTP_GATEWAY_INSIDE_H

#include "decoder_server/http/events.h"
#include "decoder_server/http/exchange.h"
#include "decoder_server/http/gateway.h"
#include "decoder_server/http/metrics.h"
#include "decoder_server/http/page.h"
#include "wire/door.h"

/* HEAD_MS: from a connection's start, or the end of an answer, to the whole head of the (next) request. BODY_MS: from
 * there to the end of the body. */
enum { REQUESTS_MAX = 4096, HEAD_MS = 10000, BODY_MS = 20000, FAILURES_LOGGED = 20, TRACES_LOGGED = 200 };

/* A body beyond GATEWAY_BODY_MAX is read on, slowly, so that its sender comes to read the refusal; beyond BODY_END its
 * connection is cut, and one announced as longer is refused unread. */
enum { BODY_END = 8 << 20 };

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

/* An HTTP connection. */
typedef struct client {
    struct client *next, *before;
    int socket;
    uint64_t until_ms; /* when what is expected of it must be there: the head of a request, its body; 0: nothing is */
    bool is_cut;
} client;

struct gateway {
    gateway_config config;
    struct MHD_Daemon *daemon;
    door *door; /* NULL once it closes */
    uv_loop_t *loop;
    uv_poll_t *poll;
    uv_timer_t *timer, *watch, *rest;
    uv_idle_t *idle;
    client *clients;
    exchange_pool pool;
    question *asked[REQUESTS_MAX]; /* by number % REQUESTS_MAX */
    uint64_t last_request;
    exchange *for_report; /* wait for a report */
    exchange *for_reload; /* waits for the end of a reload */
    exchange *resting, **resting_end;
    events *events;
    metrics metrics;
    report report;
    text model;
    page page;
    uint32_t ready_nodes, nodes;
    uint8_t *sample;
    uint64_t watched_ms;      /* when `failures_logged` began */
    uint32_t failures_logged; /* in this second, at level info */
    uint32_t traces_logged;   /* of requests whose caller records their trace */
    bool has_left;            /* a connection has ended since on_enter set this to false */
    bool is_running;          /* inside MHD_run */
    bool has_resumed;         /* connections were resumed since the last run */
    bool is_stopping, is_closing;
};

/* routes.c */
extern const char *const route_paths[ROUTES];

/* The access handler of the daemon; `state` is the exchange. */
enum MHD_Result routes_take(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                            const char *version, const char *upload, size_t *upload_length, void **state);
void routes_completed(void *context, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code);

/* Answers all that wait for a report with g->report. */
void routes_reported(gateway *g);

/* Answers whoever waits for the end of a reload; `text` is not NULL: why it has failed. */
void routes_reloaded(gateway *g, const char *text);

/* classify.c: a request to POST /v1/classify. Its head is here (anything but MHD_YES ends the exchange); a piece of its
 * body; all of it; its answers. */
enum MHD_Result classify_start(exchange *x);
void classify_take(exchange *x, const char *bytes, size_t length);
enum MHD_Result classify_ask(exchange *x);
enum MHD_Result classify_reply(exchange *x);
/* The answer to one question. */
void classify_answered(gateway *g, question *q, const answer *a);
void classify_forget(gateway *g, exchange *x);

/* Lets a suspended exchange go on. */
void gateway_resume(gateway *g, exchange *x);

/* Suspends an exchange whose body is too long for a few milliseconds: whoever pours bytes in keeps nobody waiting. */
void gateway_rest(gateway *g, exchange *x);

#endif
