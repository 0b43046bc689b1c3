/* The makers of all kinds of layers, and what kinds share. */
#ifndef FEWBIT_NN_LAYERS_LAYERS_H
#define FEWBIT_NN_LAYERS_LAYERS_H

#include "nn/layer.h"

/* Makers. The caller has set spec, from, to, in, out, max_rows and the flags. */
err nn_dense_pair_make(nn_layer *layer);
err nn_batch_norm_make(nn_layer *layer);
err nn_relu_make(nn_layer *layer);
err nn_sigmoid_make(nn_layer *layer);
err nn_smooth_make(nn_layer *layer); /* tanh, GELU, SiLU */
err nn_layer_norm_make(nn_layer *layer);
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

/* Other ways to make a convolution that nn_begin_convolution has begun, and whether it is made so: by im2col in bf16
 * where images leave few points, as one matrix product; by Winograd's F(2x2, 3x3) for 3x3 filters at stride 1. */
bool im2col_pays(const nn_layer *layer);
err im2col_make(nn_layer *layer);
bool winograd_pays(const nn_layer *layer);
err winograd_make(nn_layer *layer);

/* Whether two dense layers in a row are cheaper as one pair at this many rows. */
bool nn_dense_pair_pays(size_t rows, size_t in, size_t middle, size_t out);

/* Of dense layers of either precision. */

/* How many tasks the parameters of a dense layer are cut into: by its size alone. */
size_t nn_dense_tasks(size_t in, size_t out);

/* Whether it multiplies in bf16: a large one does. */
bool nn_dense_is_bf16(const nn_layer *layer);

void nn_dense_init(nn_layer *layer, rng *draws);
void nn_dense_add_tensors(nn_layer *layer);

/* Of outputs [first, last). */
void nn_dense_update_bias(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t first, size_t last);

#endif
