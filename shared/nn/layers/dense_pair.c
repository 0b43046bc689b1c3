/* Two dense layers with nothing between, computed as what they are: one product.
 *
 * With z [R, i], A [m, i], a [m] and B [o, m], b [o] the pair is y = (z A^T + a) B^T + b. When i is small (a
 * codeword) and m, o are large (pixels, hidden units), it is cheaper to form the product of the weights first.
 * Write A' = [A a] [m, i+1] and z' = [z 1] [R, i+1]; then
 *     E' = B A'  [o, i+1]      y  = z' E'^T + b
 *     G' = dy^T z' [o, i+1]    dz = dy E
 *     dB = G' A'^T [o, m]      dA' = B^T G' [m, i+1]      db = the last column of G'
 * For 16-784-1000 at 100 rows that is 41 M multiply-adds a step in place of 240 M, for the same function and
 * the same parameters; only the rounding differs. */
#include "nn/layers/layers.h"

#include <cblas.h>
#include <string.h>

enum { FIRST_WEIGHT, FIRST_BIAS, SECOND_WEIGHT, SECOND_BIAS };
enum { PAIR_TASKS = 2, BLOCK_ROWS = 125 };

bool nn_dense_pair_pays(size_t rows, size_t in, size_t middle, size_t out) {
    double plain = (double)rows * (double)(in * middle + middle * out);
    double paired = (double)in * (double)(middle * out) + (double)(rows * in * out);
    return out >= PAIR_TASKS && 2 * paired < plain;
}

/* Floats between its two halves. */
static size_t middle_of(const nn_layer *layer) {
    return layer->spec.outputs;
}

/* Where things lie in the layer's scratch; w = in + 1. */
typedef struct pair_scratch {
    float *first;       /* A' [middle, w] */
    float *product;     /* E' [out, w] */
    float *input;       /* z' [rows, w] */
    float *gradient;    /* G' [out, w] */
    float *first_parts; /* dA' of each task [PAIR_TASKS, middle, w] */
} pair_scratch;

static size_t scratch_floats(const nn_layer *layer) {
    size_t w = layer->in + 1;
    return w * (middle_of(layer) * (1 + PAIR_TASKS) + 2 * layer->out + layer->max_rows);
}

static pair_scratch scratch_of(const nn_layer *layer) {
    size_t w = layer->in + 1;
    pair_scratch s = {.first = layer->scratch};
    s.product = s.first + middle_of(layer) * w;
    s.input = s.product + layer->out * w;
    s.gradient = s.input + layer->max_rows * w;
    s.first_parts = s.gradient + layer->out * w;
    return s;
}

static void pair_init(nn_layer *layer, rng *draws) {
    nn_fill_uniform(&layer->tensors[FIRST_WEIGHT], layer->in, draws);
    nn_fill_uniform(&layer->tensors[FIRST_BIAS], layer->in, draws);
    nn_fill_uniform(&layer->tensors[SECOND_WEIGHT], middle_of(layer), draws);
    nn_fill_uniform(&layer->tensors[SECOND_BIAS], middle_of(layer), draws);
}

static void product_task(void *context, size_t task) {
    const nn_layer *layer = context;
    pair_scratch s = scratch_of(layer);
    size_t m = middle_of(layer), w = layer->in + 1;
    size_t first = nn_part(layer->out, PAIR_TASKS, task), last = nn_part(layer->out, PAIR_TASKS, task + 1);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)(last - first), (int)w, (int)m, 1.0f,
                layer->tensors[SECOND_WEIGHT].value + first * m, (int)m, s.first, (int)w, 0.0f, s.product + first * w,
                (int)w);
}

static void form_product(nn_layer *layer) {
    pair_scratch s = scratch_of(layer);
    size_t in = layer->in, w = in + 1;
    for (size_t i = 0; i < middle_of(layer); i++) {
        memcpy(s.first + i * w, layer->tensors[FIRST_WEIGHT].value + i * in, in * sizeof(float));
        s.first[i * w + in] = layer->tensors[FIRST_BIAS].value[i];
    }
    thread_pool_run(layer->pool, product_task, layer, PAIR_TASKS);
}

