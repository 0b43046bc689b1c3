/* The gateway: the HTTP API on the loop. docs/openapi.yaml says what it answers, the tests hold it
 * against the running server.
 *
 * Serving and training use the same gateway; what only one of them has answers 404 in the other. Errors are
 * {"error": {"code", "message", "request"}}. With a token, everything but the live page, /healthz and
 * /readyz wants it.
 *
 * Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_GATEWAY_H
#define FEWBIT_DECODER_SERVER_HTTP_GATEWAY_H

#include "data/dataset.h"
#include "decoder_server/answer.h"
#include "decoder_server/http/token.h"
#include "decoder_server/mail.h"
#include "decoder_server/report.h"

#include <uv.h>

typedef struct gateway gateway;

typedef enum gateway_mode { GATEWAY_SERVES = 1, GATEWAY_TRAINS = 2 } gateway_mode;

typedef struct gateway_config {
    const char *host;
    uint16_t port;
    gateway_mode mode;
    const token *token; /* borrowed; NULL: everybody may ask */
    const char
        *allowed_hosts; /* borrowed; only requests for these are answered (site.h); NULL: whatever they are for */
    const dataset *set;
    split shape;
    uint32_t enough_nodes; /* ready with so many */
    /* Hands a sample's elements on; gateway_answer follows. Serving only. */
    err (*classify)(void *context, uint64_t request, const uint8_t *sample, size_t length);
    /* gateway_report follows. */
    err (*ask_report)(void *context);
    /* Begins to load the run's model anew; gateway_reloaded follows. ERR_FULL while that is under way. Serving only. */
    err (*reload)(void *context);
    /* Somebody listens to events, or nobody any more. */
    void (*listen)(void *context, bool wanted);
    /* The events handed in last are under way. */
    void (*events_taken)(void *context);
    void *context;
} gateway_config;

err gateway_new(gateway **g, uv_loop_t *loop, const gateway_config *config);

/* The body of /v1/model, JSON; copied. */
err gateway_set_model(gateway *g, const char *json);
void gateway_set_ready(gateway *g, uint32_t nodes, uint32_t of);

/* From here on it is not ready, whatever the nodes, and classifies nothing more. */
void gateway_stop(gateway *g);
void gateway_answer(gateway *g, uint64_t request, const answer *a);
void gateway_report(gateway *g, const report *r);

/* `text` NULL: the model, as gateway_set_model has it, is in use; else why it is not. */
void gateway_reloaded(gateway *g, const char *text);

/* Whole server-sent events; `dropped` went missing before them. */
void gateway_events(gateway *g, uint64_t dropped, const char *bytes, size_t length);
/* One event that every new listener gets first. */
void gateway_greet(gateway *g, const char *bytes, size_t length);

uint16_t gateway_port(const gateway *g);

/* Answers what still waits with 503, stops; the memory goes with the loop's next turns. */
void gateway_close(gateway *g);

#endif
