/* Nets: a sequence of layers built from a description, trained and evaluated on batches.
 *
 * A net knows no network and no file. All its memory is planned when it is made, for a largest batch; nothing
 * is allocated afterwards. Batches are row-major: [rows, features].
 *
 * A training step is
 *     y = nn_net_forward(net, x, rows, NN_TRAIN)
 *     dx = nn_net_backward(net, dy)
 *     nn_optimiser_begin(o); nn_net_update(net, o)
 * The update is made of tasks that may also be run one by one, beside other work (nn_net_update_task). */
#ifndef FEWBIT_NN_NET_H
#define FEWBIT_NN_NET_H

#include "base/err.h"
#include "base/thread_pool.h"
#include "nn/optimiser.h"
#include "nn/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nn_kind {
    NN_DENSE,      /* y = x W^T + b; W [outputs, inputs] */
    NN_RELU,       /* y = max(x, 0) */
    NN_BATCH_NORM, /* over the batch, a feature at a time; running statistics when evaluating */
    NN_SIGMOID,    /* y = 1 / (1 + exp(-x)) */
    NN_RESIGMOID,  /* y = 1 / (1 + exp(-(14 x - 7))), the paper's R */
    NN_NOISE,      /* y = x / T; training: y = (x + rate l) / T, l logistic; T: nn_net_set_temperature */
    NN_QUANTIZE,   /* training: the hard decision, gradient passed straight through. Evaluating: y = x */

    /* Images. A net's input and output are flat rows, in the order channel, row, column (NCHW). NN_IMAGE
     * makes an image of a row, NN_FLATTEN a row of an image; in between rows lie channels last (NHWC), so
     * that no layer reorders. */
    NN_IMAGE,                 /* flat -> `shape` */
    NN_FLATTEN,               /* image -> flat, in NCHW order */
    NN_CONVOLUTION,           /* `outputs` channels; W [outputs, channels, kernel, kernel], b [outputs] */
    NN_MAX_POOL,              /* kernel, stride, padding (padded with minus infinity) */
    NN_AVERAGE_POOL,          /* kernel, stride, padding (zeroes, counted, as torch's default) */
    NN_ADAPTIVE_AVERAGE_POOL, /* to `shape`'s height and width, torch's bins */
    NN_UPSAMPLE,              /* bilinear, align_corners false, to `shape`'s height and width */
    NN_DROPOUT,               /* training: each number 0 with probability `rate`, else divided by 1 - rate */
    NN_RESIDUAL,              /* opens a residual block: what follows is its main path ... */
    NN_SHORTCUT,              /* ... and from here its other path, from the block's input; may be empty ... */
    NN_JOIN,                  /* ... closes it: the sum of both paths. Blocks do not nest */
} nn_kind;

typedef struct nn_shape {
    uint32_t channels, height, width;
} nn_shape;

static inline size_t nn_shape_elements(nn_shape shape) {
    return (size_t)shape.channels * shape.height * shape.width;
}

/* One layer of a description. */
typedef struct nn_layer_spec {
    nn_kind kind;
    char name[32];                    /* prefix of its tensors: "classifier.2"; "" where it has none */
    uint32_t outputs;                 /* NN_DENSE, NN_CONVOLUTION */
    uint32_t kernel, stride, padding; /* square */
    nn_shape shape;                   /* see the kinds */
    float rate;                       /* NN_DROPOUT, NN_NOISE */
    bool no_bias;                     /* NN_CONVOLUTION, NN_DENSE */
    bool no_affine;                   /* NN_BATCH_NORM: without weight and bias */
    bool init_fan_out; /* NN_CONVOLUTION: weights begin normal, variance 2 / (outputs kernel^2), see He et
                          al., "Delving Deep into Rectifiers", 2015; else uniform as PyTorch's default */
    bool fixed; /* never trained: its tensors are no parameters and have no gradients, and it always does what it does
                   when evaluating (batch norm, dropout) */
} nn_layer_spec;

enum { NN_LAYERS_MAX = 128 };

/* A description; plain data. */
typedef struct nn_spec {
    uint32_t inputs;
    nn_layer_spec layers[NN_LAYERS_MAX];
    size_t count;
} nn_spec;

/* What each layer of a description puts out; a flat row is {1, 1, features}. ERR_INPUT naming the first layer
 * that does not fit what comes before; its shape and those of all behind it are zero then. */
err shape_infer(const nn_spec *spec, nn_shape shapes[NN_LAYERS_MAX]);

typedef enum nn_mode { NN_TRAIN, NN_EVALUATE } nn_mode;

/* NN_BF16: convolutions and large dense layers multiply bf16 numbers and add them up in f32; images between them are
 * bf16. */
typedef enum nn_precision { NN_F32, NN_BF16 } nn_precision;

typedef struct nn_net nn_net;

typedef struct nn_net_options {
    size_t max_rows;
    bool training;          /* gradients and optimiser state wanted */
    bool ema;               /* with training: a moving average of the tensors too */
    bool input_gradient;    /* nn_net_backward gives the gradient on the input */
    thread_pool *pool;      /* for large layers; NULL: all on the caller's thread. Borrowed */
    size_t max_bytes;       /* more memory the net must not take; 0: any */
    nn_precision precision; /* of the work; parameters, their gradients and the net's input and output stay f32 */
} nn_net_options;

/* Makes a net with zeroed parameters. ERR_FULL where it would take more than max_bytes: computed before they are taken.
 * The caller ends it with nn_net_free. */
err nn_net_new(nn_net **net, const nn_spec *spec, const nn_net_options *options);

/* The memory it takes: parameters, their copies, gradients and states, activations and workspaces. What oneDNN takes
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

/* Takes the tensors as they are behind update `step`, from 1, into their moving average:
 *
 *     average = value                          step 1
 *     average += (1 - d) (value - average)     later, d = min(decay, (step - 1) / (step + 9))
 *
 * Polyak and Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992, in the exponential form with the
 * short memory at the start of TensorFlow's ExponentialMovingAverage; batch norm's statistics are averaged with the
 * weights they belong to. Only of a net made with `average`. */
void nn_net_update_ema(nn_net *net, float decay, uint64_t step);

/* Puts the averages in place of the tensors' values, and the values aside, or back again. Does nothing where it is so
 * already, or the net keeps no average. Training needs the values. */
void nn_net_use_ema(nn_net *net, bool use);

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

/* Multiply-adds of one training step (forward, both gradients) of what a description says, at `rows`. */
double nn_spec_step_macs(const nn_spec *spec, size_t rows, bool input_gradient);

#endif
