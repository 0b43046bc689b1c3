/* `fewbit experiments`: every experiment file in a line, the paper's accuracies beside ours. */
#ifndef FEWBIT_CLIENT_EXPERIMENTS_H
#define FEWBIT_CLIENT_EXPERIMENTS_H

#include "base/err.h"

err experiments_main(int argc, char **argv);

#endif
