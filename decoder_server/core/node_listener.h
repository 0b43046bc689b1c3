/* The node listener: the sockets of the nodes. Listens, numbers the connections, hands their frames on and sends what
 * they are told.
 *
 * Whoever owns it flushes once a turn of the loop, and may hold it: then nobody is read from, and nobody hears of
 * frames and of losses, until it is released. Heartbeats go on.
 *
 * Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_CORE_NODE_LISTENER_H
#define FEWBIT_DECODER_SERVER_CORE_NODE_LISTENER_H

#include "decoder_server/core/stats.h"
#include "wire/tls.h"

#include <uv.h>

typedef struct node_listener node_listener;

enum { NODE_LISTENER_LINKS_MAX = 1024 };

typedef struct node_listener_host {
    /* A frame, borrowed until the return. */
    void (*frame)(void *context, uint64_t connection, const frame *f);
    /* A connection is gone; `last`: all that has passed it. Never from inside a call to the listener, but for
     * node_listener_release. */
    void (*lost)(void *context, uint64_t connection, const traffic_counters *last);
    void *context;
} node_listener_host;

/* `tls` NULL: plain text; else it must outlive the node listener. */
err node_listener_new(node_listener **l, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls,
                      const node_listener_host *callbacks);

/* To one connection, by its number; nothing happens where it is gone. As node_registry_host says. */
void node_listener_send(node_listener *l, uint64_t connection, message_type type, const ProtobufCMessage *body);
void node_listener_send_frame(node_listener *l, uint64_t connection, const uint8_t *bytes, size_t length);
/* Whether so many bytes may be sent, and leave room for another frame of any length: else the link might go down. */
bool node_listener_has_room(node_listener *l, uint64_t connection, size_t bytes);
void node_listener_admit(node_listener *l, uint64_t connection, uint32_t heartbeat_ms);
void node_listener_close_one(node_listener *l, uint64_t connection, const char *reason);
void node_listener_pause(node_listener *l, uint64_t connection, bool paused);
bool node_listener_may_speak(node_listener *l, uint64_t connection, const char *portion);
void node_listener_add_traffic(node_listener *l, uint64_t connection, traffic_counters *sum);

/* Hands all that was sent to the kernel. */
void node_listener_flush(node_listener *l);

void node_listener_hold(node_listener *l);

/* Tells of those that went meanwhile. Frames that came meanwhile wait for node_listener_resume. */
void node_listener_release(node_listener *l);

/* Goes on reading from links that are not to be paused any more. What was read of them already comes before it returns,
 * what lies in their sockets with the loop's next turn. False: there was none. */
bool node_listener_resume(node_listener *l);

/* Whether there is anything for it to do. */
bool node_listener_may_resume(const node_listener *l);

/* Adds what the links know: addresses, the traffic of present connections, how many there are. */
void node_listener_stats(node_listener *l, stats *s);

uint16_t node_listener_port(const node_listener *l);

/* Takes no more connections. */
void node_listener_stop_listening(node_listener *l);

/* Stops listening and closes every link; `closed` is called once all are down. */
void node_listener_close(node_listener *l, void (*closed)(void *context), void *context);
void node_listener_free(node_listener *l);

#endif
