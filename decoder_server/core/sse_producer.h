/* The producer of server-sent events: events from the worker to whoever listens over HTTP, as server-sent events.
 *
 * The worker's side, pure: events are gathered in a buffer that is handed over as a whole; the next one is handed over
 * once the loop has taken the last, so that a flood of events costs the loop no more than it can bear. What finds no
 * room meanwhile is dropped and counted, never waited for. Without listeners an event costs one read of a flag. */
#ifndef FEWBIT_DECODER_SERVER_CORE_SSE_PRODUCER_H
#define FEWBIT_DECODER_SERVER_CORE_SSE_PRODUCER_H

#include "base/err.h"
#include "loop/worker.h"

#include <stdbool.h>

typedef struct sse_producer sse_producer;

enum { SSE_PRODUCER_EVENT_MAX = 6 * 1024, SSE_PRODUCER_BYTES = 64 * 1024 };

/* `*w` is where the events go (MAIL_EVENTS). */
err sse_producer_new(sse_producer **f, worker **w);
void sse_producer_free(sse_producer *f);

/* Whether anybody listens; said by any thread. */
void sse_producer_set_wanted(sse_producer *f, bool wanted);
bool sse_producer_is_wanted(const sse_producer *f);

/* One event: "event: KIND\ndata: DATA\n\n". `data` has no line ends. */
void sse_producer_put(sse_producer *f, const char *kind, const char *data, size_t length);

/* Nothing finds room until more is handed over. Whoever asks before it makes an event saves that work, and counts the
 * event with sse_producer_drop. */
bool sse_producer_is_full(const sse_producer *f);
void sse_producer_drop(sse_producer *f);

/* Hands over what is there, unless the loop still has the last. */
void sse_producer_flush(sse_producer *f);

/* The same though the loop still has the last: the end is near. */
void sse_producer_finish(sse_producer *f);

/* The loop has taken what it was handed (MAIL_EVENTS_TAKEN). */
void sse_producer_taken(sse_producer *f);

#endif
