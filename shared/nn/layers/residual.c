/* Residual blocks: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2015.
 *
 * The fork in front of the two paths hands its input on as it is and adds up what comes back; the join adds the two
 * paths, with the ReLU after it where there is one, and hands one gradient back to both. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

/* to = a + b; to may be a. */
BF16_INLINE void sum(size_t n, const void *a, const void *b, void *to, bool relu, bool half) {
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        float v = bf16_get(a, i, half) + bf16_get(b, i, half);
        bf16_put(to, i, half, relu && !(v > 0.0f) ? 0.0f : v);
    }
}

BF16_RELU_VERSIONS(sum, (size_t n, const void *a, const void *b, void *to, bool relu), n, a, b, to)

static void fork_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx) {
        (layer->x_half ? sum_bf16 : sum_f32)(r->count * layer->out, r->dy, r->other, r->dx, false);
    }
}

err nn_fork_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true, .backward = fork_backward};
    layer->ops = &ops;
    return ERR_OK;
}

static void join_forward(nn_layer *layer, const nn_rows *r) {
    (layer->x_half ? sum_bf16 : sum_f32)(r->count * layer->out, r->x, r->other, r->y, layer->relu);
}

static void join_backward(nn_layer *layer, const nn_rows *r) {
    if (layer->relu) {
        nn_relu_gradient(r->count * layer->out, r->y, r->dy, r->dy, layer->y_half);
    }
}

err nn_join_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true, .forward = join_forward, .backward = join_backward};
    layer->ops = &ops;
    layer->memory = layer->relu ? NN_BACKWARD_READS_Y : 0;
    return ERR_OK;
}
