/* Winograd convolution, F(2x2, 3x3): 3x3 filters at stride 1 in fewer multiplications. */
#ifndef FEWBIT_NN_LAYERS_WINOGRAD_H
#define FEWBIT_NN_LAYERS_WINOGRAD_H

#include "nn/layer.h"

/* Whether a convolution is made in this way. */
bool winograd_pays(const nn_layer *layer);

/* Completes a convolution that nn_begin_convolution has begun. */
err winograd_make(nn_layer *layer);

#endif
