/* A node in serving: answers requests, streams samples of its own, and changes from one model to another.
 *
 * What the server sends is untrusted: ERR_INPUT where it does not fit, or comes out of turn. */
#ifndef FEWBIT_ENCODER_NODE_NODE_SERVE_H
#define FEWBIT_ENCODER_NODE_NODE_SERVE_H

#include "encoder_node/code_sender.h"
#include "encoder_node/offered_ids.h"
#include "encoder_node/request_input.h"

enum { NODE_SERVE_ROWS = EXPERIMENT_NODE_ROWS, NODE_SERVE_REQUESTS = 64 }; /* in one Codes frame; in one evaluation */

/* The stream that a node sends of its own: the session its samples are counted in, and how far the count is. */
typedef struct node_stream {
    bool exists;      /* else there is nothing to stream, ever */
    bool is_over;     /* all of it has been streamed */
    uint64_t session; /* that this process is counted in, to its end; 0: none yet */
    uint64_t next;    /* in it: id of the next sample */
    /* As the server says on this connection: it goes on; is ahead of the others; is not in the session under way. */
    bool has_begun, is_held, is_outside;
} node_stream;

typedef struct node_serve {
    code_sender *sender;
    encoder_model *model;    /* NULL: none. Of a node in training, too */
    encoder_model *next;     /* the model to come, beside the one in use; NULL: none */
    uint32_t initial_stages; /* of the codes of `model`, that are sent unasked; the others wait for a RefineRequest */
    uint32_t next_initial_stages;
    bool is_ready;
    bool is_switching;    /* requests are for `next`, and so is what is streamed from `switch_from` on */
    uint64_t switch_from; /* a sample's id */
    node_stream stream;
    uint64_t streamed; /* samples streamed since Ready, */
    uint64_t acked;    /* and of those, answered for good */
    /* Requests that are not answered yet; their portions are the first input rows of `request_model`. */
    uint64_t request_ids[NODE_SERVE_REQUESTS];
    uint32_t request_count;
    encoder_model *request_model;
    request_input *input;
    const offered_ids *offered; /* told with Ready; NULL: none */
} node_serve;

/* Frees the models. */
void node_serve_free(node_serve *s);

/* Takes `m`, which may be NULL, in place of all models that are there. */
void node_serve_set_model(node_serve *s, encoder_model *m);

/* The model to come is not wanted any more. */
void node_serve_drop_next(node_serve *s);

void node_serve_disconnected(node_serve *s);

/* The model in use has new weights: the server is told that the node is ready. */
void node_serve_restored(node_serve *s);

/* Requests are gathered, to go through the net together; node_serve_flush answers them. What cannot be encoded is told
 * at once. */
void node_serve_request(node_serve *s, const Fewbit__Request *r);
void node_serve_flush(node_serve *s);
void node_serve_ack(node_serve *s, const Fewbit__Ack *a);

/* ERR_INPUT where Begin is of another session, or from another sample on than the next. */
err node_serve_begin(node_serve *s, const Fewbit__Begin *b);
void node_serve_hold(node_serve *s, const Fewbit__StreamHold *h);

/* Loads the model to come, with config->max_memory bytes for both, and answers with Prepared. */
err node_serve_prepare(node_serve *s, const Fewbit__Prepare *p, const encoder_model_config *config);
err node_serve_switch(node_serve *s, const Fewbit__Switch *to);

/* Whether codes may be streamed now: a model is loaded, the server has said Begin and does not hold this node, no
 * Switch is awaited, and not too many samples that more may be asked of are under way. */
bool node_serve_may_stream(const node_serve *s);

/* Encodes `count` <= NODE_SERVE_ROWS portions, [count, shape] as they are stored, as the next samples of the stream,
 * and sends their Codes. */
void node_serve_stream(node_serve *s, const uint8_t *portions, uint32_t count);

/* Nothing more will be streamed: sends StreamEnd, once. */
void node_serve_end_stream(node_serve *s);

/* Whether the server may still ask for more bits of what was streamed. */
bool node_serve_may_be_refined(const node_serve *s);

/* Multiply-adds that an answer to the requests gathered takes, that one with one more takes where it is due then (else
 * 0), and that samples to stream take. */
double node_serve_flush_macs(const node_serve *s);
double node_serve_request_macs(const node_serve *s);
double node_serve_stream_macs(const node_serve *s, uint32_t count);

#endif
