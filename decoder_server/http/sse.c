#include "decoder_server/http/sse.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct sse_subscriber {
    sse *of;
    http_request *request;
    LIST_ENTRY(sse_subscriber) all;
    size_t replayed, replay;          /* bytes of the replay: sent, and to be sent */
    uint64_t at;                      /* number of the next event */
    uint64_t total;                   /* of the events before `at` */
    size_t left;                      /* bytes it may still get in this pass */
    bool is_blocked, wants_heartbeat; /* its connection takes no more now */
} sse_subscriber;

/* Event n lies at place starts[n % SLOTS] of the stream of all bytes ever added, byte p of which is
 * ring[p % RING_BYTES]. */
struct sse {
    sse_callbacks callbacks;
    LIST_HEAD(, sse_subscriber) all;
    sse_counters counters;
    uint64_t starts[SSE_RING_SLOTS];
    /* An event counts once, one that reports N lost events N times; total_at[n]: all up to event n. The entry before
     * the oldest event is still valid. */
    uint64_t total_at[SSE_RING_SLOTS], total;
    uint64_t oldest, next; /* events there are: [oldest, next) */
    uint64_t end;          /* bytes added */
    dynbuf replay;
    uv_timer_t *slice, *heartbeat;
    sse_subscriber *next_woken; /* the next of a pass; NULL between passes */
    size_t share, woken_in_pass;
    bool is_taken_late; /* call callbacks.taken at the end of the pass */
    bool with_last;
    bool has_ended;
    char ring[SSE_RING_BYTES];
};

static void on_heartbeat(uv_timer_t *timer);

static void free_timer(uv_handle_t *handle) {
    free(handle);
}

err sse_new(sse **out, uv_loop_t *loop, const sse_callbacks *callbacks, bool with_last) {
    sse *e = calloc(1, sizeof *e);
    uv_timer_t *slice = malloc(sizeof *slice), *heartbeat = malloc(sizeof *heartbeat);
    if (!e || !slice || !heartbeat) {
        free(e);
        free(slice);
        free(heartbeat);
        return err_fail(ERR_MEMORY, "no memory for events");
    }
    *e = (sse){.callbacks = *callbacks,
               .slice = slice,
               .heartbeat = heartbeat,
               .replay = dynbuf_make(SSE_REPLAY_MAX),
               .with_last = with_last};
    uv_timer_init(loop, slice);
    uv_timer_init(loop, heartbeat);
    slice->data = heartbeat->data = e;
    uv_timer_start(heartbeat, on_heartbeat, SSE_HEARTBEAT_MS, SSE_HEARTBEAT_MS);
    *out = e;
    return ERR_OK;
}

static void send_events(sse_subscriber *l);

void sse_end(sse *e) {
    e->has_ended = true;
    sse_subscriber *l;
    LIST_FOREACH(l, &e->all, all) {
        l->left = SSE_SECOND_BYTES; /* all that is there goes out */
        send_events(l);
        http_stream_end(l->request);
    }
    uv_close((uv_handle_t *)e->slice, free_timer);
    uv_close((uv_handle_t *)e->heartbeat, free_timer);
}

void sse_free(sse *e) {
    if (e) {
        dynbuf_free(&e->replay);
        free(e);
    }
}

/* The ring. */

static uint64_t event_end(const sse *e, uint64_t n) {
    return n + 1 == e->next ? e->end : e->starts[(n + 1) % SSE_RING_SLOTS];
}

static void add_one(sse *e, const char *bytes, size_t length, uint64_t counts_for) {
    if (length > SSE_BLOCK_BYTES / 4 * 3) {
        e->counters.lost++;
        return;
    }
    while (e->oldest < e->next && (e->next - e->oldest == SSE_RING_SLOTS - 1 ||
                                   e->end + length - e->starts[e->oldest % SSE_RING_SLOTS] > SSE_RING_BYTES)) {
        e->oldest++;
    }
    e->total += counts_for;
    e->total_at[e->next % SSE_RING_SLOTS] = e->total;
    e->starts[e->next++ % SSE_RING_SLOTS] = e->end;
    size_t from = e->end % SSE_RING_BYTES;
    size_t first = length < SSE_RING_BYTES - from ? length : SSE_RING_BYTES - from;
    memcpy(e->ring + from, bytes, first);
    memcpy(e->ring, bytes + first, length - first);
    e->end += length;
    e->counters.events++;
}

