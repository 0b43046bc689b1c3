/* A predictor with all it can have, as a server has it by default. */
#ifndef FEWBIT_TESTS_LIB_PREDICTOR_WITH_ALL_H
#define FEWBIT_TESTS_LIB_PREDICTOR_WITH_ALL_H

#include "decoder_server/serve/predictor.h"

static const predictor_options predictor_with_all = {.table_bytes = 64 << 20, .cache_bytes = 32 << 20};

#endif
