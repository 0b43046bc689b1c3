/* Dropout: Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014; scaled while
 * training, as torch does.
 *
 *     y = x / (1 - rate) where the draw is at least rate, else 0; evaluating: y = x
 *
 * Number i of the batch takes word i of the generator at (seed, stream, step), in a block of words of its layer's own;
 * the backward pass draws the same again. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

enum { WORDS = 4 };

/* to = from, dropped and scaled; numbers [first, last) of the batch. */
static void apply(const nn_layer *layer, size_t first, size_t last, const void *from, void *to) {
    double rate = (double)layer->spec.rate;
    uint32_t bound = (uint32_t)(rate * 4294967296.0);
    float scale = (float)(1.0 / (1.0 - rate));
    bool half = layer->x_half;
    for (size_t i = first; i < last;) {
        uint32_t words[WORDS];
        nn_draw_words(layer, i / WORDS, words);
        for (size_t word = i % WORDS; word < WORDS && i < last; word++, i++) {
            float kept = bf16_get(from, i - first, half) * scale;
            bf16_put(to, i - first, half, words[word] < bound ? 0.0f : kept);
        }
    }
}

static void dropout_forward(nn_layer *layer, const nn_rows *r) {
    if (r->mode == NN_TRAIN && !layer->spec.fixed) {
        apply(layer, r->first * layer->out, (r->first + r->count) * layer->out, r->x, r->y);
    } else {
        memcpy(r->y, r->x, r->count * layer->out * bf16_size(layer->x_half));
    }
}

static void dropout_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx && !layer->spec.fixed) {
        apply(layer, r->first * layer->out, (r->first + r->count) * layer->out, r->dy, r->dx);
    } else if (r->dx) {
        memcpy(r->dx, r->dy, r->count * layer->out * bf16_size(layer->x_half));
    }
}

enum { DRAW_WORK = 256 };

err nn_dropout_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = dropout_forward, .backward = dropout_backward};
    layer->ops = &ops;
    layer->work = DRAW_WORK * (double)layer->out;
    return ERR_OK;
}
