/* The feed: events from the worker to whoever listens over HTTP, as server-sent events.
 *
 * The worker's side, pure: events are gathered in a buffer that is handed over as a whole; the next one is handed over
 * once the loop has taken the last, so that a flood of events costs the loop no more than it can bear. What finds no
 * room meanwhile is dropped and counted, never waited for. Without listeners an event costs one read of a flag. */
#ifndef FEWBIT_DECODER_SERVER_FEED_H
#define FEWBIT_DECODER_SERVER_FEED_H

#include "base/err.h"
#include "loop/worker.h"

#include <stdbool.h>

typedef struct feed feed;

enum { FEED_EVENT_MAX = 6 * 1024, FEED_BYTES = 64 * 1024 };

/* `*w` is where the events go (MAIL_EVENTS). */
err feed_new(feed **f, worker **w);
void feed_free(feed *f);

/* Whether anybody listens; said by any thread. */
void feed_set_wanted(feed *f, bool wanted);
bool feed_is_wanted(const feed *f);

/* One event: "event: KIND\ndata: DATA\n\n". `data` has no line ends. */
void feed_put(feed *f, const char *kind, const char *data, size_t length);

/* Nothing finds room until more is handed over. Whoever asks before it makes an event saves that work, and counts the
 * event with feed_drop. */
bool feed_is_full(const feed *f);
void feed_drop(feed *f);

/* Hands over what is there, unless the loop still has the last. */
void feed_flush(feed *f);

/* The same though the loop still has the last: the end is near. */
void feed_finish(feed *f);

/* The loop has taken what it was handed (MAIL_EVENTS_TAKEN). */
void feed_taken(feed *f);

#endif
