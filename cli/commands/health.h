/* `fewbit health`: whether one program is well, for a container engine or a supervisor that asks again and again. */
#ifndef FEWBIT_CLI_COMMANDS_HEALTH_H
#define FEWBIT_CLI_COMMANDS_HEALTH_H

#include "base/err.h"

/* ERR_NETWORK where a server does not answer, ERR_REFUSED where it says no or a node has no server. */
err health_main(int argc, char **argv);

#endif
