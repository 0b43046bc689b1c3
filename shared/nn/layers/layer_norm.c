/* Layer normalisation: Ba, Kiros, Hinton, 2016; PyTorch's LayerNorm(channels), epsilon 1e-5. Over the features of a
 * row, or over the channels of each point of an image, which lie last.
 *
 *     h = (x - mean) * scale, scale = 1 / sqrt(variance + epsilon)      y = weight * h + bias
 *     dx = scale * (g - mean(g) - h * mean(g h)), g = weight * dy       dweight = sum(dy h), dbias = sum(dy) */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

#include <math.h>

static const float epsilon = 1e-5f;

enum { WORK_A_NUMBER = 32 };

static size_t channels_of(const nn_layer *layer) {
    return layer->is_image ? layer->from.channels : layer->in;
}

/* Scratch: two doubles a channel, then the mean and the scale of each point of the last forward pass. */

static double *sums_of(const nn_layer *layer) {
    return (double *)(void *)layer->scratch;
}

static float *statistics_of(const nn_layer *layer, size_t first_row) {
    size_t channels = channels_of(layer), points = layer->in / channels;
    return layer->scratch + 4 * channels + 2 * first_row * points;
}

/* NULL where it has none. */
static const float *weight_of(const nn_layer *layer) {
    return layer->spec.no_affine ? NULL : layer->tensors[0].value;
}

BF16_INLINE void normalise_point(size_t n, const void *restrict x, void *restrict y, const float *weight,
                                 const float *bias, float *statistics, bool half) {
    float sum = 0, squares = 0;
    for (size_t c = 0; c < n; c++) {
        sum += bf16_get(x, c, half);
    }
    float mean = sum / (float)n;
    for (size_t c = 0; c < n; c++) {
        float d = bf16_get(x, c, half) - mean;
        squares += d * d;
    }
    float scale = 1.0f / sqrtf(squares / (float)n + epsilon);
    for (size_t c = 0; c < n; c++) {
        float h = (bf16_get(x, c, half) - mean) * scale;
        bf16_put(y, c, half, weight ? weight[c] * h + bias[c] : h);
    }
    statistics[0] = mean;
    statistics[1] = scale;
}

BF16_INLINE void normalise(const nn_layer *layer, const nn_rows *r, bool half) {
    size_t n = channels_of(layer), points = r->count * (layer->in / n);
    const float *weight = weight_of(layer), *bias = weight ? layer->tensors[1].value : NULL;
    float *statistics = statistics_of(layer, r->first);
    for (size_t p = 0; p < points; p++) {
        normalise_point(n, bf16_at(r->x, p * n, half), bf16_place(r->y, p * n, half), weight, bias, statistics + 2 * p,
                        half);
    }
}

BF16_VERSIONS(normalise, (const nn_layer *layer, const nn_rows *r), layer, r)

BF16_INLINE void gradient_of_point(size_t n, const void *restrict x, const void *restrict dy, void *restrict dx,
                                   const float *weight, const float *statistics, bool half) {
    float mean = statistics[0], scale = statistics[1], sum = 0, product = 0;
    for (size_t c = 0; c < n; c++) {
        float g = bf16_get(dy, c, half) * (weight ? weight[c] : 1.0f);
        sum += g;
        product += g * (bf16_get(x, c, half) - mean) * scale;
    }
    sum /= (float)n;
    product /= (float)n;
    for (size_t c = 0; c < n; c++) {
        float g = bf16_get(dy, c, half) * (weight ? weight[c] : 1.0f);
        float h = (bf16_get(x, c, half) - mean) * scale;
        bf16_put(dx, c, half, scale * (g - sum - h * product));
    }
}

BF16_INLINE void give_back(const nn_layer *layer, const nn_rows *r, bool half) {
    size_t n = channels_of(layer), points = r->count * (layer->in / n);
    const float *statistics = statistics_of(layer, r->first);
    for (size_t p = 0; p < points; p++) {
        gradient_of_point(n, bf16_at(r->x, p * n, half), bf16_at(r->dy, p * n, half), bf16_place(r->dx, p * n, half),
                          weight_of(layer), statistics + 2 * p, half);
    }
}

BF16_VERSIONS(give_back, (const nn_layer *layer, const nn_rows *r), layer, r)

/* Of channels [first, last), over all points of the batch. */
BF16_INLINE void sum_gradients(const nn_layer *layer, const nn_rows *r, size_t first, size_t last, bool half) {
    size_t n = channels_of(layer), points = r->count * (layer->in / n);
    const float *statistics = statistics_of(layer, 0);
    double *products = sums_of(layer), *sums = products + n;
    memset(products + first, 0, (last - first) * sizeof *products);
    memset(sums + first, 0, (last - first) * sizeof *sums);
    for (size_t p = 0; p < points; p++) {
        float mean = statistics[2 * p], scale = statistics[2 * p + 1];
        for (size_t c = first; c < last; c++) {
            float dy = bf16_get(r->dy, p * n + c, half), h = (bf16_get(r->x, p * n + c, half) - mean) * scale;
            products[c] += (double)(dy * h);
            sums[c] += (double)dy;
        }
    }
}

BF16_VERSIONS(sum_gradients, (const nn_layer *layer, const nn_rows *r, size_t first, size_t last), layer, r, first,
              last)

static void layer_norm_init(nn_layer *layer, rng *draws) {
    (void)draws;
    for (size_t c = 0; !layer->spec.no_affine && c < channels_of(layer); c++) {
        layer->tensors[0].value[c] = 1.0f;
        layer->tensors[1].value[c] = 0.0f;
    }
}

static void layer_norm_forward(nn_layer *layer, const nn_rows *r) {
    (layer->x_half ? normalise_bf16 : normalise_f32)(layer, r);
}

static void layer_norm_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx) {
        (layer->x_half ? give_back_bf16 : give_back_f32)(layer, r);
    }
}

static void layer_norm_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    size_t n = channels_of(layer), first = nn_part(n, NN_PARTS_MAX, task), last = nn_part(n, NN_PARTS_MAX, task + 1);
    (layer->x_half ? sum_gradients_bf16 : sum_gradients_f32)(layer, r, first, last);
    for (size_t k = 0; k < 2; k++) {
        nn_tensor *t = &layer->tensors[k];
        for (size_t c = first; c < last; c++) {
            t->gradient[c] = (float)sums_of(layer)[k * n + c];
        }
        if (o) {
            nn_optimiser_apply(o, t, first, last - first);
        }
    }
}

err nn_layer_norm_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true,
                                     .init = layer_norm_init,
                                     .forward = layer_norm_forward,
                                     .backward = layer_norm_backward,
                                     .update = layer_norm_update};
    size_t channels = channels_of(layer);
    layer->ops = &ops;
    layer->work = WORK_A_NUMBER * (double)layer->out;
    layer->memory = NN_BACKWARD_READS_X | NN_UPDATE_READS_X | NN_UPDATE_READS_DY;
    layer->scratch_floats = 4 * channels + 2 * layer->max_rows * (layer->in / channels);
    if (!layer->spec.no_affine) {
        layer->update_tasks = layer->trains ? NN_PARTS_MAX : 0;
        nn_layer_add_vector(layer, layer->spec.name, "weight", true, channels);
        nn_layer_add_vector(layer, layer->spec.name, "bias", true, channels);
    }
    return ERR_OK;
}
