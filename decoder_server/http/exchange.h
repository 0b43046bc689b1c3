/* One HTTP request and its answer: who asks, what it waits for, the reply.
 *
 * Exchanges live in a pool: one that has ended is used again with its memory, so that requests of usual size allocate
 * nothing here once the server is warm. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_EXCHANGE_H
#define FEWBIT_DECODER_SERVER_HTTP_EXCHANGE_H

#include "base/err.h"
#include "decoder_server/answer.h"
#include "decoder_server/http/http_server.h"
#include "decoder_server/http/identity.h"
#include "decoder_server/http/image_queue.h"
#include "decoder_server/http/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EXCHANGE_POOL_MAX = 256,
    EXCHANGE_KEPT_BYTES = 64 * 1024,
    EXCHANGE_MESSAGE_MAX = 200,
    EXCHANGE_BATCH_MAX = 64, /* samples of one request */
    EXCHANGE_FIELDS_MAX = 8, /* of an answer, beside those that every one has */
};

struct gateway;
struct exchange;
struct listener;

/* One sample of a request, and what became of it. */
typedef struct question {
    struct exchange *of;
    image_type type;
    size_t from, length;                /* in the body */
    uint64_t number;                    /* while its answer is to come; else 0 */
    const char *code;                   /* why it was refused; NULL: it was not */
    char message[EXCHANGE_MESSAGE_MAX]; /* with `code` */
    uint64_t asked_ns, answered_ns;
    answer answer;
} question;

typedef struct exchange {
    struct gateway *gateway;
    http_request *request;
    struct exchange *next;     /* in the pool, or among those that wait for a report */
    struct listener *listener; /* NULL but for a stream of events */
    uint32_t route;
    const char *method;
    const char *allow; /* the Allow header of the answer; NULL: none */
    char id[IDENTITY_ID_MAX + 1], trace[IDENTITY_TRACE_LENGTH + 1];
    bool is_sampled;
    uint64_t started_ns;
    unsigned status; /* of the answer; 0 until there is one */
    bool is_multipart;
    question first, *more;               /* `more` [EXCHANGE_BATCH_MAX] for a batch, instead of `first` */
    uint32_t question_count, unanswered; /* what is not read yet is unanswered too */
    image_task images;
    text reply;
} exchange;

typedef struct exchange_pool {
    exchange *free;
    uint32_t count;
    uint64_t last_number;
} exchange_pool;

/* A fresh exchange with its id and trace; NULL: no memory. */
exchange *exchange_start(exchange_pool *pool, struct gateway *g, http_request *r);
void exchange_end(exchange_pool *pool, exchange *x);
void exchange_pool_free(exchange_pool *pool);

/* Room for a batch; false: no memory, or bodies and batches have too much of it already. */
bool exchange_make_batch(exchange *x);

static inline question *exchange_question(exchange *x, uint32_t i) {
    return x->more ? &x->more[i] : &x->first;
}

/* Each of these answers, in the end; then the exchange may be over, and is not to be touched. */

/* With x->reply. */
void exchange_send(exchange *x, unsigned status, const char *type);

/* With an error. */
void exchange_refuse(exchange *x, unsigned status, const char *code, const char *message);

/* With a body that stays, and fields (EXCHANGE_FIELDS_MAX at most) beside those that every answer has. */
void exchange_answer(exchange *x, unsigned status, const answer_field *fields, size_t count, span body);

/* With a stream; false: nothing may be sent yet, as with http_stream_send. */
bool exchange_stream(exchange *x, const answer_field *fields, size_t count, int kernel_bytes);

#endif
