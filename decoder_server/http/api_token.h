/* The API token: one secret word in a file. Requests carry it as "Authorization: Bearer WORD". */
#ifndef FEWBIT_DECODER_SERVER_HTTP_API_TOKEN_H
#define FEWBIT_DECODER_SERVER_HTTP_API_TOKEN_H

#include "base/sha256.h"
#include "decoder_server/http/span.h"

enum { API_TOKEN_LEAST = 16, API_TOKEN_MOST = 512 };

/* Only its SHA-256 is kept. */
typedef struct api_token {
    uint8_t digest[SHA256_BYTES];
} api_token;

/* A file of one line: 16 to 512 of the characters that Bearer tokens have (letters, digits and -._~+/=). */
err api_token_load(api_token *t, const char *path);

/* Whether an Authorization field carries it. Takes the same time wherever the two differ. */
bool api_token_matches(const api_token *t, span authorization);

#endif
