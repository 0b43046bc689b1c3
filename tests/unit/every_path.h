/* A classifier with all it can have, as a server has it by default. */
#ifndef FEWBIT_TESTS_UNIT_EVERY_PATH_H
#define FEWBIT_TESTS_UNIT_EVERY_PATH_H

#include "decoder_server/serve/classifier.h"

static const classifier_options every_path = {.answers_bytes = 64 << 20, .seen_bytes = 32 << 20};

#endif
