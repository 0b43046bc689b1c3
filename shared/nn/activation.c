/* Layers that work on each number by itself. */
#include "base/vector.h"
#include "bits/decision.h"
#include "nn/layer.h"

#include <math.h>
#include <string.h>

static void make(nn_layer *layer, const nn_layer_ops *ops, size_t features) {
    layer->ops = ops;
    layer->in = layer->out = features;
}

VECTOR_VERSIONS
static void relu(size_t n, const float *restrict x, float *restrict y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] > 0.0f ? x[i] : 0.0f;
    }
}

VECTOR_VERSIONS
static void relu_gradient(size_t n, const float *restrict y, const float *restrict dy, float *restrict dx) {
    for (size_t i = 0; i < n; i++) {
        dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
    }
}

static void relu_forward(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y) {
    (void)mode;
    relu(rows * layer->out, x, y);
}

static void relu_backward(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy, float *dx) {
    (void)x;
    if (dx) {
        relu_gradient(rows * layer->out, y, dy, dx);
    }
}

void nn_relu_make(nn_layer *layer, size_t features) {
    static const nn_layer_ops ops = {.kind = "relu", .forward = relu_forward, .backward = relu_backward};
    make(layer, &ops, features);
}

/* y = 1 / (1 + exp(-(slope x - shift))); dy/dx = slope y (1 - y). */
static void logistic(size_t n, float slope, float shift, const float *x, float *y) {
    for (size_t i = 0; i < n; i++) {
        y[i] = 1.0f / (1.0f + expf(shift - slope * x[i]));
    }
}

static void logistic_gradient(size_t n, float slope, const float *y, const float *dy, float *dx) {
    for (size_t i = 0; dx && i < n; i++) {
        dx[i] = slope * dy[i] * y[i] * (1.0f - y[i]);
    }
}

static void sigmoid_forward(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y) {
    (void)mode;
    logistic(rows * layer->out, 1.0f, 0.0f, x, y);
}

static void sigmoid_backward(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy, float *dx) {
    (void)x;
    logistic_gradient(rows * layer->out, 1.0f, y, dy, dx);
}

void nn_sigmoid_make(nn_layer *layer, size_t features) {
    static const nn_layer_ops ops = {.kind = "sigmoid", .forward = sigmoid_forward, .backward = sigmoid_backward};
    make(layer, &ops, features);
}

static void resigmoid_forward(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y) {
    (void)mode;
    logistic(rows * layer->out, 14.0f, 7.0f, x, y);
}

static void resigmoid_backward(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy,
                               float *dx) {
    (void)x;
    logistic_gradient(rows * layer->out, 14.0f, y, dy, dx);
}

void nn_resigmoid_make(nn_layer *layer, size_t features) {
    static const nn_layer_ops ops = {.kind = "resigmoid", .forward = resigmoid_forward, .backward = resigmoid_backward};
    make(layer, &ops, features);
}

static void quantize_forward(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y) {
    for (size_t i = 0; i < rows * layer->out; i++) {
        y[i] = mode == NN_TRAIN ? decision_round(x[i]) : x[i];
    }
}

/* Straight-through estimator: Bengio, Leonard, Courville, arXiv:1308.3432. */
static void quantize_backward(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy,
                              float *dx) {
    (void)x, (void)y;
    if (dx) {
        memcpy(dx, dy, rows * layer->out * sizeof(float));
    }
}

void nn_quantize_make(nn_layer *layer, size_t features) {
    static const nn_layer_ops ops = {.kind = "quantize", .forward = quantize_forward, .backward = quantize_backward};
    make(layer, &ops, features);
}
