/* Optimisers: Adam, AdamW and SGD, with the arithmetic and defaults of PyTorch's, and how the learning rate changes
 * during a training. */
#ifndef FEWBIT_NN_OPTIMISER_H
#define FEWBIT_NN_OPTIMISER_H

#include <stddef.h>
#include <stdint.h>

/* Tensors: named parameters and buffers of a net, with their gradients and optimiser state. */
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

typedef enum nn_optimiser_kind { NN_ADAM, NN_SGD, NN_ADAMW } nn_optimiser_kind;

/* The learning rate of update `step` (from 0) of `steps`.
 * NN_COSINE: rate (1 + cos(pi step / steps)) / 2; Loshchilov and Hutter, "SGDR", 2017, one period without restarts.
 * NN_ONE_CYCLE: from rate / 25 up to the rate over the first 0.3 of the steps, then down to rate / 250000, both along a
 * half cosine; Smith and Topin, "Super-Convergence", 2018, in the form of PyTorch's OneCycleLR (momentum stays). */
typedef enum nn_schedule { NN_CONSTANT, NN_COSINE, NN_ONE_CYCLE } nn_schedule;

/* Plain data. `step` counts the updates done, for Adam's bias correction; it belongs in a checkpoint. */
typedef struct nn_optimiser {
    nn_optimiser_kind kind;
    float learning_rate;
    float momentum;     /* SGD only */
    float weight_decay; /* AdamW: parameters shrink by rate * weight_decay in each step; SGD: weight_decay *
                         parameter is added to the gradient */
    nn_schedule schedule;
    uint64_t steps; /* of the whole training; NN_CONSTANT does not ask */
    uint64_t step;
    float rate, step_size, root_correction, keep; /* of the step now being applied; set by nn_optimiser_begin */
} nn_optimiser;

/* The learning rate of update `step`, from 0; after the last one it stays. */
double nn_optimiser_rate(const nn_optimiser *o, uint64_t step);

/* Starts the next step. */
void nn_optimiser_begin(nn_optimiser *o);

/* Updates elements [first, first + count) of `t` from its gradient. Slices may run side by side.
 * Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015; beta 0.9, 0.999, epsilon 1e-8.
 * AdamW: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019. */
void nn_optimiser_apply(const nn_optimiser *o, nn_tensor *t, size_t first, size_t count);

/* The same with those elements' gradient lying elsewhere. */
void nn_optimiser_apply_from(const nn_optimiser *o, nn_tensor *t, size_t first, size_t count, const float *gradient);

/* The names under which the state is saved ("exp_avg", ...); `*count` says how many of them are in use. */
const char *const *nn_optimiser_state_names(const nn_optimiser *o, size_t *count);

#endif
