#include "decoder_server/http/exchange.h"

#include "base/clock.h"
#include "decoder_server/http/reply.h"

#include <stdlib.h>
#include <string.h>

static const size_t batch_bytes = EXCHANGE_BATCH_MAX * sizeof(question);

static void free_exchange(exchange_pool *pool, exchange *x) {
    pool->bytes -= x->capacity;
    text_free(&x->reply);
    free(x->body);
    free(x);
}

exchange *exchange_start(exchange_pool *pool, struct gateway *g, struct MHD_Connection *connection) {
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
    x->connection = connection;
    x->next = NULL;
    x->started_ns = clock_now_ns();
    const char *id = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Request-Id");
    const char *trace = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "traceparent");
    identity_choose(id, ++pool->last_number, x->id);
    identity_trace(trace, x->trace, &x->is_sampled);
    return x;
}

void exchange_end(exchange_pool *pool, exchange *x) {
    if (x->multipart) {
        MHD_destroy_post_processor(x->multipart);
    }
    if (x->more) {
        pool->bytes -= batch_bytes;
        free(x->more);
    }
    if (pool->count >= EXCHANGE_POOL_MAX || x->capacity + x->reply.capacity > EXCHANGE_KEPT_BYTES) {
        free_exchange(pool, x);
        return;
    }
    uint8_t *body = x->body;
    size_t capacity = x->capacity;
    text reply = x->reply;
    text_reset(&reply);
    *x = (exchange){.body = body, .capacity = capacity, .reply = reply, .next = pool->free};
    pool->free = x;
    pool->count++;
}

void exchange_pool_free(exchange_pool *pool) {
    while (pool->free) {
        exchange *x = pool->free;
        pool->free = x->next;
        free_exchange(pool, x);
    }
}

static bool has_room(const exchange_pool *pool, size_t more) {
    return more <= EXCHANGE_BYTES_MAX && pool->bytes <= EXCHANGE_BYTES_MAX - more;
}

bool exchange_make_batch(exchange_pool *pool, exchange *x) {
    x->more = has_room(pool, batch_bytes) ? calloc(1, batch_bytes) : NULL;
    pool->bytes += x->more ? batch_bytes : 0;
    return x->more != NULL;
}

bool exchange_make_room(exchange_pool *pool, exchange *x, size_t more) {
    if (x->length + more <= x->capacity) {
        return true;
    }
    size_t capacity = x->capacity ? x->capacity : 1024;
    while (capacity < x->length + more) {
        capacity *= 2;
    }
    bool may_grow = capacity <= EXCHANGE_KEPT_BYTES || has_room(pool, capacity - x->capacity);
    uint8_t *grown = may_grow ? realloc(x->body, capacity) : NULL;
    if (grown) {
        pool->bytes += capacity - x->capacity;
        x->body = grown;
        x->capacity = capacity;
    }
    return grown != NULL;
}

void exchange_drop_body(exchange_pool *pool, exchange *x) {
    pool->bytes -= x->capacity;
    free(x->body);
    x->body = NULL;
    x->length = x->capacity = 0;
}

enum MHD_Result exchange_queue(exchange *x, unsigned status, struct MHD_Response *response) {
    if (!response) {
        return MHD_NO;
    }
    x->status = status;
    MHD_add_response_header(response, "X-Request-Id", x->id);
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    } else if (status == MHD_HTTP_UNAUTHORIZED) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer realm=\"fewbit\"");
    }
    if (x->allow) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, x->allow);
    }
    enum MHD_Result queued = MHD_queue_response(x->connection, status, response);
    MHD_destroy_response(response);
    return queued;
}

enum MHD_Result exchange_send(exchange *x, unsigned status, const char *type) {
    if (x->reply.has_failed) {
        return MHD_NO; /* no memory for the answer: the connection is closed */
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(x->reply.length, x->reply.bytes, MHD_RESPMEM_PERSISTENT);
    if (response) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    }
    return exchange_queue(x, status, response);
}

enum MHD_Result exchange_refuse(exchange *x, unsigned status, const char *code, const char *message) {
    text_reset(&x->reply);
    reply_error(&x->reply, x->id, code, message);
    return exchange_send(x, status, "application/json");
}
