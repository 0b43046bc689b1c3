/* The node registry: who is connected, and for which portion they speak.
 *
 * Pure: frames of numbered connections in, frames and closings out. It checks every Hello, welcomes or refuses, and
 * hands the messages of admitted nodes on by portion. Used by training and serving alike. */
#ifndef FEWBIT_DECODER_SERVER_CORE_NODE_REGISTRY_H
#define FEWBIT_DECODER_SERVER_CORE_NODE_REGISTRY_H

#include "data/labels.h"
#include "decoder_server/core/stats.h"
#include "experiment/experiment.h"
#include "loop/worker.h"
#include "wire/message.h"
#include "wire/traffic_counters.h"

typedef struct node_registry node_registry;

typedef struct node_registry_config {
    const experiment *experiment;
    uint64_t run, training; /* training: 0 in serving */
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    /* What the nodes' data must be, where it is known (training); NULL: any of the right shape. Borrowed. */
    const labels *labels;
    /* Every connection's portions come as mail first, and it may speak for no other. */
    bool by_certificate;
} node_registry_config;

typedef struct node_registry_events {
    void (*joined)(void *context, uint32_t portion, const char *name);
    void (*left)(void *context, uint32_t portion);
    void (*message)(void *context, uint32_t portion, const message *m);
    void (*metered)(void *context, uint32_t portion, const traffic_counters *m);
    void *context;
} node_registry_events;

/* `w` is where frames and closings go: the worker's replies. *w may be set later, before the first record. */
err node_registry_new(node_registry **p, const node_registry_config *config, const node_registry_events *events,
                      worker **w);
void node_registry_free(node_registry *p);

/* Nodes that come from here on are welcomed to another run, whose split is the same. `text` is its resolved experiment,
 * of at most EXPERIMENT_TEXT_MAX bytes; copied. */
void node_registry_set_run(node_registry *p, uint64_t run, const char *text);

/* One record from the loop; whether it was for the registry. */
bool node_registry_take(node_registry *p, const mail *m);

/* To the node of a portion; nothing happens where there is none. */
void node_registry_tell(node_registry *p, uint32_t portion, message_type type, const ProtobufCMessage *body);
void node_registry_drop(node_registry *p, uint32_t portion, Fewbit__Reason reason, const char *text);
void node_registry_pause(node_registry *p, uint32_t portion, bool paused);

/* `metered` follows, with the sum over all connections the portion has had. */
void node_registry_ask_meter(node_registry *p, uint32_t portion);

/* Fills in what the registry knows of the nodes: all but payload bits, addresses and the traffic counters of present
 * connections. */
void node_registry_stats(const node_registry *p, stats *r);

bool node_registry_is_here(const node_registry *p, uint32_t portion);
const char *node_registry_name(const node_registry *p, uint32_t portion);

#endif
