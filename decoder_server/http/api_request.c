#include "decoder_server/http/api_request.h"

#include "base/clock.h"
#include "decoder_server/http/json_views.h"

#include <stdlib.h>

enum { OWN_FIELDS_MAX = 3 };

static void free_request(api_request *r) {
    dynbuf_free(&r->reply);
    free(r);
}

static api_request *take_free(api_request_pool *pool) {
    api_request *r = pool->free;
    if (r) {
        pool->free = r->next;
        pool->count--;
    } else if ((r = calloc(1, sizeof *r))) {
        r->reply = dynbuf_make(JSON_VIEWS_MAX);
    }
    return r;
}

api_request *api_request_start(api_request_pool *pool, http_request *http) {
    api_request *r = take_free(pool);
    if (!r) {
        return NULL;
    }
    r->http = http;
    r->next = NULL;
    r->started_ns = clock_now_ns();
    r->method = "-";
    r->route = ROUTE_NONE;
    request_id_choose(http->head.fields[REQUEST_FIELD_REQUEST_ID], ++pool->last_number, r->id);
    request_id_trace(http->head.fields[REQUEST_FIELD_TRACEPARENT], r->trace, &r->is_sampled);
    http->data = r;
    return r;
}

void api_request_end(api_request_pool *pool, api_request *r) {
    if (pool->count >= API_REQUEST_POOL_MAX || r->reply.capacity > API_REQUEST_KEPT_BYTES) {
        free_request(r);
        return;
    }
    dynbuf reply = r->reply;
    dynbuf_reset(&reply);
    *r = (api_request){.reply = reply, .next = pool->free};
    pool->free = r;
    pool->count++;
}

void api_request_pool_free(api_request_pool *pool) {
    while (pool->free) {
        api_request *r = pool->free;
        pool->free = r->next;
        free_request(r);
    }
}

/* The fields of an answer, those of every one first; how many. */
static size_t collect_fields(api_request *r, unsigned status, const http_field *fields, size_t count,
                             http_field all[API_REQUEST_FIELDS_MAX + OWN_FIELDS_MAX]) {
    size_t own = 0;
    r->status = status;
    all[own++] = (http_field){"X-Request-Id", r->id};
    if (status == 503) {
        all[own++] = (http_field){"Retry-After", "1"};
    } else if (status == 401) {
        all[own++] = (http_field){"WWW-Authenticate", "Bearer realm=\"fewbit\""};
    }
    if (r->allow) {
        all[own++] = (http_field){"Allow", r->allow};
    }
    for (size_t i = 0; i < count; i++) {
        all[own++] = fields[i];
    }
    return own;
}

void api_request_answer(api_request *r, unsigned status, const http_field *fields, size_t count, span body) {
    http_field all[API_REQUEST_FIELDS_MAX + OWN_FIELDS_MAX];
    size_t all_count = collect_fields(r, status, fields, count, all);
    http_reply(r->http, &(http_response){status, all, all_count, body.at, body.length});
}

bool api_request_stream(api_request *r, const http_field *fields, size_t count, int kernel_bytes) {
    http_field all[API_REQUEST_FIELDS_MAX + OWN_FIELDS_MAX];
    size_t all_count = collect_fields(r, 200, fields, count, all);
    return http_stream_start(r->http, &(http_response){.status = 200, .fields = all, .field_count = all_count},
                             kernel_bytes);
}

void api_request_send(api_request *r, unsigned status, const char *type) {
    if (r->reply.has_failed) {
        http_abort(r->http); /* no memory for the answer */
        return;
    }
    api_request_answer(r, status, &(http_field){"Content-Type", type}, 1, (span){r->reply.bytes, r->reply.length});
}

void api_request_refuse(api_request *r, unsigned status, const char *code, const char *message) {
    json_writer w = json_writer_make(&r->reply);
    dynbuf_reset(&r->reply);
    json_views_error(&w, r->id, code, message);
    api_request_send(r, status, "application/json");
}
