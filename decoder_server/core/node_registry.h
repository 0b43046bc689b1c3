/* The node registry: who is connected, and for which portion they speak.
 *
 * Pure: frames of numbered connections in, frames and closings out. It checks every Hello, welcomes or refuses, and
 * hands the messages of admitted nodes on by portion. Used by training and serving alike. */
#ifndef FEWBIT_DECODER_SERVER_CORE_NODE_REGISTRY_H
#define FEWBIT_DECODER_SERVER_CORE_NODE_REGISTRY_H

#include "data/portion.h"
#include "data/run_identity.h"
#include "decoder_server/core/stats.h"
#include "experiment/experiment.h"

typedef struct node_registry node_registry;

typedef struct node_registry_config {
    const experiment *experiment;
    uint64_t run, training; /* training: 0 in serving */
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    /* What the nodes' data must be (training); NULL: any of the right shape. Borrowed. */
    const run_identity *data;
    /* With `data`: takes what a node says of its data as that of the run, where its digest is not known yet. NULL: is
     * not called. ERR_INPUT or ERR_IO: the node is refused. */
    err (*pin)(void *context, uint32_t portion, const portion_info *claimed);
    void *context;
} node_registry_config;

/* Where messages and closings go; by the numbers of connections, which are never 0 and never used again. None of these
 * calls the registry back. */
typedef struct node_registry_host {
    void (*send)(void *context, uint64_t connection, message_type type, const ProtobufCMessage *body);
    /* Whether the connection may speak for the portion of that name; any may without TLS. */
    bool (*may_speak)(void *context, uint64_t connection, const char *portion);
    /* The connection has said a good Hello: frames of any length are taken of it, and heartbeats begin. */
    void (*admit)(void *context, uint64_t connection, uint32_t heartbeat_ms);
    /* Sends what was sent before, then ends it. No frame of it is taken any more; node_registry_lost follows. */
    void (*close)(void *context, uint64_t connection, const char *reason);
    /* Reads no more of it, and again. */
    void (*pause)(void *context, uint64_t connection, bool paused);
    /* *sum += what has passed it so far. */
    void (*add_traffic)(void *context, uint64_t connection, traffic_counters *sum);
    void *context;
} node_registry_host;

typedef struct node_registry_events {
    void (*joined)(void *context, uint32_t portion, const char *name);
    void (*left)(void *context, uint32_t portion);
    /* Borrowed until the next frame is taken. */
    void (*message)(void *context, uint32_t portion, const message *m);
    void *context;
} node_registry_events;

err node_registry_new(node_registry **p, const node_registry_config *config, const node_registry_host *host,
                      const node_registry_events *events);
void node_registry_free(node_registry *p);

/* Nodes that come from here on are welcomed to another run, whose partition is the same. `text` is its resolved
 * experiment, of at most EXPERIMENT_TEXT_MAX bytes; copied. */
void node_registry_set_run(node_registry *p, uint64_t run, const char *text);

/* One frame of a connection. */
void node_registry_take(node_registry *p, uint64_t connection, const frame *f);

/* A connection is gone; `last`: what has passed it. */
void node_registry_lost(node_registry *p, uint64_t connection, const traffic_counters *last);

/* To the node of a portion; nothing happens where there is none. */
void node_registry_send(node_registry *p, uint32_t portion, message_type type, const ProtobufCMessage *body);
void node_registry_drop(node_registry *p, uint32_t portion, Fewbit__Reason reason, const char *text);
void node_registry_pause(node_registry *p, uint32_t portion, bool paused);

/* The connection of a portion's node; 0: there is none. */
uint64_t node_registry_connection(const node_registry *p, uint32_t portion);

/* The sum over all connections that the portion has had. */
void node_registry_traffic(node_registry *p, uint32_t portion, traffic_counters *sum);

/* Fills in what the registry knows of the nodes: all but payload bits, addresses and the traffic of present
 * connections. */
void node_registry_stats(const node_registry *p, stats *r);

#endif
