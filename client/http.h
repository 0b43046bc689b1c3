/* Calls to a decoder server over HTTP/1.1 (libcurl). */
#ifndef FEWBIT_CLIENT_HTTP_H
#define FEWBIT_CLIENT_HTTP_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct http http;

/* `server` is http://HOST:PORT, borrowed. The caller ends it with http_free. */
err http_new(http **h, const char *server, int64_t timeout_ms);
void http_free(http *h);

/* The server's API token, from a file of one line; goes along with every call. NULL: none. */
err http_read_token(http *h, const char *path);

typedef struct http_body {
    const void *bytes;
    size_t length;
    const char *type; /* "image/png" */
} http_body;

/* POST where there is a body, else GET. ERR_NETWORK: no answer came. ERR_REFUSED: what came is no JSON object. Else
 * *status is the answer's and *answer the object, for the caller to json_decref. */
err http_call(http *h, const char *path, const http_body *body, long *status, json_t **answer);

/* GET of something that need not be JSON; http_text has it. */
err http_fetch(http *h, const char *path, long *status);

/* The header that brings the token, or NULL where there is none; until http_free. */
const char *http_authorization(const http *h);

/* The last answer's text, until the next call. */
const char *http_text(const http *h);

/* What an error answer says, as an error: ERR_REFUSED from status 500 on, else ERR_INPUT. */
err http_refusal(const char *about, const json_t *answer, long status);

#endif
