/* The node's protocol: what a node answers.
 *
 * Pure: messages in, messages out; no socket, no loop, no thread. The session feeds it from a link, `--local`
 * training from memory. It learns its model from the server's Welcome, keeps its net and its checkpoints, and sees
 * nothing but its own portion. */
#ifndef FEWBIT_ENCODER_NODE_NODE_PROTOCOL_H
#define FEWBIT_ENCODER_NODE_NODE_PROTOCOL_H

#include "encoder_node/node_serve.h"

typedef struct node_protocol node_protocol;

typedef struct node_protocol_config {
    const char *name;      /* for people */
    const portion *data;   /* borrowed */
    const char *state;     /* folder of its checkpoints; made when missing */
    Fewbit__Coding coding; /* how codes travel, where the server agrees */
    bool streams;          /* there will be something to stream */
    bool offers_listed;    /* ids of samples are told in serving also where they are listed (offered_ids.h) */
    thread_pool *pool;     /* for its net; NULL: all on the caller's thread. Borrowed */
    /* Whatever a server asks for, in bytes; 0: no limit. */
    size_t max_memory;  /* of all nets at a time, with their batches */
    uint64_t max_state; /* of what lies under `state`, and of what is written there in a minute */
} node_protocol_config;

/* What the caller does with the connection after a message. err_text() says why for all but the first. */
typedef enum node_protocol_verdict {
    NODE_PROTOCOL_GO_ON,
    NODE_PROTOCOL_RECONNECT, /* close, try again later: refused for now, or the server broke the protocol */
    NODE_PROTOCOL_OVER,      /* close: the run is over */
    NODE_PROTOCOL_REFUSED,   /* close and stop: trying again would not help */
} node_protocol_verdict;

err node_protocol_new(node_protocol **p, const node_protocol_config *config, const node_host *host);
void node_protocol_free(node_protocol *p);

/* A connection came up (sends Hello), or went. */
void node_protocol_connected(node_protocol *p);
void node_protocol_disconnected(node_protocol *p);

node_protocol_verdict node_protocol_receive(node_protocol *p, const message *m);

/* How it serves: requests that were received are answered by node_serve_flush, once nothing more is there to receive.
 */
node_serve *node_protocol_serve(node_protocol *p);

/* Whether that takes so long (files, a net of many multiply-adds) that a caller with an event loop has another
 * thread do it: node_protocol_receive, node_serve_flush, node_serve_stream. */
bool node_protocol_is_long(const node_protocol *p, const message *m);
bool node_protocol_flush_is_long(const node_protocol *p);
bool node_protocol_stream_is_long(const node_protocol *p, uint32_t count);

/* The heartbeat the server asked for, ms; 0 before its Welcome. */
uint32_t node_protocol_heartbeat_ms(const node_protocol *p);

#endif
