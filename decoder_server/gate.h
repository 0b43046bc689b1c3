/* The gate: the loop's side of the node connections. Listens, numbers the links, carries frames to the worker and
 * back, and slows the links when the worker is behind. Where they use TLS, it is the gate that says which portions a
 * connection may speak for. */
#ifndef FEWBIT_DECODER_SERVER_GATE_H
#define FEWBIT_DECODER_SERVER_GATE_H

#include "base/err.h"
#include "decoder_server/mail.h"
#include "decoder_server/report.h"
#include "loop/worker.h"
#include "wire/tls.h"

#include <uv.h>

typedef struct gate gate;

enum { GATE_LINKS_MAX = MAIL_CONNECTIONS };

/* `*w` is set before the loop runs. `tls` NULL: plain text; else it must outlive the gate. */
err gate_new(gate **g, uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls, worker **w);

/* One record from the worker; whether it was for the gate. After the last of a batch: gate_flush. */
bool gate_deliver(gate *g, const mail *m);
void gate_flush(gate *g);

/* The worker has caught up. */
void gate_resume(gate *g);

/* Adds to a report what the links know: addresses, the traffic counters of present connections, how many there are. */
void gate_report(gate *g, report *r);

uint16_t gate_port(const gate *g);

/* Takes no more connections. */
void gate_stop_listening(gate *g);

/* Stops listening and closes every link; `closed` is called once all are down. */
void gate_close(gate *g, void (*closed)(void *context), void *context);
void gate_free(gate *g);

#endif
