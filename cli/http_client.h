/* Calls to a decoder server over HTTP/1.1 (libcurl). */
#ifndef FEWBIT_CLI_HTTP_CLIENT_H
#define FEWBIT_CLI_HTTP_CLIENT_H

#include "base/err.h"

#include <curl/curl.h>
#include <jansson.h>

enum { HTTP_OK = 200 };

typedef struct http_client http_client;

/* `server` is http://HOST:PORT, borrowed. `token_file` is a file of one line, the server's API token, which goes along
 * with every call; NULL: none. The caller ends it with http_client_free, after an error too. */
err http_client_open(http_client **h, const char *server, int64_t timeout_ms, const char *token_file);
void http_client_free(http_client *h);

typedef struct http_client_body {
    const void *bytes;
    size_t length;
    const char *type; /* "image/png" */
} http_client_body;

/* POST where there is a body, else GET. ERR_NETWORK: no answer came. ERR_REFUSED: what came is no JSON object. Else
 * *status is the answer's and *answer the object, for the caller to json_decref. */
err http_client_call(http_client *h, const char *path, const http_client_body *body, long *status, json_t **answer);

/* GET of an object, where any status but 200 is an error: http_client_refusal's. */
err http_client_get(http_client *h, const char *path, json_t **answer);

/* GET of what need not be JSON; http_client_text has it. Any status but 200 is ERR_REFUSED. */
err http_client_fetch(http_client *h, const char *path);

/* The header that brings the token, or NULL where there is none; until http_client_free. */
const char *http_client_authorization(const http_client *h);

/* The last answer's text, until the next call. */
const char *http_client_text(const http_client *h);

/* What an error answer says, as an error: ERR_REFUSED from status 500 on, else ERR_INPUT. */
err http_client_refusal(const char *what, const json_t *answer, long status);

/* Sets what every request has: HTTP/1.1 to `server`, `path` there, no proxy, a timeout. */
err http_client_prepare(CURL *curl, const char *server, const char *path, int64_t timeout_ms);

#endif
