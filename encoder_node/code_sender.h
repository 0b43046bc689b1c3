/* Code sender: codes on their way to the server, packed or compressed, whole or by stages. Those of which only the
 * first stages are sent are kept for as long as the server may ask for more. */
#ifndef FEWBIT_ENCODER_NODE_CODE_SENDER_H
#define FEWBIT_ENCODER_NODE_CODE_SENDER_H

#include "encoder_node/encoder_model.h"
#include "encoder_node/refinement_buffer.h"

/* Sends one message; the body is borrowed for the call. */
typedef struct node_host {
    void (*send)(void *context, message_type type, const ProtobufCMessage *body);
    void *context;
} node_host;

static inline void node_host_send(const node_host *h, message_type type, const ProtobufCMessage *body) {
    h->send(h->context, type, body);
}

/* ERR_INPUT: the server has sent what it calls by that name, and should not have. */
static inline err node_host_out_of_turn(const char *name) {
    return err_fail(ERR_INPUT, "the server sent %s out of turn", name);
}

typedef struct code_sender {
    node_host host;
    bool compresses;                /* streamed and evaluated codes, where that saves something */
    refinement_buffer *refinements; /* NULL: none yet */
} code_sender;

void code_sender_free(code_sender *s);

/* Another connection: nothing is asked for any more. */
void code_sender_disconnected(code_sender *s);

/* How many stages of its codes a model sends unasked where the server says `wanted`: 0 is all. ERR_INPUT: there are not
 * so many. ERR_MEMORY: none for those that are kept back. */
err code_sender_take_stages(code_sender *s, const encoder_model *m, uint32_t wanted, uint32_t *initial_stages);

/* Sends `rows` codes from id `first` on, of which the model put out soft [rows, bits]: a Codes, or an Answer. */
void code_sender_send(code_sender *s, encoder_model *m, message_type type, uint64_t first, const float *soft,
                      uint32_t rows, uint32_t initial_stages);

/* Answers a RefineRequest, untrusted. */
err code_sender_refine(code_sender *s, const encoder_model *m, const Fewbit__RefineRequest *r);

#endif
