/* Shape inference: the shapes of a description's layers, and the multiply-adds of a step. */
#ifndef FEWBIT_NN_SHAPE_INFER_H
#define FEWBIT_NN_SHAPE_INFER_H

#include "nn/spec.h"

/* What each layer of a description puts out; a flat row is {1, 1, features}. ERR_INPUT naming the first layer
 * that does not fit what comes before; its shape and those of all after it are zero then. */
err shape_infer(const nn_spec *spec, nn_shape shapes[NN_LAYERS_MAX]);

/* What each layer puts out, how many parameters it has (running statistics are none), and the multiply-adds of dense
 * layers and convolutions for one row's evaluation. ERR_INPUT as above. */
typedef struct nn_layer_cost {
    nn_shape shape;
    size_t parameters;
    double macs;
} nn_layer_cost;

err nn_spec_costs(const nn_spec *spec, nn_layer_cost costs[NN_LAYERS_MAX]);

/* Multiply-adds of one training step (forward, both gradients) of what a description says, at `rows`. */
double nn_spec_step_macs(const nn_spec *spec, size_t rows, bool input_gradient);

/* Those of one row's evaluation. */
double nn_spec_row_macs(const nn_spec *spec);

#endif
