/* From training to serving without anybody's hand: the process goes on as `decoder_server serve`. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_AFTER_H
#define FEWBIT_DECODER_SERVER_SERVE_AFTER_H

#include "base/err.h"
#include "decoder_server/core/server_options.h"

/* Replaces the process by one that serves the run `o` has trained, with its addresses, TLS, heartbeat and log. Options
 * that only serving has come from the environment. Returns only on failure. */
err serve_after(const server_options *o);

#endif
