/* Training in one process: the same coordinator and the same encoders, joined by memory.
 *
 * The only place where the server links the encoder's code. Frames are packed and unpacked as on a link, so the
 * numbers, and the frames counted, are those of TCP. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_INPROC_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_INPROC_H

#include "decoder_server/core/run_dir.h"
#include "wire/message.h"

typedef struct train_inproc_options {
    const char *data; /* holds node-0, node-1, … */
    uint32_t threads;
    Fewbit__Coding coding; /* how the encoders' codes travel */
} train_inproc_options;

/* The encoders' checkpoints go to RUN/nodes/node-K. ERR_STOPPED after SIGINT or SIGTERM. *has_data: the portions are
 * there and fit; without, nothing has begun. */
err train_inproc_run(run_dir *r, const labels *l, const train_inproc_options *options, bool *has_data);

#endif
