/* `fewbit sweep`: trains every point of a grid, one at a time, and tells what they came to. */
#ifndef FEWBIT_CLI_COMMANDS_SWEEP_H
#define FEWBIT_CLI_COMMANDS_SWEEP_H

#include "base/err.h"

err sweep_main(int argc, char **argv);

#endif
