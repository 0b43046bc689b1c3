/* One request to the API: its id and trace, what it waits for, and its reply. (The protocol's side of it is the
 * http_request of its connection.)
 *
 * Requests live in a pool. One that has ended is reused with its memory, so a warm server allocates nothing here for
 * requests of usual size. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_API_REQUEST_H
#define FEWBIT_DECODER_SERVER_HTTP_API_REQUEST_H

#include "decoder_server/core/classification.h"
#include "decoder_server/http/http_server.h"
#include "decoder_server/http/image_queue.h"
#include "decoder_server/http/json_question.h"
#include "decoder_server/http/portion_question.h"
#include "decoder_server/http/request_id.h"
#include "decoder_server/http/routes.h"

enum {
    API_REQUEST_POOL_MAX = 256,
    API_REQUEST_KEPT_BYTES = 64 * 1024,
    API_REQUEST_FIELDS_MAX = 8, /* of an answer, beside those that every one has */
};

/* What a request to POST /v1/classify asks about, and what became of each. */

enum { CLASSIFY_ITEM_MESSAGE_MAX = CLASSIFICATION_TEXT_MAX, CLASSIFY_BATCH_MAX = 64 };

/* How a request asks. */
typedef enum classify_form {
    CLASSIFY_IMAGE,    /* about one whole sample, the body */
    CLASSIFY_IMAGES,   /* about whole samples, the parts of the body */
    CLASSIFY_PORTIONS, /* about one sample by portion */
    CLASSIFY_SAMPLES,  /* about samples that the nodes have, by their ids */
} classify_form;

typedef struct classify_item {
    struct api_request *request;
    image_type type;
    size_t from, length;                     /* in the body */
    uint64_t number;                         /* while its answer is to come; else 0 */
    const char *code;                        /* why it was refused; NULL: it was not */
    char message[CLASSIFY_ITEM_MESSAGE_MAX]; /* with `code` */
    uint64_t asked_ns, answered_ns;
} classify_item;

/* Of requests that are answered with a list, in its order; one piece of memory. */
typedef struct classify_batch {
    classification *answers;
    classify_item items[];
} classify_batch;

typedef struct classify_items {
    struct classify *of;
    classify_form form;
    classify_item single;
    classify_batch *batch;      /* instead of `single`, where the answer is a list */
    portion_question *portions; /* of CLASSIFY_PORTIONS */
    json_question json;         /* of a body in JSON */
    uint32_t count, pending;    /* what is not read yet is pending too */
    uint32_t asked, answered;   /* of CLASSIFY_SAMPLES */
    bool is_asking;
    image_task images;
} classify_items;

typedef struct api_request {
    http_request *http;
    struct api_request *next;          /* in the pool */
    struct sse_subscriber *subscriber; /* NULL but for a stream of events */
    route_id route;
    const char *method;
    const char *allow; /* the Allow field of the answer; NULL: none */
    char id[REQUEST_ID_MAX + 1], trace[REQUEST_ID_TRACE_LENGTH + 1];
    bool is_sampled; /* the caller records this trace */
    uint64_t started_ns;
    unsigned status; /* of the answer; 0 until there is one */
    classify_items classify;
    dynbuf reply;
} api_request;

typedef struct api_request_pool {
    api_request *free;
    uint32_t count;
    uint64_t last_number;
} api_request_pool;

/* A new request with its id and trace; it becomes http->data. NULL: no memory. */
api_request *api_request_start(api_request_pool *pool, http_request *http);
void api_request_end(api_request_pool *pool, api_request *r);
void api_request_pool_free(api_request_pool *pool);

/* Each of these sends the answer. The request may be over when they return: do not touch it afterwards. */

/* With r->reply. */
void api_request_send(api_request *r, unsigned status, const char *type);

/* With an error. */
void api_request_refuse(api_request *r, unsigned status, const char *code, const char *message);

/* With a body that stays valid, and at most API_REQUEST_FIELDS_MAX fields beside those of every answer. */
void api_request_answer(api_request *r, unsigned status, const http_field *fields, size_t count, span body);

/* With a stream. False: nothing may be sent yet, as with http_stream_send. */
bool api_request_stream(api_request *r, const http_field *fields, size_t count, int kernel_bytes);

#endif