static void copy_out(const sse *e, uint64_t place, size_t length, char *to) {
    size_t from = place % SSE_RING_BYTES;
    size_t first = length < SSE_RING_BYTES - from ? length : SSE_RING_BYTES - from;
    memcpy(to, e->ring + from, first);
    memcpy(to + first, e->ring, length - first);
}

/* Passes. */

static bool has_news(const sse *e, const sse_subscriber *l) {
    return l->at < e->next || l->replayed < l->replay;
}

static bool wants_waking(const sse *e, const sse_subscriber *l) {
    return !l->is_blocked && (l->wants_heartbeat || has_news(e, l));
}

/* The bytes that each may get in a pass. */
static size_t share_of(const sse *e) {
    size_t subscribers = e->counters.subscribers ? e->counters.subscribers : 1;
    size_t ms = subscribers / SSE_SLICE_SUBSCRIBERS * SSE_SLICE_MS;
    ms = ms > SSE_PASS_MS ? ms : SSE_PASS_MS;
    return SSE_SECOND_BYTES / 1000 * ms / subscribers;
}

/* Serves the next few of a pass. Another pass follows one that served any. */
static void on_slice(uv_timer_t *timer) {
    sse *e = timer->data;
    size_t woken = 0;
    if (!e->next_woken) {
        e->next_woken = LIST_FIRST(&e->all);
        e->woken_in_pass = 0;
        e->share = share_of(e);
    }
    for (; e->next_woken && woken < SSE_SLICE_SUBSCRIBERS; e->next_woken = LIST_NEXT(e->next_woken, all)) {
        if (wants_waking(e, e->next_woken)) {
            e->next_woken->left = e->share;
            send_events(e->next_woken);
            woken++;
        }
    }
    e->woken_in_pass += woken;
    bool has_passed = !e->next_woken, is_owed = has_passed && e->is_taken_late;
    if (!has_passed || is_owed || e->woken_in_pass > 0) {
        uv_timer_start(e->slice, on_slice, has_passed ? SSE_PASS_MS : SSE_SLICE_MS, 0);
    }
    if (is_owed) {
        e->is_taken_late = false;
        e->callbacks.taken(e->callbacks.context);
    }
}

/* Unless a pass, or the pause after one, is under way. */
static void start_pass(sse *e) {
    if (!uv_is_active((uv_handle_t *)e->slice)) {
        on_slice(e->slice);
    }
}

static void on_heartbeat(uv_timer_t *timer) {
    sse *e = timer->data;
    sse_subscriber *l;
    LIST_FOREACH(l, &e->all, all) {
        l->wants_heartbeat = l->wants_heartbeat || !l->is_blocked;
    }
    start_pass(e);
}

void sse_add(sse *e, uint64_t dropped, const char *bytes, size_t length) {
    e->counters.lost += dropped;
    if (dropped > 0) {
        char lost[80];
        int lost_length = snprintf(lost, sizeof lost, "event: lost\ndata: {\"lost\":%" PRIu64 "}\n\n", dropped);
        add_one(e, lost, (size_t)lost_length, dropped);
    }
    while (length > 0) {
        const char *gap = memmem(bytes, length, "\n\n", 2);
        size_t one = gap ? (size_t)(gap - bytes) + 2 : length;
        add_one(e, bytes, one, 1);
        bytes += one;
        length -= one;
    }
    e->is_taken_late = true;
    start_pass(e);
}

void sse_add_replay(sse *e, const char *bytes, size_t length) {
    if (length <= SSE_BLOCK_BYTES / 4 * 3) {
        dynbuf_add(&e->replay, bytes, length);
        e->replay.has_failed = false; /* only this one is not kept */
    }
}

/* A subscriber's stream. */

/* Whole events of the replay, as many as fit. */
static size_t read_replay(sse_subscriber *l, char *to, size_t room) {
    const sse *e = l->of;
    size_t length = l->replay - l->replayed;
    const char *from = e->replay.bytes + l->replayed;
    if (length > room) {
        length = room;
        while (length > 2 && memcmp(from + length - 2, "\n\n", 2) != 0) {
            length--;
        }
    }
    memcpy(to, from, length);
    l->replayed += length;
    return length;
}

