/* Routes: which route a request is for, and why others are refused. Pure. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_ROUTES_H
#define FEWBIT_DECODER_SERVER_HTTP_ROUTES_H

#include "decoder_server/http/api_token.h"
#include "decoder_server/http/request_head.h"

typedef enum route_id {
    ROUTE_UI,
    ROUTE_CLASSIFY,
    ROUTE_RESULTS,
    ROUTE_TRAINING,
    ROUTE_SAMPLES,
    ROUTE_NODES,
    ROUTE_MODEL,
    ROUTE_RELOAD,
    ROUTE_METRICS,
    ROUTE_HEALTH,
    ROUTE_READY,
    ROUTE_NONE, /* there is nothing at that path */
    ROUTES
} route_id;

/* What the server does; some routes exist in one mode only. */
typedef enum routes_mode { ROUTES_SERVING = 1, ROUTES_TRAINING = 2 } routes_mode;

typedef struct routes_policy {
    routes_mode mode;
    const api_token *token;    /* NULL: everybody may ask */
    const char *allowed_hosts; /* only requests for these are answered (request_origin.h); NULL: for any */
} routes_policy;

typedef struct routes_match {
    route_id route;
    const char *method;   /* static text: the method, "other" for one that HTTP does not have */
    http_problem problem; /* its status is 0: the request may go on; 204: that is the answer, without a body */
    const char *allow;    /* the Allow field of the answer; NULL: none */
} routes_match;

/* "other" for ROUTE_NONE. */
const char *routes_path(route_id route);

routes_match routes_find(const routes_policy *policy, const request_head *h);

#endif
