/* The server's runtime: the loop, the nodes' sockets, the HTTP API, signals and the compute pool, for one role
 * (training or serving).
 *
 * Everything lives on the loop's thread: frames go from a socket through the registry straight into the role, and what
 * the role says goes into the sockets' buffers, which are flushed once a turn. A role has a core, that is pure. What is
 * long for it (server_work) is done on the compute pool: the core, the registry and the producer of events are lent for
 * that time. Then no node is read from, no function of the role is called but `work`, what it says to nodes and
 * subscribers waits until it is done, and what comes over HTTP waits or is answered from the last snapshot; heartbeats
 * go on.
 *
 *     a turn of the loop:   sockets, HTTP -> role.message, ...   then   role.poll   then   flush, and wait
 *
 * One a process. */
#ifndef FEWBIT_DECODER_SERVER_CORE_SERVER_RUNTIME_H
#define FEWBIT_DECODER_SERVER_CORE_SERVER_RUNTIME_H

#include "decoder_server/core/node_registry.h"
#include "decoder_server/core/server_options.h"
#include "decoder_server/core/sse_producer.h"
#include "decoder_server/http/http_api.h"

typedef struct server_runtime server_runtime;

typedef enum server_work {
    SERVER_WORK_NONE,
    SERVER_WORK_SHORT, /* on the loop, once what was said before is on its way */
    SERVER_WORK_LONG,  /* on the compute pool */
} server_work;

typedef struct server_role {
    /* Everything is open, and nothing has come yet. */
    err (*start)(void *context);
    /* Nodes, as node_registry_events. */
    void (*joined)(void *context, uint32_t portion, const char *name);
    void (*left)(void *context, uint32_t portion);
    void (*message)(void *context, uint32_t portion, const message *m);
    /* At the end of each turn. Returns after how many microseconds it has to be called again at the latest: 0: at once,
     * -1: whenever something comes. */
    int64_t (*poll)(void *context, uint64_t now_ns);
    /* Whether there is work to do before anything else is; asked after each of the above. `work` then does some of it,
     * touching nothing but what is lent, and `work_done` is called on the loop. */
    server_work (*work_due)(void *context);
    void (*work)(void *context);
    void (*work_done)(void *context);
    /* Adds what the core knows to what the registry does. */
    void (*stats)(void *context, stats *s);
    /* The process is asked to stop: server_runtime_end follows, now or later. The core may be lent. */
    void (*stop)(void *context);
    /* The end has begun: no function of the role is called any more; its own handles on the loop are to be closed. */
    void (*close)(void *context);
} server_role;

typedef struct server_runtime_config {
    const server_options *options; /* borrowed */
    const class_names *classes;    /* borrowed */
    node_registry_config nodes;    /* all but heartbeat_ms */
    routes_mode mode;
    uint32_t enough_nodes; /* ready with so many; 0: with all */
    /* Of serving; NULL: 404. As http_api_config; the core may be lent. */
    err (*classify)(void *context, uint64_t request, const question *q);
    void (*samples)(void *context, dynbuf *to);
    err (*reload)(void *context);
} server_runtime_config;

/* `role` is borrowed. From here on the functions below may be called, and threads have short slices
 * (base/process.h). */
err server_runtime_new(server_runtime **r, const server_runtime_config *config, const server_role *role, void *context);

/* Opens everything, runs the loop until server_runtime_end, closes everything. Returns what has ended it, or why it
 * could not start. Then server_runtime_free. */
err server_runtime_run(server_runtime *r);
void server_runtime_free(server_runtime *r);

/* Closes all that is open, after what is on its way out. */
void server_runtime_end(server_runtime *r, err code, const char *text);

/* For a stop that takes its time: no node connects any more, and nothing more is classified over HTTP. */
void server_runtime_let_nobody_in(server_runtime *r);

/* `poll` is called soon: for a timer of the role's own, which by itself does not end the loop's waiting. */
void server_runtime_wake(server_runtime *r);

/* Whether the core is lent: only `work` may touch it. */
bool server_runtime_is_lent(const server_runtime *r);

/* Where it is not lent: whether so many bytes may be sent to a portion's node, which is there or not, and its link
 * keeps room for another frame of any length. */
bool server_runtime_has_room(const server_runtime *r, uint32_t portion, size_t bytes);

uv_loop_t *server_runtime_loop(server_runtime *r);
node_registry *server_runtime_nodes(server_runtime *r);
sse_producer *server_runtime_sse(server_runtime *r);

/* NULL without --http, before `start` and after `close`. */
http_api *server_runtime_http(server_runtime *r);

/* How many nodes are ready. */
void server_runtime_set_ready(server_runtime *r, uint32_t nodes);

/* `act` at every SIGHUP. */
err server_runtime_on_reload(server_runtime *r, void (*act)(void *context), void *context);

#endif
