/* `fewbit experiments`: every experiment file in a line, the paper's accuracies beside ours. */
#ifndef FEWBIT_CLI_COMMANDS_EXPERIMENTS_H
#define FEWBIT_CLI_COMMANDS_EXPERIMENTS_H

#include "base/err.h"

err experiments_main(int argc, char **argv);

#endif
