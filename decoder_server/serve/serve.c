#include "decoder_server/serve/serve.h"
err serve_command(const server_options *options) { (void)options; return err_fail(ERR_INTERNAL, "not yet"); }
