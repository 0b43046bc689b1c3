/* `fewbit data get SET --to DIR`: brings a data set's files into a folder.
 *
 * Asks the sources below in order until one has them all: the folder of FEWBIT_DATA, ../shared/data, packages
 * that carry the set, public mirrors. With --mirror URL that mirror is the only source. Nothing gets its
 * final name before its SHA-256 is right, so a folder never holds half a file under a name that counts. */
#ifndef FEWBIT_CLI_COMMANDS_DATA_GET_H
#define FEWBIT_CLI_COMMANDS_DATA_GET_H

#include "base/err.h"

/* ERR_NETWORK when no source had the set and the network was among the reasons, ERR_NOT_FOUND otherwise. */
err data_get_main(int argc, char **argv);

#endif
