/* The acceptor: accepts TCP connections, and keeps each pending until it has said enough to be accepted.
 *
 * A client that connects and sends nothing, sends slowly, or disconnects costs a socket and a place in a list, no more.
 * What an acceptor does in one turn of the loop is bounded, however many connect: it accepts some, reads some, closes
 * some, and the rest stays with the kernel until the next turn, so that accepted links wait for at most that long.
 *
 * Of a connection that is handed on nothing has been read. One loop, its thread only. */
#ifndef FEWBIT_WIRE_ACCEPTOR_H
#define FEWBIT_WIRE_ACCEPTOR_H

#include "base/err.h"

#include <uv.h>

typedef struct acceptor acceptor;

typedef struct acceptor_config {
    const char *host; /* an address, or "localhost" */
    uint16_t port;
    uint32_t most;                 /* connections, pending and accepted; for one more another is closed */
    uint32_t handshake_timeout_ms; /* one that has not said enough by then is closed */
    bool accepts_at_once;          /* without a first byte; until acceptor_wait_for_bytes */
    size_t peek_bytes;             /* how much is peeked at; that much is enough in any case */
    bool (*is_enough)(const uint8_t *bytes, size_t length);
    /* One is accepted: the socket, which does not block, is the host's from here on, who calls acceptor_release for it
     * later. */
    void (*accepted)(void *context, int socket);
    /* Asked where few are pending, and all places taken: closes one of the accepted that nothing is owed to; false:
     * there is none. May be NULL. */
    bool (*evict)(void *context);
    void *context;
} acceptor_config;

typedef struct acceptor_counters {
    uint64_t taken, turned_away; /* pending at first; closed since there were too many */
    uint64_t timed_out;          /* had not said enough in time */
    uint32_t pending, accepted;  /* now */
} acceptor_counters;

err acceptor_new(acceptor **a, uv_loop_t *loop, const acceptor_config *config);

/* From here on nobody is accepted at once. */
void acceptor_wait_for_bytes(acceptor *a);

/* One that was accepted has gone. */
void acceptor_release(acceptor *a);

/* The port it listens on (of use after asking for port 0). */
uint16_t acceptor_port(const acceptor *a);

const acceptor_counters *acceptor_count(const acceptor *a);

/* Closes all that are pending, and stops accepting; the memory goes with the loop's next turns. */
void acceptor_close(acceptor *a);

#endif
