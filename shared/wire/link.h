/* Links: framed connections over TCP, in plain text or TLS. With acceptor.h the only place that knows sockets.
 *
 * A link lives on one libuv loop and is used from that loop's thread only. It connects or is accepted, carries
 * frames both ways, keeps itself alive with heartbeats and tells when the other side is gone. Between the socket
 * and the frames there is one seam each way (bytes_in and link_flush in link.c), where TLS stands.
 *
 * A link belongs to itself: it frees itself after its `down` event, which comes exactly once for every link that
 * was made, and always from the loop, never from inside a call to the link. */
#ifndef FEWBIT_WIRE_LINK_H
#define FEWBIT_WIRE_LINK_H

#include "wire/tls.h"
#include "wire/traffic_counters.h"

#include <uv.h>

typedef struct wire_link wire_link;

typedef struct link_events {
    /* Of a link that connects: it is there (with TLS, the server's certificate is good). */
    void (*up)(void *context, wire_link *l);
    /* A frame arrived (heartbeats excepted, once the link has one). Borrowed until the return. */
    void (*frame)(void *context, wire_link *l, const frame *f);
    /* The link is over; `reason` is one line. It must not be used afterwards. */
    void (*down)(void *context, wire_link *l, const char *reason);
} link_events;

enum { LINK_BACKLOG_MAX = 16 << 20, LINK_BACKLOG_HIGH = 256 << 10 };

/* Resolves and connects; `up` or `down` follows. Of a name with several addresses each call takes the next one. `tls`
 * NULL: in plain text; else it must outlive the link. */
err link_connect(uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls, const link_events *events,
                 void *context, wire_link **l);

/* Appends one whole frame (header and payload, copied) to what is to be sent; link_flush sends it. More than
 * LINK_BACKLOG_MAX waiting (ERR_FULL), or no memory: the link goes down, since a frame that is missing would be waited
 * for. */
err link_send(wire_link *l, const uint8_t *bytes, size_t length);

/* The same for a message, which is packed where it is sent from. */
err link_send_message(wire_link *l, message_type type, const ProtobufCMessage *body);

/* Hands everything appended so far to the kernel in one write. */
void link_flush(wire_link *l);

/* Bytes not yet taken by the kernel; with TLS, those already encrypted count as they are. */
size_t link_backlog(const wire_link *l);

/* Sends what is waiting (for at most a second), then goes down. With TLS its goodbye comes last; a link whose handshake
 * is not over drops what is waiting, as one does that is not connected. */
void link_close(wire_link *l, const char *reason);

/* Ends it at once; what is waiting is lost. */
void link_abort(wire_link *l, const char *reason);

/* Stops and resumes reading: the way to slow the other side. */
void link_pause(wire_link *l);
void link_resume(wire_link *l);

/* A frame at least every `ms` from here on; 3 * `ms` of silence (while reading) is a dead peer. A link for
 * which it is not set within 10 seconds of coming up is dropped: there was no handshake. */
void link_set_heartbeat(wire_link *l, uint32_t ms);

/* Whether the other side takes nothing more: what it has sent is still read, as far as its end, but no answer to it
 * will arrive. */
bool link_is_write_broken(const wire_link *l);

/* The largest payload taken from here on; FRAME_FIRST_MAX at start. */
void link_set_limit(wire_link *l, size_t payload);

/* The counters, with what the kernel says now. */
void link_read_traffic(wire_link *l, traffic_counters *m);

/* "192.0.2.1:7000" */
const char *link_address(const wire_link *l);

/* Whether the other side may speak for the portion of that name: for any in plain text; with TLS for those its
 * certificate names, for none before its first frame. */
bool link_speaks_for(const wire_link *l, const char *portion);

/* For `down`: whether the link ended because TLS failed, or one side spoke it and the other did not. The reason then
 * says what is wrong, and time alone does not mend it. */
bool link_has_failed_tls(const wire_link *l);

/* Of a socket that was accepted, which is taken over; its events are set by link_attach. With TLS its handshake is
 * still to come, before its first frame, within the 10 seconds that every peer has. `on_closed` is called once the
 * socket is closed, whatever comes of it; where the link cannot be made, maybe at once. */
err link_accept(uv_loop_t *loop, int socket, tls_context *tls, void (*on_closed)(void *context), void *context,
                wire_link **l);
void link_attach(wire_link *l, const link_events *events, void *context);

#endif
