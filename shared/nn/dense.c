#include "nn/layer.h"

#include <cblas.h>
#include <math.h>

enum { TASK_PARAMETERS = 65536 };

size_t nn_dense_tasks(size_t in, size_t out) {
    return in * out >= TASK_PARAMETERS && out >= 2 && in >= 2 ? 2 : 1;
}

static void dense_init(nn_layer *layer, rng *draws) {
    float bound = 1.0f / sqrtf((float)layer->in);
    for (size_t t = 0; t < layer->tensor_count; t++) {
        for (size_t i = 0; i < layer->tensors[t].count; i++) {
            layer->tensors[t].value[i] = (2.0f * rng_float(draws) - 1.0f) * bound;
        }
    }
}

typedef struct dense_call {
    nn_layer *layer;
    size_t rows;
    const float *from;
    float *to;
} dense_call;

/* y[:, first..last) = x W[first..last)^T + b[first..last) */
static void forward_task(void *context, size_t task) {
    const dense_call *c = context;
    size_t in = c->layer->in, out = c->layer->out, tasks = nn_dense_tasks(in, out);
    size_t first = nn_part(out, tasks, task), last = nn_part(out, tasks, task + 1);
    const float *weight = c->layer->tensors[0].value, *bias = c->layer->tensors[1].value;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)c->rows, (int)(last - first), (int)in, 1.0f, c->from,
                (int)in, weight + first * in, (int)in, 0.0f, c->to + first, (int)out);
    for (size_t row = 0; row < c->rows; row++) {
        for (size_t o = first; o < last; o++) {
            c->to[row * out + o] += bias[o];
        }
    }
}

static void dense_forward(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y) {
    (void)mode;
    dense_call call = {layer, rows, x, y};
    lanes_run(layer->lanes, forward_task, &call, nn_dense_tasks(layer->in, layer->out));
}

/* dx[:, first..last) = dy W[:, first..last) */
static void backward_task(void *context, size_t task) {
    const dense_call *c = context;
    size_t in = c->layer->in, out = c->layer->out, tasks = nn_dense_tasks(in, out);
    size_t first = nn_part(in, tasks, task), last = nn_part(in, tasks, task + 1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)c->rows, (int)(last - first), (int)out, 1.0f, c->from,
                (int)out, c->layer->tensors[0].value + first, (int)in, 0.0f, c->to + first, (int)in);
}

static void dense_backward(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy, float *dx) {
    (void)x, (void)y;
    if (!dx) {
        return;
    }
    dense_call call = {layer, rows, dy, dx};
    lanes_run(layer->lanes, backward_task, &call, nn_dense_tasks(layer->in, layer->out));
}

/* dW[first..last) = dy[:, first..last)^T x, db = column sums of dy */
static void dense_update(nn_layer *layer, size_t rows, const float *x, const float *dy, const nn_optimiser *o,
                         size_t task) {
    size_t in = layer->in, out = layer->out;
    size_t first = nn_part(out, layer->update_tasks, task), last = nn_part(out, layer->update_tasks, task + 1);
    nn_tensor *weight = &layer->tensors[0], *bias = &layer->tensors[1];
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)(last - first), (int)in, (int)rows, 1.0f, dy + first,
                (int)out, x, (int)in, 0.0f, weight->gradient + first * in, (int)in);
    for (size_t i = first; i < last; i++) {
        bias->gradient[i] = 0.0f;
    }
    for (size_t row = 0; row < rows; row++) {
        for (size_t i = first; i < last; i++) {
            bias->gradient[i] += dy[row * out + i];
        }
    }
    if (o) {
        nn_optimiser_apply(o, weight, first * in, (last - first) * in);
        nn_optimiser_apply(o, bias, first, last - first);
    }
}

static const nn_layer_ops dense_ops = {
    .kind = "dense",
    .init = dense_init,
    .forward = dense_forward,
    .backward = dense_backward,
    .update = dense_update,
};

void nn_dense_make(nn_layer *layer, const char *name, size_t in, size_t out) {
    layer->ops = &dense_ops;
    layer->in = in;
    layer->out = out;
    layer->update_tasks = nn_dense_tasks(in, out);
    nn_layer_add_tensor(layer, name, "weight", out, in, true);
    nn_layer_add_tensor(layer, name, "bias", out, 0, true);
}
