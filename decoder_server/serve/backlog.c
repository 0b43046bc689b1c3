#include "decoder_server/serve/backlog.h"

#include "base/dynbuf.h"
#include "wire/frame.h"

#include <stdlib.h>

/* Of one node: heads, each followed by its bits, from `begin` on. */
typedef struct queue {
    dynbuf bytes;
    size_t begin;
} queue;

enum { QUEUE_BYTES_MAX = 2 * (BACKLOG_BYTES_MAX + FRAME_PAYLOAD_MAX) };

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
    for (uint32_t k = 0; k < portions; k++) {
        b->queues[k].bytes = dynbuf_make(QUEUE_BYTES_MAX);
    }
    *out = b;
    return ERR_OK;
}

void backlog_free(backlog *b) {
    for (uint32_t k = 0; b && k < b->portions; k++) {
        dynbuf_free(&b->queues[k].bytes);
    }
    free(b);
}

/* Heads stay aligned. */
static size_t bytes_of(const backlog_codes *codes) {
    return sizeof *codes + (codes->length + 7) / 8 * 8;
}

static size_t length_of(const queue *q) {
    return q->bytes.length - q->begin;
}

err backlog_add(backlog *b, uint32_t portion, const backlog_codes *codes) {
    queue *q = &b->queues[portion];
    size_t size = bytes_of(codes);
    if (length_of(q) >= BACKLOG_BYTES_MAX) { /* of a node that joins again and again, always with more */
        return err_fail(ERR_FULL, "the backlog of portion %u is full", portion);
    }
    /* Instead of growing, once that frees half as much as it moves: a byte moves twice at most. */
    if (q->bytes.capacity - q->bytes.length <= size && q->begin > length_of(q) / 2) {
        dynbuf_drop(&q->bytes, q->begin);
        q->begin = 0;
    }
    char *to = dynbuf_room(&q->bytes, size);
    if (!to) {
        q->bytes.has_failed = false; /* the next may find room */
        return err_fail(ERR_MEMORY, "no memory for codes of portion %u", portion);
    }
    memcpy(to, codes, sizeof *codes);
    memcpy(to + sizeof *codes, codes->bits, codes->length);
    dynbuf_commit(&q->bytes, to + size);
    b->frames_of[codes->model]++;
    return ERR_OK;
}

bool backlog_first(const backlog *b, uint32_t portion, backlog_codes *codes) {
    const queue *q = &b->queues[portion];
    if (length_of(q) == 0) {
        return false;
    }
    const char *head = q->bytes.bytes + q->begin;
    memcpy(codes, head, sizeof *codes);
    codes->bits = (const uint8_t *)head + sizeof *codes;
    return true;
}

void backlog_set_done(backlog *b, uint32_t portion, uint64_t done) {
    queue *q = &b->queues[portion];
    backlog_codes codes;
    memcpy(&codes, q->bytes.bytes + q->begin, sizeof codes);
    codes.done = done;
    memcpy(q->bytes.bytes + q->begin, &codes, sizeof codes);
    if (done < codes.count) {
        return;
    }
    q->begin += bytes_of(&codes);
    if (length_of(q) == 0) {
        dynbuf_reset(&q->bytes);
        q->begin = 0;
    }
    b->frames_of[codes.model]--;
}

size_t backlog_bytes(const backlog *b, uint32_t portion) {
    return length_of(&b->queues[portion]);
}

bool backlog_has_model(const backlog *b, uint8_t model) {
    return b->frames_of[model] > 0;
}
