/* Peers: who is connected, and for which portion they speak.
 *
 * Pure: frames of numbered connections in, frames and closings out. It checks every Hello, welcomes or refuses, and
 * hands the messages of admitted nodes on by portion. Used by training and serving alike. */
#ifndef FEWBIT_DECODER_SERVER_PEERS_H
#define FEWBIT_DECODER_SERVER_PEERS_H

#include "data/labels.h"
#include "decoder_server/report.h"
#include "experiment/experiment.h"
#include "loop/worker.h"
#include "wire/message.h"
#include "wire/traffic_counters.h"

typedef struct peers peers;

typedef struct peers_config {
    const experiment *experiment;
    uint64_t run, training; /* training: 0 in serving */
    Fewbit__Mode mode;
    uint32_t heartbeat_ms;
    /* What the nodes' data must be, where it is known (training); NULL: any of the right shape. Borrowed. */
    const labels *labels;
    /* Every connection's portions come as mail first, and it may speak for no other. */
    bool by_certificate;
} peers_config;

typedef struct peers_events {
    void (*joined)(void *context, uint32_t portion, const char *name);
    void (*left)(void *context, uint32_t portion);
    void (*message)(void *context, uint32_t portion, const message *m);
    void (*metered)(void *context, uint32_t portion, const traffic_counters *m);
    void *context;
} peers_events;

/* `w` is where frames and closings go: the worker's replies. *w may be set later, before the first record. */
err peers_new(peers **p, const peers_config *config, const peers_events *events, worker **w);
void peers_free(peers *p);

/* Nodes that come from here on are welcomed to another run, whose split is the same. `text` is its resolved experiment,
 * of at most EXPERIMENT_TEXT_MAX bytes; copied. */
void peers_set_run(peers *p, uint64_t run, const char *text);

/* One record from the loop; whether it was for peers. */
bool peers_take(peers *p, const mail *m);

/* To the node of a portion; nothing happens where there is none. */
void peers_tell(peers *p, uint32_t portion, message_type type, const ProtobufCMessage *body);
void peers_drop(peers *p, uint32_t portion, Fewbit__Reason reason, const char *text);
void peers_pause(peers *p, uint32_t portion, bool paused);

/* `metered` follows, with the sum over all connections the portion has had. */
void peers_ask_meter(peers *p, uint32_t portion);

/* Fills in what peers know of the nodes: all but payload bits, addresses and the traffic counters of present
 * connections. */
void peers_report(const peers *p, report *r);

bool peers_is_here(const peers *p, uint32_t portion);
const char *peers_name(const peers *p, uint32_t portion);

#endif
