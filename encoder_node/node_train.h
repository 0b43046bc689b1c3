/* A node in training: batches through its net, gradients back through it, checkpoints.
 *
 * What the server sends is untrusted: ERR_INPUT where it does not fit, or comes out of turn. */
#ifndef FEWBIT_ENCODER_NODE_NODE_TRAIN_H
#define FEWBIT_ENCODER_NODE_NODE_TRAIN_H

#include "encoder_node/code_sender.h"

typedef struct node_train {
    code_sender *sender;
    uint32_t pending_rows; /* of the batch whose gradients are awaited; 0: none */
    bool has_trained;      /* since the weights were restored or saved */
} node_train;

/* Answers with Activations or Codes. */
err node_train_batch(node_train *t, encoder_model *m, const Fewbit__Batch *b);

/* The other half of the step that a Batch has begun. */
err node_train_gradients(node_train *t, encoder_model *m, const Fewbit__Gradients *g);

/* Answers with Saved. */
err node_train_save(node_train *t, encoder_model *m, const Fewbit__Save *s);

err node_train_commit(const encoder_model *m, const Fewbit__Committed *c);

#endif
