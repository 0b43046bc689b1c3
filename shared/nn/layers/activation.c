/* Layers that work on each number by itself. */
#include "bits/binarize.h"
#include "nn/bf16.h"
#include "nn/layers/layers.h"

#include <math.h>

BF16_INLINE void relu(size_t n, const void *restrict x, void *restrict y, bool half) {
    for (size_t i = 0; i < n; i++) {
        float v = bf16_get(x, i, half);
        bf16_put(y, i, half, v > 0.0f ? v : 0.0f);
    }
}

BF16_VERSIONS(relu, (size_t n, const void *restrict x, void *restrict y), n, x, y)

static void relu_forward(nn_layer *layer, const nn_rows *r) {
    (layer->x_half ? relu_bf16 : relu_f32)(r->count * layer->out, r->x, r->y);
}

static void relu_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx) {
        nn_relu_gradient(r->count * layer->out, r->y, r->dy, r->dx, layer->x_half);
    }
}

err nn_relu_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true, .forward = relu_forward, .backward = relu_backward};
    layer->ops = &ops;
    layer->memory = NN_BACKWARD_READS_Y;
    return ERR_OK;
}

/* y = 1 / (1 + exp(-(slope x - shift))); dy/dx = slope y (1 - y). */
typedef struct curve {
    float slope, shift;
} curve;

static curve curve_of(const nn_layer *layer) {
    return layer->spec.kind == NN_RESIGMOID ? (curve){14.0f, 7.0f} : (curve){1.0f, 0.0f};
}

static void sigmoid_forward(nn_layer *layer, const nn_rows *r) {
    curve c = curve_of(layer);
    bool half = layer->x_half;
    for (size_t i = 0; i < r->count * layer->out; i++) {
        bf16_put(r->y, i, half, 1.0f / (1.0f + expf(c.shift - c.slope * bf16_get(r->x, i, half))));
    }
}

static void sigmoid_backward(nn_layer *layer, const nn_rows *r) {
    curve c = curve_of(layer);
    bool half = layer->x_half;
    for (size_t i = 0; r->dx && i < r->count * layer->out; i++) {
        float y = bf16_get(r->y, i, half);
        bf16_put(r->dx, i, half, c.slope * bf16_get(r->dy, i, half) * y * (1.0f - y));
    }
}

enum { SIGMOID_WORK = 64 };

err nn_sigmoid_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = sigmoid_forward, .backward = sigmoid_backward};
    layer->ops = &ops;
    layer->memory = NN_BACKWARD_READS_Y;
    layer->work = SIGMOID_WORK * (double)layer->out;
    return ERR_OK;
}

/* Tanh, GELU (Hendrycks and Gimpel, arXiv:1606.08415) and SiLU: of x alone. */

static float tanh_slope(float x) {
    float y = tanhf(x);
    return 1.0f - y * y;
}

/* The normal distribution's, up to x. */
static float normal(float x) {
    return 0.5f * (1.0f + erff(x * 0.70710678f));
}

static float gelu(float x) {
    return x * normal(x);
}

static float gelu_slope(float x) {
    return normal(x) + x * 0.39894228f * expf(-0.5f * x * x);
}

static float silu(float x) {
    return x / (1.0f + expf(-x));
}

static float silu_slope(float x) {
    float s = 1.0f / (1.0f + expf(-x));
    return s + x * s * (1.0f - s);
}

typedef float (*of_number)(float x);

static void smooth_forward(nn_layer *layer, const nn_rows *r) {
    static const of_number values[] = {[NN_TANH] = tanhf, [NN_GELU] = gelu, [NN_SILU] = silu};
    of_number value = values[layer->spec.kind];
    bool half = layer->x_half;
    for (size_t i = 0; i < r->count * layer->out; i++) {
        bf16_put(r->y, i, half, value(bf16_get(r->x, i, half)));
    }
}

static void smooth_backward(nn_layer *layer, const nn_rows *r) {
    static const of_number slopes[] = {[NN_TANH] = tanh_slope, [NN_GELU] = gelu_slope, [NN_SILU] = silu_slope};
    of_number slope = slopes[layer->spec.kind];
    bool half = layer->x_half;
    for (size_t i = 0; r->dx && i < r->count * layer->out; i++) {
        bf16_put(r->dx, i, half, bf16_get(r->dy, i, half) * slope(bf16_get(r->x, i, half)));
    }
}

err nn_smooth_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true, .forward = smooth_forward, .backward = smooth_backward};
    layer->ops = &ops;
    layer->memory = NN_BACKWARD_READS_X;
    layer->work = SIGMOID_WORK * (double)layer->out;
    return ERR_OK;
}

static void binarize_forward(nn_layer *layer, const nn_rows *r) {
    bool half = layer->x_half;
    for (size_t i = 0; i < r->count * layer->out; i++) {
        float x = bf16_get(r->x, i, half);
        bf16_put(r->y, i, half, r->mode == NN_TRAIN ? binarize(x) : x);
    }
}

/* Straight-through estimator: Bengio, Leonard, Courville, arXiv:1308.3432. */
static void binarize_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx) {
        memcpy(r->dx, r->dy, r->count * layer->out * bf16_size(layer->x_half));
    }
}

err nn_binarize_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = binarize_forward, .backward = binarize_backward};
    layer->ops = &ops;
    return ERR_OK;
}
