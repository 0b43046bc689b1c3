#include "decoder_server/http/exchange.h"

#include "base/clock.h"
#include "decoder_server/http/reply.h"

#include <stdlib.h>

static const size_t batch_bytes = EXCHANGE_BATCH_MAX * sizeof(question);

enum { OWN_FIELDS_MAX = 3 };

static void free_exchange(exchange *x) {
    text_free(&x->reply);
    free(x);
}

exchange *exchange_start(exchange_pool *pool, struct gateway *g, http_request *r) {
    exchange *x = pool->free;
    if (x) {
        pool->free = x->next;
        pool->count--;
    } else {
        x = calloc(1, sizeof *x);
    }
    if (!x) {
        return NULL;
    }
    x->gateway = g;
    x->request = r;
    x->next = NULL;
    x->started_ns = clock_now_ns();
    x->method = "-";
    identity_choose(r->head.fields[FIELD_REQUEST_ID], ++pool->last_number, x->id);
    identity_trace(r->head.fields[FIELD_TRACEPARENT], x->trace, &x->is_sampled);
    r->mark = x;
    return x;
}

void exchange_end(exchange_pool *pool, exchange *x) {
    free(x->more);
    if (pool->count >= EXCHANGE_POOL_MAX || x->reply.capacity > EXCHANGE_KEPT_BYTES) {
        free_exchange(x);
        return;
    }
    text reply = x->reply;
    text_reset(&reply);
    *x = (exchange){.reply = reply, .next = pool->free};
    pool->free = x;
    pool->count++;
}

void exchange_pool_free(exchange_pool *pool) {
    while (pool->free) {
        exchange *x = pool->free;
        pool->free = x->next;
        free_exchange(x);
    }
}

bool exchange_make_batch(exchange *x) {
    x->more = http_claim(x->request, batch_bytes) ? calloc(1, batch_bytes) : NULL;
    return x->more != NULL;
}

/* The fields of an answer, those of every one first; how many. */
static size_t collect_fields(exchange *x, unsigned status, const answer_field *fields, size_t count,
                             answer_field all[EXCHANGE_FIELDS_MAX + OWN_FIELDS_MAX]) {
    size_t own = 0;
    x->status = status;
    all[own++] = (answer_field){"X-Request-Id", x->id};
    if (status == 503) {
        all[own++] = (answer_field){"Retry-After", "1"};
    } else if (status == 401) {
        all[own++] = (answer_field){"WWW-Authenticate", "Bearer realm=\"fewbit\""};
    }
    if (x->allow) {
        all[own++] = (answer_field){"Allow", x->allow};
    }
    for (size_t i = 0; i < count; i++) {
        all[own++] = fields[i];
    }
    return own;
}

void exchange_answer(exchange *x, unsigned status, const answer_field *fields, size_t count, span body) {
    answer_field all[EXCHANGE_FIELDS_MAX + OWN_FIELDS_MAX];
    size_t all_count = collect_fields(x, status, fields, count, all);
    http_reply(x->request, &(http_answer){status, all, all_count, body.at, body.length});
}

bool exchange_stream(exchange *x, const answer_field *fields, size_t count, int kernel_bytes) {
    answer_field all[EXCHANGE_FIELDS_MAX + OWN_FIELDS_MAX];
    size_t all_count = collect_fields(x, 200, fields, count, all);
    return http_stream_start(x->request, &(http_answer){.status = 200, .fields = all, .field_count = all_count},
                             kernel_bytes);
}

void exchange_send(exchange *x, unsigned status, const char *type) {
    if (x->reply.has_failed) {
        http_drop(x->request); /* no memory for the answer */
        return;
    }
    exchange_answer(x, status, &(answer_field){"Content-Type", type}, 1, (span){x->reply.bytes, x->reply.length});
}

void exchange_refuse(exchange *x, unsigned status, const char *code, const char *message) {
    text_reset(&x->reply);
    reply_error(&x->reply, x->id, code, message);
    exchange_send(x, status, "application/json");
}
