/* Optimisers: Adam and SGD, with the arithmetic and defaults of PyTorch's. */
#ifndef FEWBIT_NN_OPTIMISER_H
#define FEWBIT_NN_OPTIMISER_H

#include "nn/tensor.h"

typedef enum nn_optimiser_kind { NN_ADAM, NN_SGD } nn_optimiser_kind;

/* Plain data. `step` counts the updates done, for Adam's bias correction; it belongs in a checkpoint. */
typedef struct nn_optimiser {
    nn_optimiser_kind kind;
    float learning_rate;
    float momentum; /* SGD only */
    uint64_t step;
    float step_size, root_correction; /* of the step now being applied; set by nn_optimiser_begin */
} nn_optimiser;

/* Starts the next step. */
void nn_optimiser_begin(nn_optimiser *o);

/* Updates elements [first, first + count) of `t` from its gradient. Slices may run side by side.
 * Adam: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015; beta 0.9, 0.999, epsilon 1e-8. */
void nn_optimiser_apply(const nn_optimiser *o, nn_tensor *t, size_t first, size_t count);

/* The names under which the state is saved ("exp_avg", ...); `*count` says how many of them are in use. */
const char *const *nn_optimiser_state_names(const nn_optimiser *o, size_t *count);

#endif
