#include "decoder_server/serve/backlog.h"

#include <stdlib.h>
#include <string.h>

/* Of one node: heads, each with its bits behind it, `length` bytes from `begin` on. */
typedef struct queue {
    uint8_t *bytes;
    size_t begin, length, capacity;
} queue;

struct backlog {
    uint32_t portions;
    uint32_t frames_of[BACKLOG_MODELS];
    queue queues[];
};

err backlog_new(backlog **out, uint32_t portions) {
    backlog *b = calloc(1, sizeof *b + portions * sizeof b->queues[0]);
    if (!b) {
        return err_fail(ERR_MEMORY, "no memory for a backlog");
    }
    b->portions = portions;
    *out = b;
    return ERR_OK;
}

void backlog_free(backlog *b) {
    for (uint32_t k = 0; b && k < b->portions; k++) {
        free(b->queues[k].bytes);
    }
    free(b);
}

/* Heads stay aligned. */
static size_t bytes_of(const backlog_codes *codes) {
    return sizeof *codes + (codes->length + 7) / 8 * 8;
}

/* Room for `need` bytes from `begin` on; false: no memory. What is there moves to the front only once a third of the
 * room before it is free again, so that a byte moves twice at most. */
static bool make_space(queue *q, size_t need) {
    if (q->begin + need <= q->capacity) {
        return true;
    }
    if (q->begin > 0) {
        memmove(q->bytes, q->bytes + q->begin, q->length);
        q->begin = 0;
    }
    if (need + need / 2 <= q->capacity) {
        return true;
    }
    uint8_t *grown = realloc(q->bytes, 2 * need);
    q->capacity = grown ? 2 * need : q->capacity;
    q->bytes = grown ? grown : q->bytes;
    return grown || need <= q->capacity;
}

err backlog_add(backlog *b, uint32_t portion, const backlog_codes *codes) {
    queue *q = &b->queues[portion];
    size_t need = q->length + bytes_of(codes);
    if (q->length >= BACKLOG_BYTES_MAX) { /* of a node that joins again and again, always with more */
        return err_fail(ERR_FULL, "the backlog of portion %u is full", portion);
    }
    if (!make_space(q, need)) {
        return err_fail(ERR_MEMORY, "no memory for codes of portion %u", portion);
    }
    uint8_t *end = q->bytes + q->begin + q->length;
    memcpy(end, codes, sizeof *codes);
    memcpy(end + sizeof *codes, codes->bits, codes->length);
    q->length = need;
    b->frames_of[codes->model]++;
    return ERR_OK;
}

bool backlog_first(const backlog *b, uint32_t portion, backlog_codes *codes) {
    const queue *q = &b->queues[portion];
    if (q->length == 0) {
        return false;
    }
    memcpy(codes, q->bytes + q->begin, sizeof *codes);
    codes->bits = q->bytes + q->begin + sizeof *codes;
    return true;
}

void backlog_set_done(backlog *b, uint32_t portion, uint64_t done) {
    queue *q = &b->queues[portion];
    backlog_codes codes;
    memcpy(&codes, q->bytes + q->begin, sizeof codes);
    codes.done = done;
    memcpy(q->bytes + q->begin, &codes, sizeof codes);
    if (done < codes.count) {
        return;
    }
    q->begin += bytes_of(&codes);
    q->length -= bytes_of(&codes);
    q->begin = q->length > 0 ? q->begin : 0;
    b->frames_of[codes.model]--;
}

size_t backlog_bytes(const backlog *b, uint32_t portion) {
    return b->queues[portion].length;
}

bool backlog_has_model(const backlog *b, uint8_t model) {
    return b->frames_of[model] > 0;
}
