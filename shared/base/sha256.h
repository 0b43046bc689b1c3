/* SHA-256 (OpenSSL's). */
#ifndef FEWBIT_BASE_SHA256_H
#define FEWBIT_BASE_SHA256_H

#include "base/file.h"

enum { SHA256_BYTES = 32, SHA256_HEX = 65 };

typedef struct sha256_state sha256_state;

err sha256_bytes(const void *bytes, size_t length, uint8_t out[SHA256_BYTES]);

/* Of the spans one after another. */
err sha256_spans(const file_span *spans, size_t count, uint8_t out[SHA256_BYTES]);

/* In pieces: start, add, finish (which frees). sha256_finish(state, NULL) only frees. */
err sha256_start(sha256_state **state);
err sha256_add(sha256_state *state, const void *bytes, size_t length);
err sha256_finish(sha256_state *state, uint8_t out[SHA256_BYTES]);

/* Lower-case hex with a terminating zero. */
void sha256_hex(const uint8_t digest[SHA256_BYTES], char hex[SHA256_HEX]);

/* The way back; false where `hex` (may be NULL) is not 64 hex digits. */
bool sha256_parse(const char *hex, uint8_t digest[SHA256_BYTES]);

#endif
