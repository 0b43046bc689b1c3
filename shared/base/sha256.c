#include "base/sha256.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What OpenSSL noted of a failure must not be taken for one of whoever uses it next. */
static err failed(const char *line) {
    ERR_clear_error();
    return err_fail(ERR_INTERNAL, "%s", line);
}

static EVP_MD_CTX *context_of(sha256_state *state) {
    return (EVP_MD_CTX *)(void *)state;
}

err sha256_start(sha256_state **state) {
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return failed("SHA-256 could not be started");
    }
    *state = (sha256_state *)(void *)context;
    return ERR_OK;
}

err sha256_add(sha256_state *state, const void *bytes, size_t length) {
    if (EVP_DigestUpdate(context_of(state), bytes, length) != 1) {
        return failed("SHA-256 failed");
    }
    return ERR_OK;
}

err sha256_finish(sha256_state *state, uint8_t out[SHA256_BYTES]) {
    err e = ERR_OK;
    if (out && EVP_DigestFinal_ex(context_of(state), out, NULL) != 1) {
        e = failed("SHA-256 failed");
    }
    EVP_MD_CTX_free(context_of(state));
    return e;
}

err sha256_bytes(const void *bytes, size_t length, uint8_t out[SHA256_BYTES]) {
    return sha256_spans(&(file_span){bytes, length}, 1, out);
}

err sha256_spans(const file_span *spans, size_t count, uint8_t out[SHA256_BYTES]) {
    sha256_state *state = NULL;
    err e = sha256_start(&state);
    if (e) {
        return e;
    }
    for (size_t i = 0; i < count && !e; i++) {
        e = sha256_add(state, spans[i].bytes, spans[i].length);
    }
    err last = sha256_finish(state, e ? NULL : out);
    return e ? e : last;
}

void sha256_hex(const uint8_t digest[SHA256_BYTES], char hex[SHA256_HEX]) {
    for (int i = 0; i < SHA256_BYTES; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
}

bool sha256_parse(const char *hex, uint8_t digest[SHA256_BYTES]) {
    if (!hex || strlen(hex) != SHA256_HEX - 1 || strspn(hex, "0123456789abcdefABCDEF") != SHA256_HEX - 1) {
        return false;
    }
    for (int i = 0; i < SHA256_BYTES; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        digest[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}
