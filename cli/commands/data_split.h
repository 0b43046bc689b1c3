/* `fewbit data split`: parts a data set into one folder a node (DIR/node-K: its portion of every sample) and
 * one for the server (DIR/server: the labels, no pixels). */
#ifndef FEWBIT_CLI_COMMANDS_DATA_SPLIT_H
#define FEWBIT_CLI_COMMANDS_DATA_SPLIT_H

#include "base/err.h"

err data_split_main(int argc, char **argv);

#endif
