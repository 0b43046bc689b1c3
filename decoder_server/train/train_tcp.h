/* Training over TCP: the coordinator on the server's runtime. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_TCP_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_TCP_H

#include "decoder_server/core/run_dir.h"
#include "decoder_server/core/server_options.h"

/* Until the last epoch is committed (ERR_OK), or a signal (ERR_STOPPED). `threads` are of the head's own computation;
 * all is borrowed. */
err train_tcp_run(const server_options *options, run_dir *r, const labels *l, uint32_t threads);

#endif
