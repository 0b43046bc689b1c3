/* The parser of request heads, HTTP/1.1 (RFC 9112, 9110): pure, and the only one. The input is not trusted. What the
 * RFCs let a server either refuse or repair is refused. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REQUEST_HEAD_H
#define FEWBIT_DECODER_SERVER_HTTP_REQUEST_HEAD_H

#include "decoder_server/http/request_target.h"

#include <stdint.h>

enum { REQUEST_HEAD_MAX = 12 * 1024 }; /* bytes; longer ones are refused */

/* Why a request is refused: status, code and message of the answer. */
typedef struct http_problem {
    unsigned status;
    const char *code, *message;
} http_problem;

typedef enum request_head_state {
    REQUEST_HEAD_MORE,  /* it may still become one */
    REQUEST_HEAD_WHOLE, /* it is one */
    REQUEST_HEAD_BAD,   /* it will not become one, whatever comes: see problem */
} request_head_state;

/* The fields that matter here. A repeated one is refused; one that only identifies the request is then ignored. */
typedef enum request_field {
    REQUEST_FIELD_AUTHORIZATION,
    REQUEST_FIELD_CONTENT_ENCODING,
    REQUEST_FIELD_CONTENT_TYPE,
    REQUEST_FIELD_HOST,
    REQUEST_FIELD_IF_NONE_MATCH,
    REQUEST_FIELD_ORIGIN,
    REQUEST_FIELD_REQUEST_ID,
    REQUEST_FIELD_SEC_FETCH_SITE,
    REQUEST_FIELD_TRACEPARENT,
    REQUEST_FIELDS
} request_field;

typedef struct request_head {
    size_t length; /* of a whole one, with the empty lines before it and the one after it */
    const http_problem *problem;
    span method;
    request_target target;
    span host; /* the target's, else the Host field's */
    unsigned minor;
    span fields[REQUEST_FIELDS];
    uint64_t content_length; /* UINT64_MAX: that, or more */
    bool is_chunked;         /* else there are content_length bytes of body */
    bool expects_continue;
    bool is_last; /* of its connection */
} request_head;

/* Reads a head at the start of `bytes`; what follows it is ignored. Stateless: call it again with more bytes after
 * MORE. The spans of *h lie in `bytes`. */
request_head_state request_head_read(request_head *h, const uint8_t *bytes, size_t length);

#endif
