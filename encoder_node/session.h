/* The session: keeps a node connected to its server, for ever or until told otherwise.
 *
 * All of it is on the loop's thread. What takes long is done by the compute pool, which has the node's protocol for as
 * long as that. */
#ifndef FEWBIT_ENCODER_NODE_SESSION_H
#define FEWBIT_ENCODER_NODE_SESSION_H

#include "base/address.h"
#include "base/err.h"
#include "encoder_node/node_protocol.h"
#include "encoder_node/source.h"
#include "wire/tls.h"

typedef struct session_config {
    address server;
    tls_context *tls; /* NULL: plain text; borrowed */
    node_protocol_config node;
    source_kind source;
    const char *ready_file; /* is there while a server has this node; NULL: none */
    bool exit_when_done;    /* end when the server says the run is over, or everything was streamed */
} session_config;

/* Returns when stopped by a signal (ERR_OK), refused for good (ERR_REFUSED), or done with `exit_when_done` (ERR_OK). */
err session_run(const session_config *config);

#endif