static size_t tell_lost(sse_subscriber *l, char *to, size_t room) {
    sse *e = l->of;
    uint64_t before_oldest = e->total_at[(e->oldest - 1) % SSE_RING_SLOTS];
    uint64_t lost = before_oldest - l->total;
    l->at = e->oldest;
    l->total = before_oldest;
    e->counters.lost += lost;
    return (size_t)snprintf(to, room, "event: lost\ndata: {\"lost\":%" PRIu64 "}\n\n", lost);
}

static size_t read_events(sse_subscriber *l, char *to, size_t room) {
    const sse *e = l->of;
    size_t length = l->at < e->oldest ? tell_lost(l, to, room) : 0;
    for (; l->at < e->next; l->at++) {
        uint64_t from = e->starts[l->at % SSE_RING_SLOTS];
        size_t one = (size_t)(event_end(e, l->at) - from);
        if (length + one > room || (length > 0 && length + one > l->left)) {
            break;
        }
        copy_out(e, from, one, to + length);
        length += one;
        l->total = e->total_at[l->at % SSE_RING_SLOTS];
    }
    return length;
}

/* The next bytes for it; 0: there are none, or its share is used up. */
static size_t read_stream(sse_subscriber *l, char to[SSE_BLOCK_BYTES]) {
    size_t length = 0;
    if (l->replayed < l->replay) {
        length = read_replay(l, to, SSE_BLOCK_BYTES);
    } else if (l->at < l->of->next && l->left > 0) {
        length = read_events(l, to, SSE_BLOCK_BYTES);
        l->left -= length < l->left ? length : l->left;
    } else if (l->wants_heartbeat) {
        length = 3;
        memcpy(to, ":\n\n", length);
    }
    l->wants_heartbeat = false;
    return length;
}

static void send_events(sse_subscriber *l) {
    char block[SSE_BLOCK_BYTES];
    size_t length;
    while (!l->is_blocked && (length = read_stream(l, block)) > 0) {
        l->is_blocked = !http_stream_send(l->request, block, length);
    }
    if (!l->is_blocked && has_news(l->of, l) && !l->of->has_ended && !uv_is_active((uv_handle_t *)l->of->slice)) {
        uv_timer_start(l->of->slice, on_slice, SSE_PASS_MS, 0); /* its share is used up */
    }
}

void sse_resume(sse_subscriber *l) {
    l->is_blocked = false;
    if (!l->of->has_ended) {
        send_events(l);
    }
}

void sse_leave(sse_subscriber *l) {
    sse *e = l->of;
    if (e->next_woken == l) {
        e->next_woken = LIST_NEXT(l, all);
    }
    LIST_REMOVE(l, all);
    free(l);
    if (--e->counters.subscribers == 0 && !e->has_ended) {
        e->callbacks.wanted(e->callbacks.context, false);
    }
}

bool sse_subscribe(sse *e, api_request *r) {
    static const http_field fields[] = {{"Content-Type", "text/event-stream"}, {"Cache-Control", "no-store"}};
    sse_subscriber *l = e->counters.subscribers < SSE_SUBSCRIBERS_MAX && !e->has_ended ? malloc(sizeof *l) : NULL;
    if (!l) {
        return false;
    }
    *l = (sse_subscriber){.of = e,
                          .request = r->http,
                          .replay = e->replay.length,
                          .at = e->with_last && e->next > 0 ? e->next - 1 : e->next,
                          .left = share_of(e),
                          .wants_heartbeat = true}; /* a first line at once tells the client that it is subscribed */
    l->total = l->at > 0 ? e->total_at[(l->at - 1) % SSE_RING_SLOTS] : 0;
    LIST_INSERT_HEAD(&e->all, l, all);
    r->subscriber = l;
    if (e->counters.subscribers++ == 0) {
        e->callbacks.wanted(e->callbacks.context, true);
    }
    l->is_blocked = !api_request_stream(r, fields, 2, SSE_KERNEL_BYTES);
    send_events(l);
    return true;
}

const sse_counters *sse_count(const sse *e) {
    return &e->counters;
}
