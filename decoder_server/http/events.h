/* Server-sent events to many listeners.
 *
 * Events lie in one ring that all listeners read, each at its own place, so a listener costs no memory but its
 * connection. A slow one that the ring has overtaken goes on with the oldest event there is and is told how many it
 * missed ("event: lost", {"lost": N}); nobody waits for it. Listeners are woken in passes, a few at a time, so that
 * thousands cost the loop a small part of its time: each gets its share of EVENTS_SECOND_BYTES. Quiet ones get a
 * comment line every EVENTS_HEARTBEAT_MS.
 *
 * Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_EVENTS_H
#define FEWBIT_DECODER_SERVER_HTTP_EVENTS_H

#include "base/err.h"
#include "decoder_server/http/exchange.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
    EVENTS_LISTENERS_MAX = 1024,
    EVENTS_BLOCK_BYTES = HTTP_PIECE_MAX,
    EVENTS_RING_BYTES = 512 * 1024,
    EVENTS_RING_SLOTS = 4096,
    EVENTS_GREETING_MAX = 512 * 1024,
    EVENTS_PASS_MS = 25,           /* a pass takes so long at least */
    EVENTS_SLICE_LISTENERS = 16,   /* woken at once */
    EVENTS_SLICE_MS = 10,          /* and then nobody for so long */
    EVENTS_SECOND_BYTES = 8 << 20, /* to all listeners together */
    EVENTS_HEARTBEAT_MS = 15000,
    EVENTS_KERNEL_BYTES = 64 * 1024, /* that the kernel keeps of a listener's stream */
};

typedef struct events events;

typedef struct events_host {
    /* There are listeners now, or none any more. */
    void (*wanted)(void *context, bool wanted);
    /* What was added last is on its way: the next may come. */
    void (*taken)(void *context);
    void *context;
} events_host;

typedef struct events_counters {
    uint32_t listeners;
    uint64_t events, lost; /* added; missed by slow listeners, and dropped before they came here */
} events_counters;

/* With `with_last`, a new listener gets the last event there was, too. */
err events_new(events **e, uv_loop_t *loop, const events_host *host, bool with_last);

/* Ends every stream, and takes no new listeners. */
void events_end(events *e);
/* Once no listener is left. */
void events_free(events *e);

/* Whole events, each closed by an empty line; `dropped` went missing before them. */
void events_add(events *e, uint64_t dropped, const char *bytes, size_t length);

/* The same for one event that each new listener gets first, from now on. What does not fit EVENTS_GREETING_MAX is not
 * kept. */
void events_greet(events *e, const char *bytes, size_t length);

/* Streams the events from here on as the answer of `x`; false: too many listeners, or no memory. */
bool events_listen(events *e, exchange *x);

/* The connection of a listener has taken what it was sent; or has gone. */
void events_resume(struct listener *l);
void events_leave(struct listener *l);

const events_counters *events_count(const events *e);

#endif
