/* A listener: accepts links (wire/link.h) on a port. Loop's thread only.
 *
 * At most `most` links at a time; one more is closed and counted, or the one that has been pending for longest. */
#ifndef FEWBIT_WIRE_LISTENER_H
#define FEWBIT_WIRE_LISTENER_H

#include "wire/acceptor.h"
#include "wire/link.h"

typedef struct listener listener;

/* `accepted` gets each new link, already up, with its events not yet set: it calls link_attach. `tls` NULL: plain text;
 * else it must outlive the listener's links. */
err listener_new(listener **out, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls, size_t most,
                 void (*accepted)(void *context, wire_link *l), void *context);

/* The port it listens on (of use after asking for port 0). */
uint16_t listener_port(const listener *l);

/* From here on only those who say something become links. Whoever says nothing is pending (wire/acceptor.h), counts
 * among the `most`, and is closed after 10 seconds. */
void listener_wait_for_bytes(listener *l);

/* How many are pending, and were closed at once because there were too many. */
const acceptor_counters *listener_count(const listener *l);

/* Stops accepting; the listener frees itself. Its links stay. */
void listener_close(listener *l);

#endif
