/* One HTTP request and its answer: who asks, the body as it comes in, what it waits for, the reply.
 *
 * Exchanges live in a pool: one that has ended is used again with its memory, so that requests of usual size allocate
 * nothing here once the server is warm. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_EXCHANGE_H
#define FEWBIT_DECODER_SERVER_HTTP_EXCHANGE_H

#include "base/err.h"
#include "decoder_server/answer.h"
#include "decoder_server/http/identity.h"
#include "decoder_server/http/image.h"
#include "decoder_server/http/text.h"

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EXCHANGE_POOL_MAX = 256,
    EXCHANGE_KEPT_BYTES = 64 * 1024,
    EXCHANGE_MESSAGE_MAX = 200,
    EXCHANGE_BATCH_MAX = 64,               /* samples of one request */
    EXCHANGE_BYTES_MAX = 64 * 1024 * 1024, /* of all bodies and batches together */
};

struct gateway;
struct exchange;

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
    struct MHD_Connection *connection;
    struct exchange *next; /* in the pool, or among those that wait for a report */
    uint32_t route;
    const char *method;
    const char *allow; /* the Allow header of the answer; NULL: none */
    char id[IDENTITY_ID_MAX + 1], trace[IDENTITY_TRACE_LENGTH + 1];
    bool is_sampled;
    uint64_t started_ns;
    unsigned status; /* of the answer; 0 until it is queued */
    /* the body */
    uint8_t *body;
    size_t length, capacity;
    uint64_t received;
    bool is_too_long, is_resting;
    bool is_crowded;                     /* there is no room for it beside the others' */
    struct MHD_PostProcessor *multipart; /* NULL: the body is one image */
    bool is_multipart, is_bad_multipart, has_too_many;
    /* what it waits for */
    bool is_asked, is_answered; /* handed on; may be answered now */
    question first, *more;      /* `more` [EXCHANGE_BATCH_MAX] for a batch, instead of `first` */
    uint32_t question_count, unanswered;
    text reply;
} exchange;

typedef struct exchange_pool {
    exchange *free;
    uint32_t count;
    size_t bytes; /* of all bodies and batches, those of free exchanges too */
    uint64_t last_number;
} exchange_pool;

/* A fresh exchange with its id and trace; NULL: no memory. */
exchange *exchange_start(exchange_pool *pool, struct gateway *g, struct MHD_Connection *connection);
void exchange_end(exchange_pool *pool, exchange *x);
void exchange_pool_free(exchange_pool *pool);

/* Room for `more` bytes of body, or for a batch; false: no memory, or all exchanges would have too much of it, which
 * does not keep a small body out. */
bool exchange_make_room(exchange_pool *pool, exchange *x, size_t more);
bool exchange_make_batch(exchange_pool *pool, exchange *x);

/* Nobody will read the body: its memory is for others. */
void exchange_drop_body(exchange_pool *pool, exchange *x);

static inline question *exchange_question(exchange *x, uint32_t i) {
    return x->more ? &x->more[i] : &x->first;
}

/* Answers with x->reply. */
enum MHD_Result exchange_send(exchange *x, unsigned status, const char *type);

/* Answers with an error. */
enum MHD_Result exchange_refuse(exchange *x, unsigned status, const char *code, const char *message);

/* Adds the headers every answer has, and queues it; takes the response over. */
enum MHD_Result exchange_queue(exchange *x, unsigned status, struct MHD_Response *response);

#endif
