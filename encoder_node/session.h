/* The session: keeps a node connected to its server, until it is stopped or done.
 *
 * All of it is on the loop's thread. What takes long is done by the compute pool, which has the node's protocol for as
 * long as that. */
#ifndef FEWBIT_ENCODER_NODE_SESSION_H
#define FEWBIT_ENCODER_NODE_SESSION_H

#include "encoder_node/options.h"

/* `tls` NULL: plain text. Returns when stopped by a signal (ERR_OK), refused for good (ERR_REFUSED), or done with
 * --exit-when-done (ERR_OK). All is borrowed. */
err session_run(const node_options *options, tls_context *tls, const portion *data);

#endif
