#include "nn/layers/layers.h"

#include <cblas.h>

enum { TASK_PARAMETERS = 65536, TILED_PARAMETERS = 1 << 20, TILE_ROWS = 64, TILE_COLUMNS = 1024 };
enum { WEIGHT, BIAS };

size_t nn_dense_tasks(size_t in, size_t out) {
    return in * out >= TASK_PARAMETERS && out >= 2 && in >= 2 ? 2 : 1;
}

bool nn_dense_is_bf16(const nn_layer *layer) {
    return layer->is_bf16 && nn_dense_tasks(layer->in, layer->out) > 1;
}

void nn_dense_init(nn_layer *layer, rng *draws) {
    for (size_t t = 0; t < layer->tensor_count; t++) {
        nn_fill_uniform(&layer->tensors[t], layer->in, draws);
    }
}

/* y[:, first..last) = x W[first..last)^T + b[first..last) */
static void forward_task(void *context, size_t task) {
    const nn_call *c = context;
    size_t in = c->layer->in, out = c->layer->out, tasks = c->parts, rows = c->rows->count;
    size_t first = nn_part(out, tasks, task), last = nn_part(out, tasks, task + 1);
    float *y = c->rows->y;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)(last - first), (int)in, 1.0f, c->rows->x,
                (int)in, c->layer->tensors[WEIGHT].value + first * in, (int)in, 0.0f, y + first, (int)out);
    if (c->layer->spec.no_bias) {
        return;
    }
    const float *bias = c->layer->tensors[BIAS].value;
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = first; o < last; o++) {
            y[row * out + o] += bias[o];
        }
    }
}

static void dense_forward(nn_layer *layer, const nn_rows *r) {
    nn_call call = {.layer = layer, .rows = r, .parts = nn_dense_tasks(layer->in, layer->out)};
    thread_pool_run(layer->pool, forward_task, &call, call.parts);
}

/* dx[:, first..last) = dy W[:, first..last) */
static void backward_task(void *context, size_t task) {
    const nn_call *c = context;
    size_t in = c->layer->in, out = c->layer->out, tasks = c->parts;
    size_t first = nn_part(in, tasks, task), last = nn_part(in, tasks, task + 1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)c->rows->count, (int)(last - first), (int)out, 1.0f,
                c->rows->dy, (int)out, c->layer->tensors[WEIGHT].value + first, (int)in, 0.0f,
                (float *)c->rows->dx + first, (int)in);
}

static void dense_backward(nn_layer *layer, const nn_rows *r) {
    if (!r->dx) {
        return;
    }
    nn_call call = {.layer = layer, .rows = r, .parts = nn_dense_tasks(layer->in, layer->out)};
    thread_pool_run(layer->pool, backward_task, &call, call.parts);
}

void nn_dense_update_bias(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t first, size_t last) {
    nn_tensor *bias = &layer->tensors[BIAS];
    const float *dy = r->dy;
    for (size_t i = first; i < last; i++) {
        bias->gradient[i] = 0.0f;
    }
    for (size_t row = 0; row < r->count; row++) {
        for (size_t i = first; i < last; i++) {
            bias->gradient[i] += dy[row * layer->out + i];
        }
    }
    if (o) {
        nn_optimiser_apply(o, bias, first, last - first);
    }
}

static bool is_tiled(const nn_layer *layer) {
    return layer->in * layer->out >= TILED_PARAMETERS;
}

/* dW[row.., column..] = dy[:, row..)^T x[:, column..), as much as a tile has */
static void tile_gradient(const nn_layer *layer, const nn_rows *r, size_t row, size_t rows, size_t column,
                          size_t columns, float *tile) {
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)rows, (int)columns, (int)r->count, 1.0f,
                (const float *)r->dy + row, (int)layer->out, (const float *)r->x + column, (int)layer->in, 0.0f, tile,
                (int)columns);
}

/* The optimiser's step of outputs [first, last), a tile of the gradient at a time, which stays in the cache: all of it
 * would go through memory twice. */
static void step_by_tiles(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t first, size_t last) {
    nn_tensor *weight = &layer->tensors[WEIGHT];
    float *tile = scratch_pool_take(layer->scratch_pool);
    for (size_t row = first; row < last; row += TILE_ROWS) {
        size_t rows = nn_least(TILE_ROWS, last - row);
        for (size_t column = 0; column < layer->in; column += TILE_COLUMNS) {
            size_t columns = nn_least(TILE_COLUMNS, layer->in - column);
            tile_gradient(layer, r, row, rows, column, columns, tile);
            for (size_t i = 0; i < rows; i++) {
                nn_optimiser_apply_from(o, weight, (row + i) * layer->in + column, columns, tile + i * columns);
            }
        }
    }
    scratch_pool_give(layer->scratch_pool, tile);
}

static void step_at_once(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t first, size_t last) {
    nn_tensor *weight = &layer->tensors[WEIGHT];
    tile_gradient(layer, r, first, last - first, 0, layer->in, weight->gradient + first * layer->in);
    if (o) {
        nn_optimiser_apply(o, weight, first * layer->in, (last - first) * layer->in);
    }
}

/* dW[first..last) = dy[:, first..last)^T x, db = column sums of dy */
static void dense_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    size_t tasks = layer->update_tasks, first = nn_part(layer->out, tasks, task);
    size_t last = nn_part(layer->out, tasks, task + 1);
    if (o && is_tiled(layer)) {
        step_by_tiles(layer, r, o, first, last);
    } else {
        step_at_once(layer, r, o, first, last);
    }
    if (!layer->spec.no_bias) {
        nn_dense_update_bias(layer, r, o, first, last);
    }
}

static const nn_layer_ops dense_ops = {
    .init = nn_dense_init,
    .forward = dense_forward,
    .backward = dense_backward,
    .update = dense_update,
};

void nn_dense_add_tensors(nn_layer *layer) {
    const uint32_t shape[] = {(uint32_t)layer->out, (uint32_t)layer->in};
    nn_layer_add_tensor(layer, layer->spec.name, "weight", true, 2, shape);
    if (!layer->spec.no_bias) {
        nn_layer_add_vector(layer, layer->spec.name, "bias", true, layer->out);
    }
}

err nn_dense_make(nn_layer *layer) {
    layer->memory = NN_UPDATE_READS_X | NN_UPDATE_READS_DY;
    layer->update_tasks = layer->trains ? nn_dense_tasks(layer->in, layer->out) : 0;
    nn_dense_add_tensors(layer);
    layer->ops = &dense_ops;
    if (layer->trains && is_tiled(layer)) {
        scratch_pool_want(layer->scratch_pool, TILE_ROWS * TILE_COLUMNS * sizeof(float));
    }
    return ERR_OK;
}
