/* Nets: a sequence of layers built from a description, trained and evaluated on batches.
 *
 * A net knows no network and no file. All its memory is planned when it is made, for a largest batch; nothing
 * is allocated afterwards. Batches are row-major: [rows, features].
 *
 * A training step is
 *     y = nn_net_forward(net, x, rows, NN_TRAIN)
 *     dx = nn_net_backward(net, dy)
 *     nn_optimiser_begin(o); nn_net_update(net, o)
 * The update is made of tasks that may also be run one by one, beside other work (nn_net_update_task).
 *
 * oneDNN takes a little memory in the middle of a step. Where there is none, the log says so, and from then on all that
 * the net puts out, and the first of its parameters, is not a number: nothing of it is taken, sent or saved. */
#ifndef FEWBIT_NN_NET_H
#define FEWBIT_NN_NET_H

#include "nn/optimiser.h"
#include "nn/spec.h"

typedef struct nn_net nn_net;

/* Makes a net with zeroed parameters. ERR_FULL where it would take more than max_bytes: computed before they are taken.
 * The caller ends it with nn_net_free. */
err nn_net_new(nn_net **net, const nn_spec *spec, const nn_net_options *options);

/* The memory it takes: parameters, their copies, gradients and states, activations and scratch. What oneDNN takes
 * for its own code and scratch is not known before, and not in it. */
size_t nn_net_bytes(const nn_net *net);
void nn_net_free(nn_net *net);

/* PyTorch's default initialisation: a linear layer's weights and bias uniform in +-1/sqrt(inputs), batch norm
 * 1 and 0. Drawn from (seed, stream); clears optimiser state. */
void nn_net_init(nn_net *net, uint64_t seed, uint32_t stream);

/* Which draws the next NN_TRAIN forward's dropout and noise take: a pure function of (seed, stream, step) and of the
 * layer's place. */
void nn_net_set_step(nn_net *net, uint64_t seed, uint32_t stream, uint32_t step);

/* The T of NN_NOISE, above 0, from the next forward on; 1 at first. */
void nn_net_set_temperature(nn_net *net, float temperature);

/* x: [rows, inputs], 0 < rows <= max_rows, borrowed until the step's update. Returns [rows, outputs], the
 * net's until the next forward. */
const float *nn_net_forward(nn_net *net, const float *x, size_t rows, nn_mode mode);

/* dy: [rows, outputs] of the last NN_TRAIN forward; borrowed until the update. Once a forward pass, where there are
 * images: they share their memory with the gradients. Returns the gradient on the
 * input [rows, inputs], or NULL without input_gradient. */
const float *nn_net_backward(nn_net *net, const float *dy);

/* The parameters' gradients, or with `o` (begun, see nn_optimiser_begin) the optimiser's step at once: large layers
 * then keep no gradients. Whoever writes to the tensors of a net between steps calls nn_net_thaw. */
void nn_net_update(nn_net *net, const nn_optimiser *o);

/* The same in pieces: run tasks 0 .. nn_net_update_tasks()-1 in any order, also side by side, then
 * nn_net_update_finish once. */
size_t nn_net_update_tasks(const nn_net *net);
void nn_net_update_task(nn_net *net, const nn_optimiser *o, size_t task);
void nn_net_update_finish(nn_net *net, const nn_optimiser *o);

/* Promises that the parameters stay as they are: evaluation may precompute what depends on them alone. A
 * later NN_TRAIN forward, nn_net_init or nn_net_thaw ends it. Of fixed layers this is promised from the beginning:
 * whoever writes to their tensors calls nn_net_thaw. */
void nn_net_freeze(nn_net *net);
void nn_net_thaw(nn_net *net);

size_t nn_net_inputs(const nn_net *net);
size_t nn_net_outputs(const nn_net *net);

/* All parameters and buffers in layer order. */
size_t nn_net_tensor_count(const nn_net *net);
nn_tensor *nn_net_tensor(nn_net *net, size_t index);

#endif
