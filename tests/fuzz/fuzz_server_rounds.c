/* As fuzz_server_serve.c, with bits in rounds: every sample's second round is asked for. */
#define FUZZ_ROUNDS
#include "tests/fuzz/fuzz_server_serve.c"
