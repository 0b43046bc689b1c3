/* `fewbit classify`. */
#ifndef FEWBIT_CLI_COMMANDS_CLASSIFY_H
#define FEWBIT_CLI_COMMANDS_CLASSIFY_H

#include "base/err.h"

/* Parses argv (argv[0] is "fewbit classify"), does it and prints the answer; the caller prints err_text(). */
err classify_main(int argc, char **argv);

#endif
