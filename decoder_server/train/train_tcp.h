/* Training over TCP: the coordinator on the worker, the node listener on the loop. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_TCP_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_TCP_H

#include "base/err.h"
#include "data/labels.h"
#include "decoder_server/core/run_dir.h"
#include "wire/tls.h"

typedef struct train_tcp_config {
    run_dir *run;         /* borrowed */
    const labels *labels; /* borrowed */
    const char *host;
    uint16_t port;
    tls_context *tls;         /* NULL: plain text; borrowed */
    const char *address_file; /* file, or NULL */
    const char *http_host;    /* NULL: nothing over HTTP */
    uint16_t http_port;
    const char *token_file;    /* of the HTTP side, or NULL */
    const char *allowed_hosts; /* of the HTTP side, or NULL */
    uint32_t heartbeat_ms;
    uint32_t answer_timeout_s; /* who owes an answer for longer is dropped */
    uint32_t threads;          /* lanes of the head's own computation */
} train_tcp_config;

/* Until the last epoch is committed (ERR_OK), or a signal (ERR_STOPPED). */
err train_tcp_run(const train_tcp_config *config);

#endif
