/* Training of a classifier alone, on whole samples, in this process: what comes out is used as pretrained weights.
 *
 * The training loop with no encoders before the head: the run is like any other, but nothing is rounded. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_ALONE_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_ALONE_H

#include "decoder_server/core/run_dir.h"

/* `data` holds node-0, whose portion is the whole sample. ERR_STOPPED after SIGINT or SIGTERM. */
err train_alone_run(run_dir *r, const labels *l, const char *data, uint32_t threads);

#endif
