/* The door: accepts TCP connections, and keeps each outside until it has said enough to be let in.
 *
 * Whoever connects and says nothing, drips, or goes again costs a socket and a place in a list, no more. And what a
 * door does in one turn of the loop is bounded, whatever the crowd: it takes some, looks at some, closes some, and the
 * rest stays with the kernel until the next turn, so that those inside wait for at most that long.
 *
 * Of a connection that is handed on nothing has been read. One loop, its thread only. */
#ifndef FEWBIT_WIRE_DOOR_H
#define FEWBIT_WIRE_DOOR_H

#include "base/err.h"

#include <stdbool.h>
#include <uv.h>

typedef struct door door;

typedef struct door_caller {
    int socket;
    const struct sockaddr *address;
    socklen_t address_length;
    const uint8_t *said; /* what was looked at; NULL where nothing was */
    size_t said_length;
} door_caller;

typedef struct door_config {
    const char *host; /* an address, or "localhost" */
    uint16_t port;
    uint32_t most;        /* connections, outside and inside; for one more another is closed */
    uint32_t patience_ms; /* whoever has not said enough by then is closed */
    bool lets_in_at_once; /* whoever comes; until door_hear_first */
    size_t look_bytes;    /* how much is looked at; that much is enough in any case */
    bool (*is_enough)(const uint8_t *bytes, size_t length);
    /* Lets one in: the socket, which does not block, is the host's from here on, who calls door_left for it later. */
    void (*enter)(void *context, const door_caller *caller);
    /* Asked where few are outside, and all places taken: closes one of those inside that nothing is owed to; false:
     * there is none. May be NULL. */
    bool (*spare)(void *context);
    void *context;
} door_config;

typedef struct door_counters {
    uint64_t taken, turned_away; /* let wait outside; closed since there were too many */
    uint64_t cut;                /* had not said enough in time */
    uint32_t outside, inside;    /* now */
} door_counters;

err door_new(door **d, uv_loop_t *loop, const door_config *config);

/* From here on nobody is let in at once. */
void door_hear_first(door *d);

/* One that was let in has gone. */
void door_left(door *d);

/* The port it listens on (of use after asking for port 0). */
uint16_t door_port(const door *d);

const door_counters *door_count(const door *d);

/* Closes all that are outside, and stops accepting; the memory goes with the loop's next turns. */
void door_close(door *d);

#endif
