#include "decoder_server/http/api_request.h"

#include "base/clock.h"
#include "decoder_server/http/json_views.h"

#include <stdlib.h>

static const size_t batch_bytes = API_REQUEST_BATCH_MAX * sizeof(classify_item);

enum { OWN_FIELDS_MAX = 3 };

static void free_api_request(api_request *x) {
    dynbuf_free(&x->reply);
    free(x);
}

static api_request *take_free(api_request_pool *pool) {
    api_request *x = pool->free;
    if (x) {
        pool->free = x->next;
        pool->count--;
    } else if ((x = calloc(1, sizeof *x))) {
        x->reply = dynbuf_make(JSON_VIEWS_MAX);
    }
    return x;
}

api_request *api_request_start(api_request_pool *pool, struct http_api *api, http_request *r) {
    api_request *x = take_free(pool);
    if (!x) {
        return NULL;
    }
    x->api = api;
    x->request = r;
    x->next = NULL;
    x->started_ns = clock_now_ns();
    x->method = "-";
    request_id_choose(r->head.fields[REQUEST_FIELD_REQUEST_ID], ++pool->last_number, x->id);
    request_id_trace(r->head.fields[REQUEST_FIELD_TRACEPARENT], x->trace, &x->is_sampled);
    r->data = x;
    return x;
}

void api_request_end(api_request_pool *pool, api_request *x) {
    free(x->more);
    if (pool->count >= API_REQUEST_POOL_MAX || x->reply.capacity > API_REQUEST_KEPT_BYTES) {
        free_api_request(x);
        return;
    }
    dynbuf reply = x->reply;
    dynbuf_reset(&reply);
    *x = (api_request){.reply = reply, .next = pool->free};
    pool->free = x;
    pool->count++;
}

void api_request_pool_free(api_request_pool *pool) {
    while (pool->free) {
        api_request *x = pool->free;
        pool->free = x->next;
        free_api_request(x);
    }
}

bool api_request_make_batch(api_request *x) {
    x->more = http_claim_memory(x->request, batch_bytes) ? calloc(1, batch_bytes) : NULL;
    return x->more != NULL;
}

/* The fields of an answer, those of every one first; how many. */
static size_t collect_fields(api_request *x, unsigned status, const http_field *fields, size_t count,
                             http_field all[API_REQUEST_FIELDS_MAX + OWN_FIELDS_MAX]) {
    size_t own = 0;
    x->status = status;
    all[own++] = (http_field){"X-Request-Id", x->id};
    if (status == 503) {
        all[own++] = (http_field){"Retry-After", "1"};
    } else if (status == 401) {
        all[own++] = (http_field){"WWW-Authenticate", "Bearer realm=\"fewbit\""};
    }
    if (x->allow) {
        all[own++] = (http_field){"Allow", x->allow};
    }
    for (size_t i = 0; i < count; i++) {
        all[own++] = fields[i];
    }
    return own;
}

void api_request_answer(api_request *x, unsigned status, const http_field *fields, size_t count, span body) {
    http_field all[API_REQUEST_FIELDS_MAX + OWN_FIELDS_MAX];
    size_t all_count = collect_fields(x, status, fields, count, all);
    http_reply(x->request, &(http_response){status, all, all_count, body.at, body.length});
}

bool api_request_stream(api_request *x, const http_field *fields, size_t count, int kernel_bytes) {
    http_field all[API_REQUEST_FIELDS_MAX + OWN_FIELDS_MAX];
    size_t all_count = collect_fields(x, 200, fields, count, all);
    return http_stream_start(x->request, &(http_response){.status = 200, .fields = all, .field_count = all_count},
                             kernel_bytes);
}

void api_request_send(api_request *x, unsigned status, const char *type) {
    if (x->reply.has_failed) {
        http_abort(x->request); /* no memory for the answer */
        return;
    }
    api_request_answer(x, status, &(http_field){"Content-Type", type}, 1, (span){x->reply.bytes, x->reply.length});
}

void api_request_refuse(api_request *x, unsigned status, const char *code, const char *message) {
    dynbuf_reset(&x->reply);
    json_writer w = json_writer_make(&x->reply);
    json_views_error(&w, x->id, code, message);
    api_request_send(x, status, "application/json");
}
