/* What a Batch asks of a node's net: the samples that it names go in, soft outputs come out. */
#ifndef FEWBIT_ENCODER_NODE_BATCH_H
#define FEWBIT_ENCODER_NODE_BATCH_H

#include "encoder_node/encoder_model.h"
#include "wire/message.h"

/* Whether its samples are there and are not too many; a server is not trusted with that. */
err batch_check(const encoder_model *m, const Fewbit__Batch *b);

/* The first half of a step; the gradients bring the other. Returns the outputs, [count, bits], the net's. */
const float *batch_train(encoder_model *m, const Fewbit__Batch *b);

/* The outputs into `soft` of the model; where only bits are asked for, of what is known already they are those. */
void batch_evaluate(encoder_model *m, const Fewbit__Batch *b);

#endif
