/* A node in alignment: tells the server which ids it has, hashed or blinded, and learns the samples that training goes
 * on with.
 *
 * What the server sends is untrusted: ERR_INPUT where it does not fit, or comes out of turn. Whatever it is, memory is
 * taken for this node's own ids, and for at most MESSAGE_ALIGN_IDS_MAX of the server's; there is one alignment a
 * connection. */
#ifndef FEWBIT_ENCODER_NODE_NODE_ALIGN_H
#define FEWBIT_ENCODER_NODE_NODE_ALIGN_H

#include "encoder_node/code_sender.h"

typedef struct node_align node_align;

/* All is borrowed; `ids`, of so many samples, may be NULL: they are counted. */
err node_align_new(node_align **a, const sample_ids *ids, const uint32_t samples[2], thread_pool *pool,
                   const node_host *host);
void node_align_free(node_align *a);

/* Another connection: the samples are numbered as in this node's folder. */
void node_align_disconnected(node_align *a);

/* Answers with AlignIds. */
err node_align_request(node_align *a, const Fewbit__AlignRequest *r);

err node_align_take(node_align *a, const Fewbit__Aligned *aligned);

/* Whether it has begun and is not over. */
bool node_align_is_under_way(const node_align *a);

/* NULL: as in this node's folder. */
const sample_rows *node_align_rows(const node_align *a);

#endif
