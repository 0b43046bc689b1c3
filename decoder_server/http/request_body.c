#include "decoder_server/http/request_body.h"

#include <stdlib.h>
#include <string.h>

enum { KEPT = 64, KEPT_BYTES = 64 * 1024, FIRST_BYTES = 4096 };

typedef struct body_memory {
    struct body_memory *next; /* of those that are free */
    char *bytes;
    size_t capacity;
} body_memory;

/* Memory. */

static bool has_room(const body_pool *pool, size_t more) {
    return more <= REQUEST_BODIES_MAX && pool->bytes <= REQUEST_BODIES_MAX - more;
}

bool body_pool_claim(body_pool *pool, size_t bytes) {
    bool fits = has_room(pool, bytes);
    pool->bytes += fits ? bytes : 0;
    return fits;
}

void body_pool_release(body_pool *pool, size_t bytes) {
    pool->bytes -= bytes;
}

static body_memory *take_memory(body_pool *pool) {
    body_memory *m = pool->free;
    if (!m) {
        return calloc(1, sizeof *m);
    }
    pool->free = m->next;
    pool->free_count--;
    pool->bytes += m->capacity;
    return m;
}

static void free_memory(body_memory *m) {
    free(m->bytes);
    free(m);
}

static void give_back(body_pool *pool, body_memory *m) {
    pool->bytes -= m->capacity;
    if (pool->free_count == KEPT || m->capacity > KEPT_BYTES) {
        free_memory(m);
        return;
    }
    m->next = pool->free;
    pool->free = m;
    pool->free_count++;
}

void body_pool_free(body_pool *pool) {
    while (pool->free) {
        body_memory *m = pool->free;
        pool->free = m->next;
        free_memory(m);
    }
}

/* What has little finds room, however much all others have. */
static bool make_room(body_pool *pool, body_memory *m, size_t length) {
    size_t capacity = m->capacity ? m->capacity : FIRST_BYTES;
    while (capacity < length) {
        capacity *= 2;
    }
    if (capacity == m->capacity) {
        return true;
    }
    bool may_grow = capacity <= KEPT_BYTES || has_room(pool, capacity - m->capacity);
    char *grown = may_grow ? realloc(m->bytes, capacity) : NULL;
    if (grown) {
        pool->bytes += capacity - m->capacity;
        m->bytes = grown;
        m->capacity = capacity;
    }
    return grown != NULL;
}

/* Bodies. */

const http_problem *request_body_problem(request_body_state state) {
    static const http_problem too_long = {413, "too_large", "the body has more than 1 MiB"};
    static const http_problem no_room = {503, "busy", "the requests under way leave no memory for this one"};
    static const http_problem bad = {400, "bad_request", "the body's chunks are damaged"};
    static const http_problem cut = {400, "bad_request", "the body ends before all of it was sent"};
    return state == REQUEST_BODY_TOO_LONG  ? &too_long
           : state == REQUEST_BODY_NO_ROOM ? &no_room
           : state == REQUEST_BODY_BAD     ? &bad
                                           : &cut;
}

void request_body_begin(request_body *b, body_pool *pool, const request_head *h) {
    *b = (request_body){.pool = pool, .is_chunked = h->is_chunked, .left = h->content_length, .bytes = span_of("")};
}

void request_body_drop(request_body *b) {
    if (b->memory) {
        give_back(b->pool, b->memory);
    }
    b->memory = NULL;
    b->is_kept = false;
}

static bool keep(request_body *b, span piece) {
    if (!b->is_kept || piece.length == 0) {
        return true;
    }
    b->memory = b->memory ? b->memory : take_memory(b->pool);
    if (!b->memory || !make_room(b->pool, b->memory, b->bytes.length + piece.length)) {
        return false;
    }
    memcpy(b->memory->bytes + b->bytes.length, piece.at, piece.length);
    b->bytes = (span){b->memory->bytes, b->bytes.length + piece.length};
    return true;
}

static span take_first(span *rest, size_t length) {
    span first = {rest->at, length};
    *rest = (span){rest->at + length, rest->length - length};
    return first;
}

static request_body_state take_plain(request_body *b, span *rest, size_t room) {
    bool stays = !b->memory && b->left <= room;
    if (b->left > REQUEST_BODY_MAX) {
        return REQUEST_BODY_TOO_LONG;
    }
    if (stays && b->left > rest->length) {
        return REQUEST_BODY_MORE;
    }
    span piece = take_first(rest, b->left < rest->length ? (size_t)b->left : rest->length);
    b->left -= piece.length;
    if (stays) {
        b->bytes = piece;
    } else if (!keep(b, piece)) {
        return REQUEST_BODY_NO_ROOM;
    }
    return b->left > 0 ? REQUEST_BODY_MORE : REQUEST_BODY_WHOLE;
}

static bool is_too_long(const request_body *b) {
    return b->left > REQUEST_BODY_MAX || b->chunks.left > REQUEST_BODY_MAX - b->left;
}

static request_body_state take_chunks(request_body *b, span *rest) {
    span piece;
    chunked_state state;
    while ((state = chunked_take(&b->chunks, rest, &piece)) == CHUNKED_PIECE) {
        b->left += piece.length;
        if (is_too_long(b)) {
            return REQUEST_BODY_TOO_LONG;
        }
        if (!keep(b, piece)) {
            return REQUEST_BODY_NO_ROOM;
        }
    }
    return is_too_long(b)         ? REQUEST_BODY_TOO_LONG
           : state == CHUNKED_END ? REQUEST_BODY_WHOLE
           : state == CHUNKED_BAD ? REQUEST_BODY_BAD
                                  : REQUEST_BODY_MORE;
}

request_body_state request_body_take(request_body *b, span *rest, size_t room) {
    return b->is_chunked ? take_chunks(b, rest) : take_plain(b, rest, room);
}
