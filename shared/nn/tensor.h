/* Tensors: named parameters and buffers of a net, with their gradients and optimiser state. */
#ifndef FEWBIT_NN_TENSOR_H
#define FEWBIT_NN_TENSOR_H

#include <stddef.h>
#include <stdint.h>

enum { NN_NAME_MAX = 48, NN_RANK_MAX = 4, NN_STATES = 2 };

/* Row-major floats. A parameter of a net made for training has `gradient` and `state`; a buffer (batch norm's
 * running statistics) never has. All memory belongs to the net. */
typedef struct nn_tensor {
    char name[NN_NAME_MAX]; /* as PyTorch's state_dict: "encoder.0.weight" */
    uint32_t rank;
    uint32_t shape[NN_RANK_MAX];
    size_t count; /* product of shape */
    int is_parameter;
    float *value;
    float *gradient;
    float *state[NN_STATES]; /* Adam: exp_avg, exp_avg_sq. SGD: momentum, unused */
    float
        *ema; /* moving average of the values over the steps, where the net keeps one, else NULL; buffers have it too */
} nn_tensor;

#endif
