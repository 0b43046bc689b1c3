#include "decoder_server/core/sse_producer.h"

#include "base/dynbuf.h"

#include <stdlib.h>

struct sse_producer {
    sse_producer_hand_over *hand_over;
    void *context;
    bool is_wanted, is_held;
    bool is_under_way; /* handed over and not taken */
    uint64_t dropped;  /* since the last hand-over */
    dynbuf events;     /* once one has found no room there, those after it find none, too */
    char bytes[SSE_PRODUCER_BYTES];
};

err sse_producer_new(sse_producer **out, sse_producer_hand_over *hand_over, void *context) {
    sse_producer *f = calloc(1, sizeof *f);
    if (!f) {
        return err_fail(ERR_MEMORY, "no memory for events");
    }
    f->hand_over = hand_over;
    f->context = context;
    f->events = dynbuf_over(f->bytes, sizeof f->bytes);
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

bool sse_producer_is_full(const sse_producer *f) {
    return f->events.has_failed;
}

void sse_producer_drop(sse_producer *f) {
    f->dropped++;
}

void sse_producer_put(sse_producer *f, const char *kind, const char *data, size_t length) {
    static const char before[] = "event: ", between[] = "\ndata: ", behind[] = "\n\n";
    size_t kind_length = strlen(kind);
    size_t need = sizeof before + kind_length + sizeof between + length + sizeof behind;
    char *to = need <= SSE_PRODUCER_EVENT_MAX ? dynbuf_room(&f->events, need) : NULL;
    if (!to) {
        sse_producer_drop(f);
        return;
    }
    dynbuf_add(&f->events, before, sizeof before - 1);
    dynbuf_add(&f->events, kind, kind_length);
    dynbuf_add(&f->events, between, sizeof between - 1);
    dynbuf_add(&f->events, data, length);
    dynbuf_add(&f->events, behind, sizeof behind - 1);
}

void sse_producer_flush(sse_producer *f) {
    if (f->is_held || f->is_under_way || (f->events.length == 0 && f->dropped == 0)) {
        return;
    }
    uint64_t dropped = f->dropped;
    size_t length = f->events.length;
    f->is_under_way = true;
    f->dropped = 0;
    dynbuf_reset(&f->events);
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
