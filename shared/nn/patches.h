/* Convolution in bf16 of images that leave few points, as one matrix product. */
#ifndef FEWBIT_NN_PATCHES_H
#define FEWBIT_NN_PATCHES_H

#include "nn/layer.h"

/* Whether a convolution is made in this way. */
bool nn_patches_pay(const nn_layer *layer);

/* Completes a convolution that nn_convolution_make has begun. */
err nn_patches_make(nn_layer *layer);

#endif
