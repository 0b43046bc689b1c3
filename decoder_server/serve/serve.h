/* The `serve` command. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_SERVE_H
#define FEWBIT_DECODER_SERVER_SERVE_SERVE_H

#include "decoder_server/core/server_options.h"

err serve_command(const server_options *options);

#endif
