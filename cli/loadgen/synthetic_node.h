/* A synthetic node: a link that takes a portion's place at a server and sends random codes for it, under the
 * protocol of a node. Where the server asks for a code's first stages alone, it sends these, and random bits for what
 * is asked of it then. It has one model only, so a server cannot change to another meanwhile.
 *
 * Not thread-safe: all of it on the loop's thread, but for synthetic_node_asked. */
#ifndef FEWBIT_CLI_LOADGEN_SYNTHETIC_NODE_H
#define FEWBIT_CLI_LOADGEN_SYNTHETIC_NODE_H

#include "base/address.h"
#include "cli/loadgen/load_model.h"

#include <uv.h>

typedef struct synthetic_node synthetic_node;

typedef struct synthetic_node_config {
    const address *server; /* where nodes connect */
    const load_model *model;
    uint32_t portion;
    /* The link is down, by synthetic_node_close or otherwise (ERR_NETWORK), or the server refuses or makes no sense;
     * the text is in err_text(). */
    void (*failed)(void *context, err e);
    void *context;
} synthetic_node_config;

/* Connects. `config` is copied; what it points to must outlive the synthetic node. */
err synthetic_node_new(synthetic_node **s, uv_loop_t *loop, const synthetic_node_config *config);

/* Only once the loop has run after synthetic_node_close. NULL is fine. */
void synthetic_node_free(synthetic_node *s);

void synthetic_node_close(synthetic_node *s, const char *reason);

/* Whether the server lets it begin. */
bool synthetic_node_may_stream(const synthetic_node *s);

/* Streams until `due` codes are sent in all, or as many as the server takes now; `due` is a multiple of 8, for a frame
 * ends with a byte. */
void synthetic_node_stream(synthetic_node *s, uint64_t due);

/* Bytes that the kernel has not taken yet. */
size_t synthetic_node_backlog(const synthetic_node *s);

/* Codes streamed. */
uint64_t synthetic_node_sent(const synthetic_node *s);

/* Of them, those of which more was asked for, counted once a stage. From any thread. */
uint64_t synthetic_node_asked(synthetic_node *s);

/* Whether, as the server tells it, nothing more can be asked of what is sent. */
bool synthetic_node_is_settled(const synthetic_node *s);

#endif
