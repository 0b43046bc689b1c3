/* What was read from a connection and not consumed yet: a head, the start of its body, pipelined requests. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_HTTP_INPUT_H
#define FEWBIT_DECODER_SERVER_HTTP_HTTP_INPUT_H

#include "decoder_server/http/request_head.h"

#include <string.h>

enum {
    HTTP_INPUT_BYTES = 16 * 1024,
    HTTP_INPUT_BODY_ROOM = HTTP_INPUT_BYTES - REQUEST_HEAD_MAX, /* after a head, for what is read of its body at once */
};

typedef struct http_input {
    size_t from, to; /* what is there */
    size_t head_end; /* of the request under way: its spans lie before it */
    char bytes[HTTP_INPUT_BYTES];
} http_input;

static inline span http_input_rest(const http_input *in) {
    return (span){in->bytes + in->from, in->to - in->from};
}

static inline bool http_input_is_empty(const http_input *in) {
    return in->from == in->to;
}

static inline void http_input_clear(http_input *in) {
    in->from = in->to = in->head_end = 0;
}

/* Moves it to the start of the buffer; only while no request is under way. */
static inline void http_input_compact(http_input *in) {
    memmove(in->bytes, in->bytes + in->from, in->to - in->from);
    in->to -= in->from;
    in->from = 0;
}

/* Consumes a head of `length` bytes. */
static inline void http_input_take_head(http_input *in, size_t length) {
    in->head_end = in->from += length;
}

/* Consumes all but `rest`. */
static inline void http_input_leave(http_input *in, span rest) {
    in->from = in->to - rest.length;
}

/* The body's bytes are not needed any more: if nothing else is there, their room is free again. */
static inline void http_input_reuse(http_input *in) {
    if (http_input_is_empty(in)) {
        in->from = in->to = in->head_end;
    }
}

/* Whether the next head lies so far into the buffer that there is little room for its body. */
static inline bool http_input_is_cramped(const http_input *in, const request_head *h) {
    bool has_body = h->is_chunked || h->content_length > 0;
    return has_body && in->from > 0 && HTTP_INPUT_BYTES - in->from - h->length < HTTP_INPUT_BODY_ROOM;
}

#endif
