/* What dense layers of either precision share. */
#ifndef FEWBIT_NN_LAYERS_DENSE_H
#define FEWBIT_NN_LAYERS_DENSE_H

#include "nn/layer.h"

/* How many tasks the parameters of a dense layer are cut into: by its size alone. */
size_t nn_dense_tasks(size_t in, size_t out);

/* Whether it multiplies in bf16: a large one does. */
bool nn_dense_is_bf16(const nn_layer *layer);

void nn_dense_init(nn_layer *layer, rng *draws);
void nn_dense_add_tensors(nn_layer *layer);

/* Of outputs [first, last). */
void nn_dense_update_bias(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t first, size_t last);

#endif
