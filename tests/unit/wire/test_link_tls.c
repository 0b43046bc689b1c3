/* The tests of test_link.c, over TLS. */
#define LOOPBACK_SET_UP open_tls
#define LOOPBACK_TEAR_DOWN close_tls
#define IN_PLAIN_TEXT(test)
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/lib/loopback_tls.h"

#include "tests/unit/wire/test_link.c"
