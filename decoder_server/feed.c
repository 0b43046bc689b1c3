#include "decoder_server/feed.h"

#include "decoder_server/mail.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct feed {
    worker **worker;
    atomic_bool is_wanted;
    bool is_under_way; /* handed over and not taken */
    bool is_full;      /* an event has found no room since the last hand-over: those behind it find none, too */
    uint64_t dropped;  /* since the last hand-over */
    size_t length;
    char bytes[FEED_BYTES];
};

err feed_new(feed **out, worker **w) {
    feed *f = calloc(1, sizeof *f);
    if (!f) {
        return err_fail(ERR_MEMORY, "no memory for events");
    }
    f->worker = w;
    *out = f;
    return ERR_OK;
}

void feed_free(feed *f) {
    free(f);
}

void feed_set_wanted(feed *f, bool wanted) {
    atomic_store(&f->is_wanted, wanted);
}

bool feed_is_wanted(const feed *f) {
    return f && atomic_load_explicit(&f->is_wanted, memory_order_relaxed);
}

static void add(feed *f, const char *bytes, size_t length) {
    memcpy(f->bytes + f->length, bytes, length);
    f->length += length;
}

bool feed_is_full(const feed *f) {
    return f->is_full;
}

void feed_drop(feed *f) {
    f->dropped++;
}

void feed_put(feed *f, const char *kind, const char *data, size_t length) {
    static const char before[] = "event: ", between[] = "\ndata: ", behind[] = "\n\n";
    size_t kind_length = strlen(kind);
    size_t need = sizeof before + kind_length + sizeof between + length + sizeof behind;
    f->is_full = f->is_full || (need <= FEED_EVENT_MAX && need > sizeof f->bytes - f->length);
    if (need > FEED_EVENT_MAX || f->is_full) {
        feed_drop(f);
        return;
    }
    add(f, before, sizeof before - 1);
    add(f, kind, kind_length);
    add(f, between, sizeof between - 1);
    add(f, data, length);
    add(f, behind, sizeof behind - 1);
}

void feed_flush(feed *f) {
    if (f->is_under_way || (f->length == 0 && f->dropped == 0)) {
        return;
    }
    if (worker_reply(*f->worker, MAIL_EVENTS, f->dropped, f->bytes, f->length) == ERR_OK) {
        f->is_under_way = true;
        f->dropped = 0;
    }
    f->length = 0;
    f->is_full = false;
}

void feed_taken(feed *f) {
    f->is_under_way = false;
    feed_flush(f);
}

void feed_finish(feed *f) {
    feed_taken(f);
}
