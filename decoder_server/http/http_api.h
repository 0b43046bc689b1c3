/* The HTTP API. docs/openapi.yaml specifies it, and the tests check the running server against that.
 *
 * Serving and training use the same API; a path that only one of them has is 404 in the other. Errors are
 * {"error": {"code", "message", "request"}}. With a token, everything but the live page, /healthz and /readyz needs it.
 *
 * Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_API_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_API_H

#include "data/class_names.h"
#include "decoder_server/core/classification.h"
#include "decoder_server/core/stats.h"
#include "decoder_server/http/portion_question.h"
#include "decoder_server/http/routes.h"

#include <uv.h>

typedef struct http_api http_api;

typedef struct http_api_config {
    const char *host;
    uint16_t port;
    routes_mode mode;
    const api_token *token; /* borrowed, as is allowed_hosts; both as routes_policy has them */
    const char *allowed_hosts;
    const class_names *classes;   /* borrowed */
    const experiment *experiment; /* whose portions a sample has; borrowed */
    uint32_t enough_nodes;        /* ready with so many */
    /* Of serving. Hands a question on; http_api_answer follows, at once or later. */
    err (*classify)(void *role, uint64_t request, const question *q);
    /* Appends the JSON of the samples that nodes offer. */
    void (*samples)(void *role, dynbuf *to);
    /* Begins to load the run's model anew; http_api_reloaded follows. ERR_FULL while that is under way. */
    err (*reload)(void *role);
    void *role;
    /* How things stand. */
    void (*stats)(void *context, stats *s);
    /* Somebody listens to events, or nobody any more. */
    void (*listen)(void *context, bool wanted);
    /* The events handed in last are under way. */
    void (*events_taken)(void *context);
    void *context;
} http_api_config;

err http_api_new(http_api **api, uv_loop_t *loop, const http_api_config *config);

/* The body of /v1/model, JSON; copied. */
err http_api_set_model(http_api *api, const char *json);
void http_api_set_ready(http_api *api, uint32_t nodes, uint32_t of);

/* From here on it is not ready and classifies nothing more. */
void http_api_stop(http_api *api);
void http_api_answer(http_api *api, uint64_t request, const classification *a);

/* Ends a reload. `text` NULL: the model of http_api_set_model is in use; else why it is not. */
void http_api_reloaded(http_api *api, const char *text);

/* Whole server-sent events; `dropped` went missing before them. */
void http_api_events(http_api *api, uint64_t dropped, const char *bytes, size_t length);
/* One event that every new subscriber gets first. */
void http_api_add_replay(http_api *api, const char *bytes, size_t length);

uint16_t http_api_port(const http_api *api);

/* Answers what still waits with 503 and stops. The memory is freed in the loop's next turns. */
void http_api_close(http_api *api);

#endif
