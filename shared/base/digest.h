/* SHA-256 (OpenSSL's). */
#ifndef FEWBIT_BASE_DIGEST_H
#define FEWBIT_BASE_DIGEST_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_BYTES = 32, DIGEST_HEX = 65 };

typedef struct digest_state digest_state;

err digest_bytes(const void *bytes, size_t length, uint8_t out[DIGEST_BYTES]);

/* In pieces: start, add, finish (which frees). digest_finish(state, NULL) only frees. */
err digest_start(digest_state **state);
err digest_add(digest_state *state, const void *bytes, size_t length);
err digest_finish(digest_state *state, uint8_t out[DIGEST_BYTES]);

/* Lower-case hex with a terminating zero. */
void digest_hex(const uint8_t digest[DIGEST_BYTES], char hex[DIGEST_HEX]);

/* The way back; false where `hex` (may be NULL) is not 64 hex digits. */
bool digest_parse(const char *hex, uint8_t digest[DIGEST_BYTES]);

#endif
