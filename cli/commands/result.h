/* `fewbit result RUN`: what came out of a training, for people. */
#ifndef FEWBIT_CLI_COMMANDS_RESULT_H
#define FEWBIT_CLI_COMMANDS_RESULT_H

#include "base/err.h"

err result_main(int argc, char **argv);

#endif
