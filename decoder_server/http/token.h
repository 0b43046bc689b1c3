/* The API token: who may ask. One secret word in a file; requests bring it as "Authorization: Bearer WORD". */
#ifndef FEWBIT_DECODER_SERVER_HTTP_TOKEN_H
#define FEWBIT_DECODER_SERVER_HTTP_TOKEN_H

#include "base/digest.h"
#include "base/err.h"
#include "decoder_server/http/span.h"

#include <stdbool.h>

enum { TOKEN_LEAST = 16, TOKEN_MOST = 512 };

/* Only its digest is kept. */
typedef struct token {
    uint8_t digest[DIGEST_BYTES];
} token;

/* A file of one line: 16 to 512 of the characters that Bearer tokens have (letters, digits and -._~+/=). */
err token_load(token *t, const char *path);

/* Whether an Authorization field brings it. Takes the same time wherever the two differ. */
bool token_fits(const token *t, span authorization);

#endif
