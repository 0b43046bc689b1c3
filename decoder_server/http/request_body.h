/* The body of a request as it arrives: kept or dropped, chunked or not. The input is not trusted. The memory of all
 * bodies together is bounded, and reused. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REQUEST_BODY_H
#define FEWBIT_DECODER_SERVER_HTTP_REQUEST_BODY_H

#include "decoder_server/http/chunked.h"
#include "decoder_server/http/request_head.h"

enum { REQUEST_BODY_MAX = 1 << 20, REQUEST_BODIES_MAX = 64 << 20 };

struct body_memory;

/* {0} at first. */
typedef struct body_pool {
    struct body_memory *free;
    uint32_t free_count;
    size_t bytes; /* of bodies in use, and claimed */
} body_pool;

void body_pool_free(body_pool *pool);

/* Counts other memory towards the same bound, until it is released. False: there is no room. */
bool body_pool_claim(body_pool *pool, size_t bytes);
void body_pool_release(body_pool *pool, size_t bytes);

typedef struct request_body {
    body_pool *pool;
    bool is_kept, is_chunked;
    uint64_t left; /* to come; of a chunked one: how much came */
    chunked chunks;
    struct body_memory *memory;
    span bytes; /* of one that is kept, so far */
} request_body;

typedef enum request_body_state {
    REQUEST_BODY_MORE,
    REQUEST_BODY_WHOLE,
    REQUEST_BODY_TOO_LONG, /* more than REQUEST_BODY_MAX */
    REQUEST_BODY_NO_ROOM,  /* beside the others' */
    REQUEST_BODY_BAD,      /* its chunks are damaged */
} request_body_state;

/* Why it is refused, in one of the last three states, or in the first if the connection ends. */
const http_problem *request_body_problem(request_body_state state);

void request_body_begin(request_body *b, body_pool *pool, const request_head *h);

/* Consumes what it can of *rest, whose buffer has `room` bytes from its first byte on. A body that fits there as a
 * whole is left in place. */
request_body_state request_body_take(request_body *b, span *rest, size_t room);

/* Gives its memory back; what still arrives is dropped. */
void request_body_drop(request_body *b);

#endif
