/* The engine's host: the callbacks by which serving sends to nodes, answers requests and reports to its role. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_ENGINE_HOST_H
#define FEWBIT_DECODER_SERVER_SERVE_ENGINE_HOST_H

#include "decoder_server/core/classification.h"
#include "decoder_server/serve/served_model.h"
#include "wire/message.h"

/* So long nodes have to get ready for another model. */
enum { ENGINE_PREPARE_SECONDS = 10 };

/* Called from within the engine's functions, and calls none of them. */
typedef struct engine_host {
    void (*send)(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body);
    void (*drop)(void *context, uint32_t portion, Fewbit__Reason reason, const char *text);
    /* Reads no more from a node that is far ahead of the others and does not hold, and again. */
    void (*pause)(void *context, uint32_t portion, bool paused);
    void (*answer)(void *context, uint64_t request, const classification *a);
    /* How many nodes are ready and answer. */
    void (*ready)(void *context, uint32_t nodes);
    /* Nodes that come from here on are welcomed to this model's run; what is needed of it is copied. */
    void (*serves)(void *context, const served_model *m);
    /* How engine_swap_model has ended: ERR_OK once the model is in use; else the one before stays, and `text` says why.
     */
    void (*swapped)(void *context, err code, const char *text);
    void *context;
} engine_host;

static inline void engine_host_send(const engine_host *h, uint32_t portion, message_type type,
                                    const ProtobufCMessage *body) {
    h->send(h->context, portion, type, body);
}

/* For a message that is malformed or out of turn. */
static inline void engine_host_refuse(const engine_host *h, uint32_t portion, const char *text) {
    h->drop(h->context, portion, FEWBIT__REASON__REASON_PROTOCOL, text);
}

#endif
