/* Convolution by im2col: in bf16, of images that leave few points, as one matrix product. */
#ifndef FEWBIT_NN_LAYERS_IM2COL_H
#define FEWBIT_NN_LAYERS_IM2COL_H

#include "nn/layer.h"

/* Whether a convolution is made in this way. */
bool im2col_pays(const nn_layer *layer);

/* Completes a convolution that nn_begin_convolution has begun. */
err im2col_make(nn_layer *layer);

#endif
