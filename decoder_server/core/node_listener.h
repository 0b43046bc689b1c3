/* The node listener: the loop's side of the node connections. Listens, numbers the links, carries frames to the worker
 * and back, and slows the links when the worker is behind. Where they use TLS, it is the node listener that says which
 * portions a connection may speak for. */
#ifndef FEWBIT_DECODER_SERVER_CORE_NODE_LISTENER_H
#define FEWBIT_DECODER_SERVER_CORE_NODE_LISTENER_H

#include "base/err.h"
#include "decoder_server/core/mail.h"
#include "decoder_server/core/stats.h"
#include "loop/worker.h"
#include "wire/tls.h"

#include <uv.h>

typedef struct node_listener node_listener;

enum { NODE_LISTENER_LINKS_MAX = MAIL_CONNECTIONS };

/* `*w` is set before the loop runs. `tls` NULL: plain text; else it must outlive the node listener. */
err node_listener_new(node_listener **g, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls,
                      worker **w);

/* One record from the worker; whether it was for the node listener. After the last of a batch: node_listener_flush. */
bool node_listener_deliver(node_listener *g, const mail *m);
void node_listener_flush(node_listener *g);

/* The worker has caught up. */
void node_listener_resume(node_listener *g);

/* Adds to a report what the links know: addresses, the traffic counters of present connections, how many there are. */
void node_listener_stats(node_listener *g, stats *r);

uint16_t node_listener_port(const node_listener *g);

/* Takes no more connections. */
void node_listener_stop_listening(node_listener *g);

/* Stops listening and closes every link; `closed` is called once all are down. */
void node_listener_close(node_listener *g, void (*closed)(void *context), void *context);
void node_listener_free(node_listener *g);

#endif
