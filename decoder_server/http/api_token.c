#include "decoder_server/http/api_token.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/=";

err api_token_load(api_token *t, const char *path) {
    uint8_t *bytes;
    size_t length;
    err e = file_read(path, 2 * API_TOKEN_MOST, &bytes, &length);
    if (e) {
        return e;
    }
    const char *word = (const char *)bytes;
    length = strcspn(word, "\r\n");
    if (word[length + strspn(word + length, "\r\n")] != '\0') {
        e = err_fail(ERR_INPUT, "%s: a token is one line", path);
    } else if (length < API_TOKEN_LEAST || length > API_TOKEN_MOST) {
        e = err_fail(ERR_INPUT, "%s: a token has %d to %d characters, this one has %zu", path, API_TOKEN_LEAST,
                     API_TOKEN_MOST, length);
    } else if (strspn(word, allowed) != length) {
        e = err_fail(ERR_INPUT, "%s: a token has letters, digits and -._~+/= only", path);
    } else {
        e = sha256_bytes(bytes, length, t->digest);
    }
    OPENSSL_cleanse(bytes, length);
    free(bytes);
    return e;
}

bool api_token_matches(const api_token *t, span authorization) {
    static const char scheme[] = "Bearer ";
    uint8_t digest[SHA256_BYTES];
    size_t length = sizeof scheme - 1;
    if (authorization.length < length || strncasecmp(authorization.at, scheme, length) != 0) {
        return false;
    }
    span word = span_trim((span){authorization.at + length, authorization.length - length});
    return word.length <= API_TOKEN_MOST && sha256_bytes(word.at, word.length, digest) == ERR_OK &&
           CRYPTO_memcmp(digest, t->digest, sizeof digest) == 0;
}
