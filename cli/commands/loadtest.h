/* `fewbit loadtest`: puts a load on a server and reports what came of it. */
#ifndef FEWBIT_CLI_COMMANDS_LOADTEST_H
#define FEWBIT_CLI_COMMANDS_LOADTEST_H

#include "base/err.h"

err loadtest_main(int argc, char **argv);

#endif
