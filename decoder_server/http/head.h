/* The head of a request, looked at before libmicrohttpd parses it: what that answers with a page of its own is found
 * here, so that it can be answered as everything else is. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HEAD_H
#define FEWBIT_DECODER_SERVER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer ones are refused; what libmicrohttpd needs for a head of this length has room in a connection's memory. */
enum { HEAD_BYTES_MAX = 12 * 1024 };

typedef struct head_problem {
    unsigned status;
    const char *reason; /* of the status line */
    const char *code, *message;
} head_problem;

/* Whether the head is all there. */
bool head_is_whole(const uint8_t *bytes, size_t length);

/* What is wrong with a head (`bytes` may go on behind it), or that it has no end; NULL: nothing is. */
const head_problem *head_check(const uint8_t *bytes, size_t length);

#endif
