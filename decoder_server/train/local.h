/* Training in one process: the same coordinator and the same encoders, joined by memory.
 *
 * The only place where the server links the encoder's code. Frames are packed and unpacked as on a link, so the
 * numbers, and the frames counted, are those of TCP. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_LOCAL_H
#define FEWBIT_DECODER_SERVER_TRAIN_LOCAL_H

#include "base/err.h"
#include "data/labels.h"
#include "decoder_server/run.h"
#include "wire/message.h"

typedef struct local_options {
    const char *data; /* holds node-0, node-1, … */
    uint32_t threads;
    Fewbit__Coding coding; /* how the encoders' codes travel */
} local_options;

/* The encoders' checkpoints go to RUN/nodes/node-K. ERR_STOPPED after SIGINT or SIGTERM. */
err local_run(run *r, const labels *l, const local_options *options);

#endif
