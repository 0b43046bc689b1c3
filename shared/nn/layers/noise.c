/* Logistic noise on the logits of bits, and their temperature.
 *
 *     training:    y = (x + rate l) / T,  l = log(u / (1 - u)),  u uniform in (0, 1)
 *     evaluating:  y = x / T
 *     gradient:    dx = dy / T
 *
 * With rate 1 a bit that is 1 where y > 0 is 1 with probability sigmoid(x): stochastic rounding; and sigmoid(y) is its
 * relaxation, near the bit for a small T. Maddison, Mnih, Teh, "The Concrete Distribution", 2017, the binary case;
 * Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax", 2017. Number i of the batch takes word i, as
 * dropout does. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

#include <math.h>

enum { WORDS = 4, NOISE_WORK = 512 };

static float logistic(uint32_t word) {
    double u = ((double)word + 0.5) / 4294967296.0;
    return (float)log(u / (1 - u));
}

static void noise_forward(nn_layer *layer, const nn_rows *r) {
    size_t first = r->first * layer->out, last = first + r->count * layer->out;
    bool half = layer->x_half, is_noisy = r->mode == NN_TRAIN && !layer->spec.fixed && layer->spec.rate > 0;
    float slope = 1 / layer->draws->temperature;
    for (size_t i = first; i < last;) {
        uint32_t words[WORDS];
        if (is_noisy) {
            nn_draw_words(layer, i / WORDS, words);
        }
        for (size_t word = i % WORDS; word < WORDS && i < last; word++, i++) {
            float noise = is_noisy ? layer->spec.rate * logistic(words[word]) : 0;
            bf16_put(r->y, i - first, half, (bf16_get(r->x, i - first, half) + noise) * slope);
        }
    }
}

static void noise_backward(nn_layer *layer, const nn_rows *r) {
    float slope = 1 / layer->draws->temperature;
    for (size_t i = 0; r->dx && i < r->count * layer->out; i++) {
        bf16_put(r->dx, i, layer->x_half, bf16_get(r->dy, i, layer->x_half) * slope);
    }
}

err nn_noise_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true, .forward = noise_forward, .backward = noise_backward};
    layer->ops = &ops;
    layer->work = NOISE_WORK * (double)layer->out;
    return ERR_OK;
}
