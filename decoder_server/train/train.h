/* The `train` command: experiment, labels and run folder; then over TCP, in one process, or a classifier alone.
 *
 * Of the three that follow `r`, `l` and all else are borrowed, `threads` are of the own computation, and ERR_STOPPED
 * comes after SIGINT or SIGTERM. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_H

#include "decoder_server/core/run_dir.h"
#include "decoder_server/core/server_options.h"

err train_command(const server_options *options);

/* Training over TCP: the coordinator on the server's runtime, until the last epoch is committed. */
err train_tcp_run(const server_options *options, run_dir *r, const labels *l, uint32_t threads);

typedef struct train_inproc_options {
    const char *data; /* holds node-0, node-1, … */
    uint32_t threads;
    Fewbit__Coding coding; /* how the encoders' codes travel */
} train_inproc_options;

/* Training in one process: the same coordinator and the same encoders, joined by memory. The only place where the
 * server links the encoder's code. Frames are packed and unpacked as on a link, so the numbers, and the frames counted,
 * are those of TCP. The encoders' checkpoints go to RUN/nodes/node-K. *has_data: the portions are there and fit;
 * without, nothing has begun. */
err train_inproc_run(run_dir *r, const labels *l, const train_inproc_options *options, bool *has_data);

/* Training of a classifier alone, on whole samples, in this process: what comes out is used as pretrained weights. The
 * training loop with no encoders before the head: the run is like any other, but nothing is rounded. `data` holds
 * node-0, whose portion is the whole sample. */
err train_alone_run(run_dir *r, const labels *l, const char *data, uint32_t threads);

#endif