static void pair_forward(nn_layer *layer, const nn_rows *r) {
    pair_scratch s = scratch_of(layer);
    size_t in = layer->in, w = in + 1, out = layer->out;
    const float *x = r->x;
    float *y = r->y;
    for (size_t row = 0; row < r->count; row++) {
        memcpy(s.input + row * w, x + row * in, in * sizeof(float));
        s.input[row * w + in] = 1.0f;
        memcpy(y + row * out, layer->tensors[SECOND_BIAS].value, out * sizeof(float));
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)r->count, (int)out, (int)w, 1.0f, s.input, (int)w,
                s.product, (int)w, 1.0f, y, (int)out);
}

static void pair_backward(nn_layer *layer, const nn_rows *r) {
    pair_scratch s = scratch_of(layer);
    size_t in = layer->in, w = in + 1, out = layer->out;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)out, (int)w, (int)r->count, 1.0f, r->dy, (int)out,
                s.input, (int)w, 0.0f, s.gradient, (int)w);
    if (r->dx) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)r->count, (int)in, (int)out, 1.0f, r->dy, (int)out,
                    s.product, (int)w, 0.0f, r->dx, (int)in);
    }
}

/* Rows of B a block at a time, so that B, its gradient and its optimiser state pass the cache once: dA' reads
 * a block before the optimiser changes it. */
static void pair_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    (void)r;
    pair_scratch s = scratch_of(layer);
    size_t m = middle_of(layer), w = layer->in + 1;
    size_t first = nn_part(layer->out, PAIR_TASKS, task), last = nn_part(layer->out, PAIR_TASKS, task + 1);
    nn_tensor *weight = &layer->tensors[SECOND_WEIGHT], *bias = &layer->tensors[SECOND_BIAS];
    float *part = s.first_parts + task * m * w;
    for (size_t at = first; at < last; at += BLOCK_ROWS) {
        size_t n = last - at < BLOCK_ROWS ? last - at : BLOCK_ROWS;
        const float *g = s.gradient + at * w;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)m, (int)w, (int)n, 1.0f, weight->value + at * m,
                    (int)m, g, (int)w, at == first ? 0.0f : 1.0f, part, (int)w);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)m, (int)w, 1.0f, g, (int)w, s.first, (int)w,
                    0.0f, weight->gradient + at * m, (int)m);
        for (size_t i = 0; i < n; i++) {
            bias->gradient[at + i] = g[i * w + layer->in];
        }
        if (o) {
            nn_optimiser_apply(o, weight, at * m, n * m);
        }
    }
    if (o) {
        nn_optimiser_apply(o, bias, first, last - first);
    }
}

static void pair_finish(nn_layer *layer, const nn_optimiser *o) {
    const float *parts = scratch_of(layer).first_parts;
    size_t in = layer->in, w = in + 1, m = middle_of(layer);
    nn_tensor *weight = &layer->tensors[FIRST_WEIGHT], *bias = &layer->tensors[FIRST_BIAS];
    for (size_t i = 0; i < m; i++) {
        const float *a = parts + i * w, *b = a + m * w;
        for (size_t j = 0; j < in; j++) {
            weight->gradient[i * in + j] = a[j] + b[j];
        }
        bias->gradient[i] = a[in] + b[in];
    }
    if (o) {
        nn_optimiser_apply(o, weight, 0, weight->count);
        nn_optimiser_apply(o, bias, 0, bias->count);
    }
}

static const nn_layer_ops pair_ops = {
    .init = pair_init,
    .prepare = form_product,
    .forward = pair_forward,
    .backward = pair_backward,
    .update = pair_update,
    .finish = pair_finish,
};

err nn_dense_pair_make(nn_layer *layer) {
    const uint32_t first[] = {(uint32_t)middle_of(layer), (uint32_t)layer->in};
    const uint32_t second[] = {(uint32_t)layer->out, (uint32_t)middle_of(layer)};
    layer->ops = &pair_ops;
    layer->update_tasks = layer->trains ? PAIR_TASKS : 0;
    layer->scratch_floats = scratch_floats(layer);
    nn_layer_add_tensor(layer, layer->spec.name, "weight", true, 2, first);
    nn_layer_add_vector(layer, layer->spec.name, "bias", true, first[0]);
    nn_layer_add_tensor(layer, layer->second.name, "weight", true, 2, second);
    nn_layer_add_vector(layer, layer->second.name, "bias", true, second[0]);
    return ERR_OK;
}
