#include "decoder_server/core/sse_producer.h"

#include <stdlib.h>
#include <string.h>

struct sse_producer {
    sse_producer_hand_over *hand_over;
    void *context;
    bool is_wanted, is_held;
    bool is_under_way; /* handed over and not taken */
    bool is_full;      /* an event has found no room since the last hand-over: those behind it find none, too */
    uint64_t dropped;  /* since the last hand-over */
    size_t length;
    char bytes[SSE_PRODUCER_BYTES];
};

err sse_producer_new(sse_producer **out, sse_producer_hand_over *hand_over, void *context) {
    sse_producer *f = calloc(1, sizeof *f);
    if (!f) {
        return err_fail(ERR_MEMORY, "no memory for events");
    }
    f->hand_over = hand_over;
    f->context = context;
    *out = f;
    return ERR_OK;
}

void sse_producer_free(sse_producer *f) {
    free(f);
}

void sse_producer_set_wanted(sse_producer *f, bool wanted) {
    f->is_wanted = wanted;
}

bool sse_producer_is_wanted(const sse_producer *f) {
    return f && f->is_wanted;
}

static void add(sse_producer *f, const char *bytes, size_t length) {
    memcpy(f->bytes + f->length, bytes, length);
    f->length += length;
}

bool sse_producer_is_full(const sse_producer *f) {
    return f->is_full;
}

void sse_producer_drop(sse_producer *f) {
    f->dropped++;
}

void sse_producer_put(sse_producer *f, const char *kind, const char *data, size_t length) {
    static const char before[] = "event: ", between[] = "\ndata: ", behind[] = "\n\n";
    size_t kind_length = strlen(kind);
    size_t need = sizeof before + kind_length + sizeof between + length + sizeof behind;
    f->is_full = f->is_full || (need <= SSE_PRODUCER_EVENT_MAX && need > sizeof f->bytes - f->length);
    if (need > SSE_PRODUCER_EVENT_MAX || f->is_full) {
        sse_producer_drop(f);
        return;
    }
    add(f, before, sizeof before - 1);
    add(f, kind, kind_length);
    add(f, between, sizeof between - 1);
    add(f, data, length);
    add(f, behind, sizeof behind - 1);
}

void sse_producer_flush(sse_producer *f) {
    if (f->is_held || f->is_under_way || (f->length == 0 && f->dropped == 0)) {
        return;
    }
    uint64_t dropped = f->dropped;
    size_t length = f->length;
    f->is_under_way = true;
    f->is_full = false;
    f->dropped = f->length = 0;
    f->hand_over(f->context, dropped, f->bytes, length); /* may be taken before it returns */
}

void sse_producer_hold(sse_producer *f, bool held) {
    f->is_held = held;
    sse_producer_flush(f);
}

void sse_producer_taken(sse_producer *f) {
    f->is_under_way = false;
    sse_producer_flush(f);
}

void sse_producer_finish(sse_producer *f) {
    sse_producer_taken(f);
}
