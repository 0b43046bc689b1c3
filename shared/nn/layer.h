/* A layer: a table of functions over memory that its net planned once, and what several kinds of layers share.
 *
 * For nn/ only; callers use nn/net.h. A layer's file has one function that makes it from its description
 * (layers/layers.h): sets its table, its tensors and how many floats of scratch it wants. The net then carves the
 * memory and never allocates again. */
#ifndef FEWBIT_NN_LAYER_H
#define FEWBIT_NN_LAYER_H

#include "base/rng.h"
#include "nn/optimiser.h"
#include "nn/scratch_pool.h"
#include "nn/spec.h"

enum { NN_LAYER_TENSORS_MAX = 5, NN_PARTS_MAX = 2 };

/* Added to a batch norm's variance. */
static const float nn_batch_norm_epsilon = 1e-5f;

typedef struct nn_layer nn_layer;

/* Rows of a batch and where they lie. x, dx: [count, in]; y, dy: [count, out]; numbers are bf16 where x_half or
 * y_half of the layer say so, floats otherwise. Borrowed for the call. */
typedef struct nn_rows {
    size_t first, count; /* of the batch: all, or one part for a layer that keeps rows apart */
    nn_mode mode;
    const void *x;
    void *y;
    const void *other; /* a join's second input; a fork's second gradient */
    void *dy;
    void *dx; /* NULL when nobody wants it */
} nn_rows;

/* What a layer's passes do to memory; what nobody reads any more is used again. */
enum {
    NN_BACKWARD_READS_X = 1,
    NN_BACKWARD_READS_Y = 2,
    NN_UPDATE_READS_X = 4,
    NN_UPDATE_READS_DY = 8,
    NN_WRITES_DX_OVER_X = 16, /* backward may be given dx == x, which it then reads for the last time */
};

typedef struct nn_layer_ops {
    bool keeps_rows_apart;                     /* forward and backward may be given parts of a batch, side by side */
    void (*init)(nn_layer *layer, rng *draws); /* draws the initial parameters; NULL for a layer without any */
    void (*prepare)(nn_layer *layer); /* work that depends on the parameters alone, done again when they changed */
    void (*forward)(nn_layer *layer, const nn_rows *r);
    void (*backward)(nn_layer *layer, const nn_rows *r); /* the gradient on the input */
    /* Part `task` of the gradient on the parameters, applied at once where `o` is not NULL. Runs after every
     * layer's backward; tasks run side by side. */
    void (*update)(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task);
    void (*finish)(nn_layer *layer, const nn_optimiser *o); /* what is left once all tasks are done */
    void (*free)(nn_layer *layer);                          /* what the layer allocated itself */
} nn_layer_ops;

/* What a task of a layer's pass, or of the end of its update, is given. */
typedef struct nn_call {
    nn_layer *layer;
    const nn_rows *rows;
    size_t parts;
    const nn_optimiser *o;
} nn_call;

/* Where a step's draws of dropout and noise come from, and the noise's temperature. */
typedef struct nn_draws {
    uint64_t seed;
    uint32_t stream, step;
    float temperature;
} nn_draws;

/* Words 4 `block` … 4 `block` + 3 of a layer's own part of the generator at (seed, stream, step): its place stands
 * above every block a batch can reach. */
void nn_draw_words(const nn_layer *layer, uint64_t block, uint32_t words[4]);

struct nn_layer {
    const nn_layer_ops *ops;
    nn_layer_spec spec, second; /* what it was made from; second: of a dense pair */
    nn_shape from, to;          /* of images; a flat row is {1, 1, features} */
    size_t in, out;             /* numbers a sample */
    size_t place;               /* in the description */
    size_t max_rows;
    unsigned memory;     /* NN_BACKWARD_READS_X … */
    double work;         /* a sample's, in multiply-adds or what takes as long: decides on parts */
    bool is_image;       /* its input is */
    bool x_half, y_half; /* its input, its output is bf16 */
    bool relu;           /* it includes the ReLU after it */
    bool trains;         /* its parameters get gradients */
    bool wants_dx;
    bool is_bf16; /* multiplies in bf16 */
    nn_tensor tensors[NN_LAYER_TENSORS_MAX];
    size_t tensor_count;
    size_t update_tasks;
    size_t own_bytes; /* that its maker took for copies of the weights */
    size_t scratch_floats;
    float *scratch;
    bool is_prepared;    /* nothing changed since `prepare` */
    bool stays_prepared; /* its updates do what `prepare` would, until somebody else writes to its tensors */
    thread_pool *pool;
    const nn_draws *draws;
    scratch_pool *scratch_pool;
    _Atomic bool *has_failed; /* its net's */
    void *own;                /* what its file keeps beside */
};

/* A pass of the layer could not do its work (ERR_OK: it could), which comes of a lack of memory in oneDNN alone: said
 * once, and the net puts out no numbers from then on. From any thread. */
void nn_layer_note(nn_layer *layer, err failed);

/* Adds a tensor "NAME.FIELD" to a layer under construction. Parameters of a layer that is not trained are
 * buffers. */
nn_tensor *nn_layer_add_tensor(nn_layer *layer, const char *name, const char *field, bool is_parameter, uint32_t rank,
                               const uint32_t *shape);

/* The same, of one dimension. */
nn_tensor *nn_layer_add_vector(nn_layer *layer, const char *name, const char *field, bool is_parameter, size_t count);

/* Uniform in +-1/sqrt(fan_in), PyTorch's default for dense layers and convolutions. */
void nn_fill_uniform(nn_tensor *t, size_t fan_in, rng *draws);

/* to += from */
void nn_add(float *restrict to, const float *restrict from, size_t n);

/* dx, which may be dy: dy where the ReLU let y through, else 0. */
void nn_relu_gradient(size_t n, const void *y, const void *dy, void *dx, bool half);

/* What every way to convolve has in common: tensors, work, and what is read of memory. Then the initial parameters. */
void nn_begin_convolution(nn_layer *layer);
void nn_init_filters(nn_layer *layer, rng *draws);

/* Where part `part` of a batch leaves its gradient on a convolution's bias: scratch. Then the parameter's: of all
 * parts, and the optimiser's step where `o` is not NULL. */
float *nn_bias_part(const nn_layer *layer, size_t part);
void nn_finish_bias(nn_layer *layer, size_t parts, const nn_optimiser *o);

static inline size_t nn_least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* First item of part `task` of `tasks` over n items. */
static inline size_t nn_part(size_t n, size_t tasks, size_t task) {
    return n * task / tasks;
}

/* How many parts a batch of `rows` is cut into for this layer: by its shape alone. */
size_t nn_parts(const nn_layer *layer, size_t rows);

/* Part `part` of `parts` of a batch. */
nn_rows nn_rows_part(const nn_layer *layer, const nn_rows *all, size_t parts, size_t part);

/* Runs `task` with an nn_call for each part of a batch, side by side. */
void nn_run_parts(nn_layer *layer, const nn_rows *r, thread_pool_task task);

#endif
