#include "encoder_node/node_stream.h"

#include "base/log_limit.h"

#include <inttypes.h>

void node_stream_disconnected(node_stream *s) {
    s->has_begun = s->is_held = s->is_outside = false;
}

void node_stream_describe(const node_stream *s, Fewbit__Ready *ready) {
    ready->stream = !s->exists   ? FEWBIT__STREAM__STREAM_NONE
                    : s->is_over ? FEWBIT__STREAM__STREAM_ENDED
                                 : FEWBIT__STREAM__STREAM_NEW;
    ready->session = s->session;
    ready->next = s->next;
}

bool node_stream_begin(node_stream *s, const Fewbit__Begin *b) {
    bool is_known = s->session != 0;
    if (b->session == 0 || (is_known && (b->session != s->session || b->first != s->next))) {
        return false;
    }
    if (!is_known && s->exists) {
        s->session = b->session;
        s->next = b->first;
        log_limited(LOG_INFO, "stream_session_began", 0, "streaming in session %" PRIx64 ", from sample %" PRIu64 " on",
                    s->session, s->next);
    }
    s->has_begun = true;
    s->is_held = s->is_outside = false;
    return true;
}

void node_stream_hold(node_stream *s, const Fewbit__StreamHold *h) {
    if (h->outside && !s->is_outside) {
        log_limited(LOG_WARN, "stream_refused", 0, "nothing is streamed: %s", h->text);
    }
    s->is_outside = h->outside;
    s->is_held = h->held;
}

bool node_stream_may_send(const node_stream *s) {
    return s->exists && s->has_begun && !s->is_over && !s->is_held;
}

bool node_stream_end(node_stream *s) {
    bool is_news = s->has_begun && !s->is_over;
    s->is_over = true;
    return is_news;
}
