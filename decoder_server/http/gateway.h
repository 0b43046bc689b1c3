/* The gateway: HTTP (libmicrohttpd) on the libuv loop.
 *
 *   POST /v1/classify   body: image/png, or application/octet-stream with a sample's raw elements -> JSON
 *   GET  /healthz       200 while the process runs
 *   GET  /readyz        200 once every node is ready, else 503
 *
 * Errors are {"error": {"code": …, "message": …}}. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_GATEWAY_H
#define FEWBIT_DECODER_SERVER_HTTP_GATEWAY_H

#include "data/dataset.h"
#include "decoder_server/answer.h"

#include <uv.h>

typedef struct gateway gateway;

enum { GATEWAY_BODY_MAX = 1 << 20, GATEWAY_CONNECTIONS_MAX = 1024 };

typedef struct gateway_config {
    const char *host;
    uint16_t port;
    const dataset *set;
    split shape;
    /* Hands a sample's elements on; gateway_answer follows. */
    err (*classify)(void *context, uint64_t request, const uint8_t *sample, size_t length);
    void *context;
} gateway_config;

err gateway_new(gateway **g, uv_loop_t *loop, const gateway_config *config);

void gateway_answer(gateway *g, uint64_t request, const answer *a);
void gateway_set_ready(gateway *g, uint32_t nodes, uint32_t of);

/* From here on it is not ready, whatever the nodes, and takes no request but for the states. */
void gateway_stop(gateway *g);

uint16_t gateway_port(const gateway *g);

/* Answers what still waits with 503, stops; the memory goes with the loop's next turns. */
void gateway_close(gateway *g);

#endif
