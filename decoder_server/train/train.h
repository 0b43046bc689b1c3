/* The `train` command: experiment, labels and run folder, then over TCP or in one process. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_TRAIN_H
#define FEWBIT_DECODER_SERVER_TRAIN_TRAIN_H

#include "decoder_server/core/server_options.h"

err train_command(const server_options *options);

#endif
