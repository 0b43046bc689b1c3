/* `fewbit status`: whether a decoder server is up and its nodes are there. */
#ifndef FEWBIT_CLI_COMMANDS_STATUS_H
#define FEWBIT_CLI_COMMANDS_STATUS_H

#include "base/err.h"

/* ERR_REFUSED where the server is up and not ready, ERR_NETWORK where it does not answer. */
err status_main(int argc, char **argv);

#endif
