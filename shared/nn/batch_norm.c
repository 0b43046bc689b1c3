/* Batch normalisation of features: Ioffe and Szegedy, 2015; PyTorch's BatchNorm1d (epsilon 1e-5, momentum 0.1,
 * running variance from the unbiased estimate). */
#include "nn/layer.h"

#include <math.h>

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };

static const float epsilon = 1e-5f, momentum = 0.1f;

/* Scratch: mean [features], then 1 / sqrt(variance + epsilon) [features], of the last training batch. */
static float *mean_of(const nn_layer *layer) {
    return layer->scratch;
}

static float *scale_of(const nn_layer *layer) {
    return layer->scratch + layer->out;
}

static void batch_norm_init(nn_layer *layer, rng *draws) {
    (void)draws;
    for (size_t f = 0; f < layer->out; f++) {
        layer->tensors[WEIGHT].value[f] = 1.0f;
        layer->tensors[BIAS].value[f] = 0.0f;
        layer->tensors[RUNNING_MEAN].value[f] = 0.0f;
        layer->tensors[RUNNING_VAR].value[f] = 1.0f;
    }
}

static void measure_batch(nn_layer *layer, size_t rows, const float *x) {
    size_t n = layer->out;
    for (size_t f = 0; f < n; f++) {
        double sum = 0, squares = 0;
        for (size_t row = 0; row < rows; row++) {
            sum += (double)x[row * n + f];
        }
        double mean = sum / (double)rows;
        for (size_t row = 0; row < rows; row++) {
            double d = (double)x[row * n + f] - mean;
            squares += d * d;
        }
        double variance = squares / (double)rows;
        double unbiased = rows > 1 ? squares / (double)(rows - 1) : variance;
        mean_of(layer)[f] = (float)mean;
        scale_of(layer)[f] = (float)(1.0 / sqrt(variance + (double)epsilon));
        float *running_mean = &layer->tensors[RUNNING_MEAN].value[f];
        float *running_var = &layer->tensors[RUNNING_VAR].value[f];
        *running_mean += momentum * ((float)mean - *running_mean);
        *running_var += momentum * ((float)unbiased - *running_var);
    }
}

static void use_running_statistics(nn_layer *layer) {
    for (size_t f = 0; f < layer->out; f++) {
        mean_of(layer)[f] = layer->tensors[RUNNING_MEAN].value[f];
        scale_of(layer)[f] = 1.0f / sqrtf(layer->tensors[RUNNING_VAR].value[f] + epsilon);
    }
}

static void batch_norm_forward(nn_layer *layer, size_t rows, nn_mode mode, const float *x, float *y) {
    if (mode == NN_TRAIN) {
        measure_batch(layer, rows, x);
    } else {
        use_running_statistics(layer);
    }
    size_t n = layer->out;
    const float *weight = layer->tensors[WEIGHT].value, *bias = layer->tensors[BIAS].value;
    for (size_t row = 0; row < rows; row++) {
        for (size_t f = 0; f < n; f++) {
            y[row * n + f] = (x[row * n + f] - mean_of(layer)[f]) * scale_of(layer)[f] * weight[f] + bias[f];
        }
    }
}

/* With h = (x - mean) * scale: dx = weight * scale * (dy - mean(dy) - h * mean(dy h)). */
static void batch_norm_backward(nn_layer *layer, size_t rows, const float *x, const float *y, const float *dy,
                                float *dx) {
    (void)y;
    size_t n = layer->out;
    for (size_t f = 0; f < n; f++) {
        float mean = mean_of(layer)[f], scale = scale_of(layer)[f];
        double sum = 0, product = 0;
        for (size_t row = 0; row < rows; row++) {
            double h = (double)((x[row * n + f] - mean) * scale);
            sum += (double)dy[row * n + f];
            product += (double)dy[row * n + f] * h;
        }
        layer->tensors[BIAS].gradient[f] = (float)sum;
        layer->tensors[WEIGHT].gradient[f] = (float)product;
        if (!dx) {
            continue;
        }
        float a = layer->tensors[WEIGHT].value[f] * scale;
        float mean_dy = (float)(sum / (double)rows), mean_dyh = (float)(product / (double)rows);
        for (size_t row = 0; row < rows; row++) {
            float h = (x[row * n + f] - mean) * scale;
            dx[row * n + f] = a * (dy[row * n + f] - mean_dy - h * mean_dyh);
        }
    }
}

/* The gradients come with the backward pass, which needs the same sums. */
static void batch_norm_update(nn_layer *layer, size_t rows, const float *x, const float *dy, const nn_optimiser *o,
                              size_t task) {
    (void)rows, (void)x, (void)dy, (void)task;
    if (o) {
        nn_optimiser_apply(o, &layer->tensors[WEIGHT], 0, layer->out);
        nn_optimiser_apply(o, &layer->tensors[BIAS], 0, layer->out);
    }
}

static const nn_layer_ops batch_norm_ops = {
    .kind = "batch norm",
    .init = batch_norm_init,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .update = batch_norm_update,
};

void nn_batch_norm_make(nn_layer *layer, const char *name, size_t features) {
    layer->ops = &batch_norm_ops;
    layer->in = layer->out = features;
    layer->update_tasks = 1;
    layer->scratch_floats = 2 * features;
    nn_layer_add_tensor(layer, name, "weight", features, 0, true);
    nn_layer_add_tensor(layer, name, "bias", features, 0, true);
    nn_layer_add_tensor(layer, name, "running_mean", features, 0, false);
    nn_layer_add_tensor(layer, name, "running_var", features, 0, false);
}
