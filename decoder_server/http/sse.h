/* Server-sent events to many subscribers.
 *
 * Events lie in one ring that all subscribers read, each at its own place, so a subscriber costs no memory but its
 * connection. A slow one that the ring has overtaken goes on with the oldest event there is and gets the number that it
 * missed ("event: lost", {"lost": N}); nobody waits for it. Subscribers are served in passes, a few at a time, so that
 * thousands of them cost the loop a small part of its time: each gets its share of SSE_SECOND_BYTES. A quiet stream
 * gets a comment line every SSE_HEARTBEAT_MS.
 *
 * Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_SSE_H
#define FEWBIT_DECODER_SERVER_HTTP_SSE_H

#include "decoder_server/http/api_request.h"

enum {
    SSE_SUBSCRIBERS_MAX = 1024,
    SSE_BLOCK_BYTES = HTTP_PIECE_MAX,
    SSE_RING_BYTES = 512 * 1024,
    SSE_RING_SLOTS = 4096,
    SSE_REPLAY_MAX = 512 * 1024,
    SSE_PASS_MS = 25,           /* a pass takes so long at least */
    SSE_SLICE_SUBSCRIBERS = 16, /* woken at once */
    SSE_SLICE_MS = 10,          /* and then nobody for so long */
    SSE_SECOND_BYTES = 8 << 20, /* to all subscribers together */
    SSE_HEARTBEAT_MS = 15000,
    SSE_KERNEL_BYTES = 64 * 1024, /* that the kernel keeps of a subscriber's stream */
};

typedef struct sse sse;

typedef struct sse_callbacks {
    /* There are subscribers now, or none any more. */
    void (*wanted)(void *context, bool wanted);
    /* What was added last is on its way: the next may come. */
    void (*taken)(void *context);
    void *context;
} sse_callbacks;

typedef struct sse_counters {
    uint32_t subscribers;
    uint64_t events, lost; /* added; missed by slow subscribers, and dropped before they came here */
} sse_counters;

/* With `with_last`, a new subscriber gets the last event there was, too. */
err sse_new(sse **e, uv_loop_t *loop, const sse_callbacks *callbacks, bool with_last);

/* Ends every stream, and accepts no new subscribers. */
void sse_end(sse *e);
/* Once no subscriber is left. */
void sse_free(sse *e);

/* Whole events, each closed by an empty line; `dropped` went missing before them. */
void sse_add(sse *e, uint64_t dropped, const char *bytes, size_t length);

/* Keeps one event that each new subscriber gets first. What does not fit SSE_REPLAY_MAX is not kept. */
void sse_add_replay(sse *e, const char *bytes, size_t length);

/* Streams the events from here on as the answer of `r`; false: too many subscribers, or no memory. */
bool sse_subscribe(sse *e, api_request *r);

/* The connection of a subscriber can take more; or is gone. */
void sse_resume(struct sse_subscriber *l);
void sse_leave(struct sse_subscriber *l);

const sse_counters *sse_count(const sse *e);

#endif
