/* The encoder: what a node answers.
 *
 * Pure: messages in, messages out; no socket, no loop, no thread. The session feeds it from a link, `--local`
 * training from memory. It learns its job from the server's Welcome, keeps its net and its checkpoints, and sees
 * nothing but its own portion. */
#ifndef FEWBIT_ENCODER_NODE_ENCODER_H
#define FEWBIT_ENCODER_NODE_ENCODER_H

#include "base/err.h"
#include "data/portion.h"
#include "encoder_node/job.h"
#include "encoder_node/own_stream.h"
#include "wire/message.h"

#include <stdbool.h>

typedef struct encoder encoder;

enum { ENCODER_ROWS = JOB_ROWS }; /* samples in one Codes frame, and in one evaluation batch, at most */

typedef struct encoder_config {
    const char *name;      /* for people */
    const portion *data;   /* borrowed */
    const char *state;     /* folder of its checkpoints; made when missing */
    Fewbit__Coding coding; /* how codes travel, where the server agrees */
    bool streams;          /* there will be something to push */
    thread_pool *pool;     /* for its net; NULL: all on the caller's thread. Borrowed */
    /* Whatever a server asks for, in bytes; 0: no limit. */
    size_t max_memory;  /* of all nets at a time, with their batches */
    uint64_t max_state; /* of what lies under `state`, and of what is written there in a minute */
} encoder_config;

/* Sends one message; the body is borrowed for the call. */
typedef struct encoder_host {
    void (*send)(void *context, message_type type, const ProtobufCMessage *body);
    void *context;
} encoder_host;

/* What the caller does with the connection after a message. err_text() says why for all but the first. */
typedef enum encoder_verdict {
    ENCODER_GO_ON,
    ENCODER_RECONNECT, /* close, try again later: refused for now, or the server broke the protocol */
    ENCODER_OVER,      /* close: the run is over */
    ENCODER_REFUSED,   /* close and stop: trying again would not help */
} encoder_verdict;

err encoder_new(encoder **e, const encoder_config *config, const encoder_host *host);
void encoder_free(encoder *e);

/* A connection came up (sends Hello), or went. */
void encoder_connected(encoder *e);
void encoder_disconnected(encoder *e);

/* Requests are gathered, to go through the net together; encoder_settle answers them. */
encoder_verdict encoder_receive(encoder *e, const message *m);

/* Nothing more is there to receive now: answers the requests that wait. */
void encoder_settle(encoder *e);

/* The heartbeat the server asked for, ms; 0 before its Welcome. */
uint32_t encoder_heartbeat_ms(const encoder *e);

/* Whether codes may be pushed now: a model is loaded, the server has said Begin and does not hold this node, no Switch
 * is awaited, and not too many samples that more may be asked of are under way. */
bool encoder_may_push(const encoder *e);

/* How far the node's own stream is. */
const own_stream *encoder_stream(const encoder *e);

/* Nothing more will be pushed: the server is told, once. */
void encoder_end_stream(encoder *e);

/* Whether the server may still ask for more bits of what was pushed. */
bool encoder_may_be_asked(const encoder *e);

/* Encodes `count` <= ENCODER_ROWS portions, [count, c, h, w], as the next samples of the stream, and sends their Codes.
 */
void encoder_push(encoder *e, const uint8_t *portions, uint32_t count);

#endif
