/* One HTTP request and its answer: who asks, what it waits for, the reply.
 *
 * Requests live in a pool: one that has ended is used again with its memory, so that requests of usual size allocate
 * nothing here once the server is warm. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_API_REQUEST_H
#define FEWBIT_DECODER_SERVER_HTTP_API_REQUEST_H

#include "base/dynbuf.h"
#include "base/err.h"
#include "decoder_server/core/classification.h"
#include "decoder_server/http/http_server.h"
#include "decoder_server/http/image_queue.h"
#include "decoder_server/http/request_id.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    API_REQUEST_POOL_MAX = 256,
    API_REQUEST_KEPT_BYTES = 64 * 1024,
    API_REQUEST_MESSAGE_MAX = 200,
    API_REQUEST_BATCH_MAX = 64, /* samples of one request */
    API_REQUEST_FIELDS_MAX = 8, /* of an answer, beside those that every one has */
};

struct http_api;
struct api_request;
struct sse_subscriber;

/* One sample of a request, and what became of it. */
typedef struct classify_item {
    struct api_request *of;
    image_type type;
    size_t from, length;                   /* in the body */
    uint64_t number;                       /* while its answer is to come; else 0 */
    const char *code;                      /* why it was refused; NULL: it was not */
    char message[API_REQUEST_MESSAGE_MAX]; /* with `code` */
    uint64_t asked_ns, answered_ns;
    classification answer;
} classify_item;

typedef struct api_request {
    struct http_api *api;
    http_request *request;
    struct api_request *next;          /* in the pool, or among those that wait for a report */
    struct sse_subscriber *subscriber; /* NULL but for a stream of events */
    uint32_t route;
    const char *method;
    const char *allow; /* the Allow header of the answer; NULL: none */
    char id[REQUEST_ID_MAX + 1], trace[REQUEST_ID_TRACE_LENGTH + 1];
    bool is_sampled;
    uint64_t started_ns;
    unsigned status; /* of the answer; 0 until there is one */
    bool is_multipart;
    classify_item first, *more;      /* `more` [API_REQUEST_BATCH_MAX] for a batch, instead of `first` */
    uint32_t item_count, unanswered; /* what is not read yet is unanswered too */
    image_task images;
    dynbuf reply;
} api_request;

typedef struct api_request_pool {
    api_request *free;
    uint32_t count;
    uint64_t last_number;
} api_request_pool;

/* A fresh request with its id and trace; NULL: no memory. */
api_request *api_request_start(api_request_pool *pool, struct http_api *api, http_request *r);
void api_request_end(api_request_pool *pool, api_request *x);
void api_request_pool_free(api_request_pool *pool);

/* Room for a batch; false: no memory, or bodies and batches have too much of it already. */
bool api_request_make_batch(api_request *x);

static inline classify_item *api_request_item(api_request *x, uint32_t i) {
    return x->more ? &x->more[i] : &x->first;
}

/* Each of these answers, in the end; then the request may be over, and is not to be touched. */

/* With x->reply. */
void api_request_send(api_request *x, unsigned status, const char *type);

/* With an error. */
void api_request_refuse(api_request *x, unsigned status, const char *code, const char *message);

/* With a body that stays, and fields (API_REQUEST_FIELDS_MAX at most) beside those that every answer has. */
void api_request_answer(api_request *x, unsigned status, const http_field *fields, size_t count, span body);

/* With a stream; false: nothing may be sent yet, as with http_stream_send. */
bool api_request_stream(api_request *x, const http_field *fields, size_t count, int kernel_bytes);

#endif
