/* As fuzz_server_serve.c, with bits in stages: every sample's second stage is asked for. */
#define FUZZ_REFINEMENT
#include "tests/fuzz/fuzz_server_serve.c"
