/* A dense layer that multiplies bf16 numbers and adds them up in f32. What goes in and comes out, the parameters and
 * their gradients are f32. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"
#include "nn/onednn/bf16_linear.h"

enum { WEIGHT, BIAS };
enum { TILE_FLOATS = 1 << 18 };

/* Scratch: x [max_rows, in] and dy [max_rows, out] of the step, as bf16. */
static uint16_t *x_of(const nn_layer *layer) {
    return (uint16_t *)layer->scratch;
}

static uint16_t *dy_of(const nn_layer *layer) {
    return x_of(layer) + layer->max_rows * layer->in;
}

static void prepare_task(void *context, size_t task) {
    const nn_layer *layer = context;
    const bf16_linear *m = layer->own;
    size_t first = bf16_linear_first_output(m, task) * m->inputs,
           last = bf16_linear_first_output(m, task + 1) * m->inputs;
    bf16_from_floats(last - first, layer->tensors[WEIGHT].value + first, m->weights + first);
}

static void dense_prepare(nn_layer *layer) {
    thread_pool_run(layer->pool, prepare_task, layer, BF16_LINEAR_TASKS);
}

static void dense_forward(nn_layer *layer, const nn_rows *r) {
    const float *bias = layer->spec.no_bias ? NULL : layer->tensors[BIAS].value;
    bf16_from_floats(r->count * layer->in, r->x, x_of(layer));
    bf16_linear_forward(layer->own, r->count, x_of(layer), bias, r->y);
}

static void dense_backward(nn_layer *layer, const nn_rows *r) {
    bf16_from_floats(r->count * layer->out, r->dy, dy_of(layer));
    if (r->dx) {
        bf16_linear_backward(layer->own, r->count, dy_of(layer), r->dx);
    }
}

/* The optimiser's step of `count` outputs, and their weights as bf16 for the next passes, a row at a time. */
static void step_rows(nn_layer *layer, const nn_optimiser *o, size_t first, size_t count, const float *gradient) {
    const bf16_linear *m = layer->own;
    nn_tensor *weight = &layer->tensors[WEIGHT];
    for (size_t i = 0; i < count; i++) {
        size_t at = (first + i) * layer->in;
        nn_optimiser_apply_from(o, weight, at, layer->in, gradient + i * layer->in);
        bf16_from_floats(layer->in, weight->value + at, m->weights + at);
    }
}

/* Where the optimiser takes the gradient at once, a tile of it at a time lies in scratch memory, and stays in the
 * cache.
 */
static void dense_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    bf16_linear *m = layer->own;
    nn_tensor *weight = &layer->tensors[WEIGHT];
    size_t first = bf16_linear_first_output(m, task), last = bf16_linear_first_output(m, task + 1);
    void *scratch = scratch_pool_take(layer->scratch_pool);
    for (size_t at = first; at < last; at += m->tile) {
        size_t count = last - at < m->tile ? last - at : m->tile;
        float *tile = o ? scratch : weight->gradient + at * layer->in;
        bf16_linear_gradient(m, task, at, count, r->count, dy_of(layer), x_of(layer), tile);
        if (o) {
            step_rows(layer, o, at, count, tile);
        }
    }
    scratch_pool_give(layer->scratch_pool, scratch);
    if (!layer->spec.no_bias) {
        nn_dense_update_bias(layer, r, o, first, last);
    }
}

static void dense_finish(nn_layer *layer, const nn_optimiser *o) {
    layer->stays_prepared |= layer->trains && o;
}

err nn_dense_bf16_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .init = nn_dense_init,
        .prepare = dense_prepare,
        .forward = dense_forward,
        .backward = dense_backward,
        .update = dense_update,
        .finish = dense_finish,
        .free = bf16_linear_free,
    };
    nn_dense_add_tensors(layer);
    layer->ops = &ops;
    layer->memory = NN_UPDATE_READS_DY; /* for the bias; the layer keeps copies of its own of the rest */
    layer->update_tasks = layer->trains ? BF16_LINEAR_TASKS : 0;
    layer->scratch_floats = (layer->max_rows * (layer->in + layer->out) + 1) / 2;
    size_t tile = layer->in < TILE_FLOATS ? TILE_FLOATS / layer->in : 1;
    if (layer->trains) {
        scratch_pool_want(layer->scratch_pool, tile * layer->in * sizeof(float));
    }
    return bf16_linear_new((bf16_linear){
        .layer = layer, .inputs = layer->in, .outputs = layer->out, .tile = tile, .bias = !layer->spec.no_bias});
}
