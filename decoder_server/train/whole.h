/* Training of a classifier alone, on whole samples, in one process: what comes out is used as pretrained weights.
 *
 * The run is like any other: committed, resumed, evaluated, logged. It has a head and no encoders, and nothing is
 * rounded. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_WHOLE_H
#define FEWBIT_DECODER_SERVER_TRAIN_WHOLE_H

#include "base/err.h"
#include "data/labels.h"
#include "decoder_server/core/run_dir.h"

/* `data` holds node-0, whose portion is the whole sample. ERR_STOPPED after SIGINT or SIGTERM. */
err whole_run(run_dir *r, const labels *l, const char *data, uint32_t threads);

#endif
