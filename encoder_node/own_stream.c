#include "encoder_node/own_stream.h"

#include "base/log_limit.h"

#include <inttypes.h>

void own_stream_disconnected(own_stream *s) {
    s->has_begun = s->is_held = s->is_outside = false;
}

void own_stream_describe(const own_stream *s, Fewbit__Ready *ready) {
    ready->stream = !s->exists   ? FEWBIT__STREAM__STREAM_NONE
                    : s->is_over ? FEWBIT__STREAM__STREAM_ENDED
                                 : FEWBIT__STREAM__STREAM_NEW;
    ready->session = s->session;
    ready->next = s->next;
}

bool own_stream_begin(own_stream *s, const Fewbit__Begin *b) {
    bool is_known = s->session != 0;
    if (b->session == 0 || (is_known && (b->session != s->session || b->first != s->next))) {
        return false;
    }
    if (!is_known && s->exists) {
        s->session = b->session;
        s->next = b->first;
        log_limited(LOG_INFO, 0, "pushing in session %" PRIx64 ", from sample %" PRIu64 " on", s->session, s->next);
    }
    s->has_begun = true;
    s->is_held = s->is_outside = false;
    return true;
}

void own_stream_hold(own_stream *s, const Fewbit__StreamHold *h) {
    if (h->outside && !s->is_outside) {
        log_limited(LOG_WARN, 0, "nothing is pushed: %s", h->text);
    }
    s->is_outside = h->outside;
    s->is_held = h->held;
}

bool own_stream_may_push(const own_stream *s) {
    return s->exists && s->has_begun && !s->is_over && !s->is_held;
}

bool own_stream_end(own_stream *s) {
    bool is_news = s->has_begun && !s->is_over;
    s->is_over = true;
    return is_news;
}
