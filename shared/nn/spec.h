/* The description of a net: a list of layers, plain data; and how a net of it is to be made. */
#ifndef FEWBIT_NN_SPEC_H
#define FEWBIT_NN_SPEC_H

#include "base/thread_pool.h"

typedef enum nn_kind {
    NN_DENSE,      /* y = x W^T + b; W [outputs, inputs] */
    NN_RELU,       /* y = max(x, 0) */
    NN_BATCH_NORM, /* over the batch, a feature at a time; running statistics when evaluating */
    NN_SIGMOID,    /* y = 1 / (1 + exp(-x)) */
    NN_RESIGMOID,  /* y = 1 / (1 + exp(-(14 x - 7))), the paper's R */
    NN_TANH,       /* y = tanh(x) */
    NN_GELU,       /* y = x P(x), P the normal distribution's: torch's default, not its approximation */
    NN_SILU,       /* y = x / (1 + exp(-x)) */
    NN_LAYER_NORM, /* over a row's features, or at each point of an image over its channels */
    NN_NOISE,      /* y = x / T; training: y = (x + rate l) / T, l logistic; T: nn_net_set_temperature */
    NN_BINARIZE,   /* training: binarised, the gradient passed straight through. Evaluating: y = x */

    /* Images. A net's input and output are flat rows, in the order channel, row, column (NCHW). NN_IMAGE
     * makes an image of a row, NN_FLATTEN a row of an image; in between rows lie channels last (NHWC), so
     * that no layer reorders. */
    NN_IMAGE,                 /* flat -> `shape` */
    NN_FLATTEN,               /* image -> flat, in NCHW order */
    NN_CONVOLUTION,           /* `outputs` channels; W [outputs, channels / groups, kernel, kernel], b [outputs] */
    NN_MAX_POOL,              /* kernel, stride, padding (padded with minus infinity) */
    NN_AVERAGE_POOL,          /* kernel, stride, padding (zeroes, counted, as torch's default) */
    NN_ADAPTIVE_AVERAGE_POOL, /* to `shape`'s height and width, torch's bins */
    NN_UPSAMPLE,              /* bilinear, align_corners false, to `shape`'s height and width */
    NN_DROPOUT,               /* training: each number 0 with probability `rate`, else divided by 1 - rate */
    NN_RESIDUAL,              /* opens a residual block: what follows is its main path ... */
    NN_SHORTCUT,              /* ... and from here its other path, from the block's input; may be empty ... */
    NN_JOIN,                  /* ... closes it: the sum of both paths. Blocks nest */
} nn_kind;

typedef struct nn_shape {
    uint32_t channels, height, width;
} nn_shape;

static inline size_t nn_shape_elements(nn_shape shape) {
    return (size_t)shape.channels * shape.height * shape.width;
}

/* How windows slide along one side of an image: of `kernel` points, `dilation` apart (0: as 1), every `stride`. */
typedef struct nn_slide {
    uint32_t kernel, stride, padding, dilation;
} nn_slide;

/* The points from a window's first to its last. */
static inline uint64_t nn_slide_reach(nn_slide w) {
    return (w.kernel - 1) * (uint64_t)(w.dilation ? w.dilation : 1) + 1;
}

/* One layer of a description. */
typedef struct nn_layer_spec {
    nn_kind kind;
    char name[32];                    /* prefix of its tensors: "classifier.2"; "" where it has none */
    uint32_t outputs;                 /* NN_DENSE, NN_CONVOLUTION */
    uint32_t kernel, stride, padding; /* along both sides, but where `across` is there */
    nn_shape shape;                   /* see the kinds */
    float rate;                       /* NN_DROPOUT, NN_NOISE */
    bool no_bias;                     /* NN_CONVOLUTION, NN_DENSE */
    bool no_affine;                   /* NN_BATCH_NORM, NN_LAYER_NORM: without weight and bias */
    bool init_fan_out; /* NN_CONVOLUTION: weights begin normal, variance 2 / (outputs kernel^2), see He et
                          al., "Delving Deep into Rectifiers", 2015; else uniform as PyTorch's default */
    bool fixed; /* never trained: its tensors are no parameters and have no gradients, and it always does what it does
                   when evaluating (batch norm, dropout) */
    uint32_t dilation;     /* NN_CONVOLUTION; likewise */
    nn_slide across;       /* along a row, where it is not as down a column; kernel 0: it is */
    uint32_t groups;       /* NN_CONVOLUTION: of channels that see only each other; 0: one */
    bool is_line;          /* NN_CONVOLUTION: of height 1, so that its W is [outputs, channels / groups, kernel] */
    uint32_t origin;       /* whoever describes a net may say here where the layer came from */
    const char *complaint; /* why there can be no such layer, for shape_infer to refuse; NULL: there can */
} nn_layer_spec;

static inline nn_slide nn_slide_down(const nn_layer_spec *s) {
    return (nn_slide){s->kernel, s->stride, s->padding, s->dilation};
}

static inline nn_slide nn_slide_across(const nn_layer_spec *s) {
    return s->across.kernel ? s->across : nn_slide_down(s);
}

static inline size_t nn_window_points(const nn_layer_spec *s) {
    return (size_t)s->kernel * nn_slide_across(s).kernel;
}

static inline uint32_t nn_groups(const nn_layer_spec *s) {
    return s->groups ? s->groups : 1;
}

/* A convolution whose windows are alike along both sides, without gaps, over all channels. */
static inline bool nn_is_plain(const nn_layer_spec *s) {
    return !s->across.kernel && s->dilation <= 1 && s->groups <= 1;
}

enum { NN_LAYERS_MAX = 160, NN_BLOCKS_MAX = 4 /* residual blocks within each other */ };

/* A description; plain data. */
typedef struct nn_spec {
    uint32_t inputs;
    nn_layer_spec layers[NN_LAYERS_MAX];
    size_t count;
} nn_spec;

/* How many rows a net is made for that is trained in batches of `batch` rows (at least 1) and evaluated in up to
 * `most`. Where images pass through it, its activations are large: then it takes the batch alone, and its callers cut
 * what is longer into pieces of that. By the description alone, so the pieces are the same everywhere. */
static inline size_t nn_rows_at_once(const nn_spec *spec, size_t batch, size_t most) {
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->layers[i].kind == NN_IMAGE) {
            return batch;
        }
    }
    return batch > most ? batch : most;
}

typedef enum nn_mode { NN_TRAIN, NN_EVALUATE } nn_mode;

/* NN_BF16: convolutions and large dense layers multiply bf16 numbers and add them up in f32; images between them are
 * bf16. */
typedef enum nn_precision { NN_F32, NN_BF16 } nn_precision;

typedef struct nn_net_options {
    size_t max_rows;
    bool training;          /* gradients and optimiser state wanted */
    bool ema;               /* with training: a moving average of the tensors too */
    bool input_gradient;    /* nn_net_backward gives the gradient on the input */
    thread_pool *pool;      /* for large layers; NULL: all on the caller's thread. Borrowed */
    size_t max_bytes;       /* more memory the net must not take; 0: any */
    nn_precision precision; /* of the work; parameters, their gradients and the net's input and output stay f32 */
} nn_net_options;

#endif
