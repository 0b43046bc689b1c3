/* The makers of all kinds of layers. */
#ifndef FEWBIT_NN_LAYERS_LAYERS_H
#define FEWBIT_NN_LAYERS_LAYERS_H

#include "nn/layer.h"

/* Makers. The caller has set spec, from, to, in, out, max_rows and the flags. */
err nn_dense_pair_make(nn_layer *layer);
err nn_batch_norm_make(nn_layer *layer);
err nn_relu_make(nn_layer *layer);
err nn_sigmoid_make(nn_layer *layer);
err nn_binarize_make(nn_layer *layer);
err nn_noise_make(nn_layer *layer);
err nn_image_make(nn_layer *layer);
err nn_flatten_make(nn_layer *layer);
err nn_max_pool_make(nn_layer *layer);
err nn_average_pool_make(nn_layer *layer);
err nn_dropout_make(nn_layer *layer);
err nn_fork_make(nn_layer *layer);
err nn_join_make(nn_layer *layer);
err nn_dense_make(nn_layer *layer);
err nn_dense_bf16_make(nn_layer *layer);
err nn_upsample_make(nn_layer *layer);
err nn_convolution_make(nn_layer *layer);

/* Whether two dense layers in a row are cheaper as one pair at this many rows. */
bool nn_dense_pair_pays(size_t rows, size_t in, size_t middle, size_t out);

#endif
