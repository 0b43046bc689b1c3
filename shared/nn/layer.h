/* What a layer is: a table of functions over memory that its net planned once.
 *
 * For nn/ only; callers use nn/net.h. A layer's file has one function that makes it from its description:
 * sets sizes, tensors (names, shapes) and tables, and how many floats of scratch it wants. The net then
 * carves the memory and never allocates again. */
#ifndef FEWBIT_NN_LAYER_H
#define FEWBIT_NN_LAYER_H

#include "base/lanes.h"
#include "base/rng.h"
#include "nn/net.h"
#include "nn/optimiser.h"

enum { NN_LAYER_TENSORS_MAX = 5 };

typedef struct nn_layer nn_layer;

/* x: [rows, in], y and dy: [rows, out], dx: [rows, in], all row-major. Every pointer but the layer's own memory
 * is borrowed for the call. */
typedef struct nn_layer_ops {
    const char *kind;
    /* Draws the initial parameters; NULL for a layer without any. */
    void (*init)(nn_layer *layer, rng *draws);
    void (*forward)(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y);
    /* The gradient on the input; dx is NULL when nobody wants it (then a layer without parameters does nothing). */
    void (*backward)(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy, float *dx);
    /* Part `task` of the gradient on the parameters, applied at once where `o` is not NULL. Runs after every
     * layer's backward; tasks run side by side. NULL for a layer without parameters. */
    void (*update)(nn_layer *layer, size_t rows, const float *x, const float *dy, const nn_optimiser *o, size_t task);
    /* What is left once all tasks are done; NULL for none. */
    void (*finish)(nn_layer *layer, const nn_optimiser *o);
    /* The parameters changed from outside or will not change any more: work that depends on them alone. */
    void (*freeze)(nn_layer *layer);
} nn_layer_ops;

struct nn_layer {
    const nn_layer_ops *ops;
    size_t in, out; /* floats a sample */
    size_t middle;  /* dense pair only: floats between its two halves */
    size_t max_rows;
    nn_tensor tensors[NN_LAYER_TENSORS_MAX];
    size_t tensor_count;
    size_t update_tasks;
    size_t scratch_floats;
    float *scratch;
    float *y, *dy; /* [max_rows, out] */
    bool frozen;
    lanes *lanes;
};

/* Makers, one a file. `name` is the prefix of the tensors' names. */
void nn_dense_make(nn_layer *layer, const char *name, size_t in, size_t out);
void nn_dense_pair_make(nn_layer *layer, const char *first, const char *second, size_t in, size_t middle, size_t out);
void nn_batch_norm_make(nn_layer *layer, const char *name, size_t features);
void nn_relu_make(nn_layer *layer, size_t features);
void nn_sigmoid_make(nn_layer *layer, size_t features);
void nn_resigmoid_make(nn_layer *layer, size_t features);
void nn_quantize_make(nn_layer *layer, size_t features);

/* Whether two dense layers in a row are cheaper as one pair at this many rows. */
bool nn_dense_pair_pays(size_t rows, size_t in, size_t middle, size_t out);

/* Adds a tensor "NAME.FIELD" to a layer under construction; `columns` 0 makes it a vector. */
nn_tensor *nn_layer_add_tensor(nn_layer *layer, const char *name, const char *field, size_t rows, size_t columns,
                               bool is_parameter);

/* How many tasks the parameters of a dense layer are cut into: by its size alone. */
size_t nn_dense_tasks(size_t in, size_t out);

/* First item of part `task` of `tasks` over n items. */
static inline size_t nn_part(size_t n, size_t tasks, size_t task) {
    return n * task / tasks;
}

#endif
