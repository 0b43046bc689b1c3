/* `fewbit data split`: gives every node its own portion and the server the labels. */
#ifndef FEWBIT_CLIENT_DATA_SPLIT_H
#define FEWBIT_CLIENT_DATA_SPLIT_H

#include "base/err.h"

/* argv[0] is "fewbit data split". */
err data_split_main(int argc, char **argv);

#endif
