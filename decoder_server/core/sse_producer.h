/* Server-sent events on their way from a role to the HTTP API.
 *
 * They are gathered in a buffer that is handed over as a whole; the next one is handed over once the last was taken, so
 * that a flood of events costs the loop no more than it can bear. What finds no room meanwhile is dropped and counted,
 * never waited for. Without subscribers an event costs one read of a flag. */
#ifndef FEWBIT_DECODER_SERVER_CORE_SSE_PRODUCER_H
#define FEWBIT_DECODER_SERVER_CORE_SSE_PRODUCER_H

#include "base/err.h"

typedef struct sse_producer sse_producer;

enum { SSE_PRODUCER_EVENT_MAX = 6 * 1024, SSE_PRODUCER_BYTES = 64 * 1024 };

/* Whole events, borrowed until the return; `dropped` went missing before them. sse_producer_taken follows later. */
typedef void sse_producer_hand_over(void *context, uint64_t dropped, const char *bytes, size_t length);

err sse_producer_new(sse_producer **f, sse_producer_hand_over *hand_over, void *context);
void sse_producer_free(sse_producer *f);

/* Whether there are subscribers. */
void sse_producer_set_wanted(sse_producer *f, bool wanted);
bool sse_producer_is_wanted(const sse_producer *f);

/* One event: "event: KIND\ndata: DATA\n\n". `data` has no line ends. */
void sse_producer_put(sse_producer *f, const char *kind, const char *data, size_t length);

/* Nothing finds room until more is handed over. Whoever asks before it makes an event saves that work, and counts the
 * event with sse_producer_drop. */
bool sse_producer_is_full(const sse_producer *f);
void sse_producer_drop(sse_producer *f);

/* Hands over what is there, unless the last is not taken yet. */
void sse_producer_flush(sse_producer *f);

/* While it is held nothing is handed over; after that, what there is. */
void sse_producer_hold(sse_producer *f, bool held);

/* What was handed over is taken, or the end is near and does not wait for that. */
void sse_producer_taken(sse_producer *f);

#endif
