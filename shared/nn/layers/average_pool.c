/* Average pooling of images whose channels lie last: windows of one size, zeroes around the image counted (torch's
 * default), or adaptive ones: window i of n over a side of s runs from floor(i s / n) up to ceil((i + 1) s / n).
 *
 * The gradient is gathered: a point of the input adds up what the windows over it hand back. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"
#include "nn/layers/windows.h"

enum { CHUNK = 64, WORK_A_POINT = 8 };

static bool is_adaptive(const nn_layer *layer) {
    return layer->spec.kind == NN_ADAPTIVE_AVERAGE_POOL;
}

/* Along one side, whose windows slide as `w` says. */
static windows_span bin(const nn_layer *layer, nn_slide w, size_t i, size_t side, size_t count) {
    if (is_adaptive(layer)) {
        return (windows_span){i * side / count, ((i + 1) * side + count - 1) / count};
    }
    return windows_points(w, i, side);
}

static windows_span bins_over(const nn_layer *layer, nn_slide w, size_t point, size_t side, size_t count) {
    if (is_adaptive(layer)) {
        return (windows_span){point * count / side, ((point + 1) * count + side - 1) / side};
    }
    return windows_over(w, point, count);
}

/* 1 / the points of a bin. Padding counts. */
static float share(const nn_layer *layer, windows_span rows, windows_span columns) {
    size_t points =
        is_adaptive(layer) ? (rows.to - rows.from) * (columns.to - columns.from) : nn_window_points(&layer->spec);
    return 1.0f / (float)points;
}

BF16_INLINE void add_scaled(size_t n, const void *restrict from, size_t at, float scale, float *restrict sum,
                            bool half) {
    for (size_t c = 0; c < n; c++) {
        sum[c] += bf16_get(from, at + c, half) * scale;
    }
}

/* Torch adds up first and divides then; so do we. */
BF16_INLINE void average_of_bin(const nn_layer *layer, size_t i, size_t k, size_t c, size_t n, const void *x, void *y,
                                size_t at, bool half) {
    nn_slide down = nn_slide_down(&layer->spec), across = nn_slide_across(&layer->spec);
    windows_span rows = bin(layer, down, i, layer->from.height, layer->to.height);
    windows_span columns = bin(layer, across, k, layer->from.width, layer->to.width);
    float sum[CHUNK] = {0}, scale = share(layer, rows, columns);
    for (size_t row = rows.from; row < rows.to; row++) {
        for (size_t column = columns.from; column < columns.to; column++) {
            add_scaled(n, x, (row * layer->from.width + column) * layer->from.channels + c, 1.0f, sum, half);
        }
    }
    for (size_t j = 0; j < n; j++) {
        bf16_put(y, at + j, half, sum[j] * scale);
    }
}

BF16_INLINE void average_gradient_of_point(const nn_layer *layer, size_t row, size_t column, size_t c, size_t n,
                                           const void *dy, void *dx, size_t at, bool half) {
    nn_shape from = layer->from, to = layer->to;
    nn_slide down = nn_slide_down(&layer->spec), across = nn_slide_across(&layer->spec);
    windows_span i = bins_over(layer, down, row, from.height, to.height),
                 k = bins_over(layer, across, column, from.width, to.width);
    float sum[CHUNK] = {0};
    for (size_t a = i.from; a < i.to; a++) {
        for (size_t b = k.from; b < k.to; b++) {
            float scale =
                share(layer, bin(layer, down, a, from.height, to.height), bin(layer, across, b, from.width, to.width));
            add_scaled(n, dy, (a * to.width + b) * to.channels + c, scale, sum, half);
        }
    }
    for (size_t j = 0; j < n; j++) {
        bf16_put(dx, at + j, half, sum[j]);
    }
}

static void average_pool_forward(nn_layer *layer, const nn_rows *r) {
    nn_shape to = layer->to;
    bool half = layer->x_half;
    for (size_t sample = 0; sample < r->count; sample++) {
        const void *x = bf16_at(r->x, sample * layer->in, half);
        void *y = bf16_place(r->y, sample * layer->out, half);
        for (size_t point = 0; point < (size_t)to.height * to.width; point++) {
            for (size_t c = 0; c < to.channels; c += CHUNK) {
                average_of_bin(layer, point / to.width, point % to.width, c, nn_least(CHUNK, to.channels - c), x, y,
                               point * to.channels + c, half);
            }
        }
    }
}

static void average_pool_backward(nn_layer *layer, const nn_rows *r) {
    nn_shape from = layer->from;
    bool half = layer->x_half;
    for (size_t sample = 0; r->dx && sample < r->count; sample++) {
        const void *dy = bf16_at(r->dy, sample * layer->out, half);
        void *dx = bf16_place(r->dx, sample * layer->in, half);
        for (size_t point = 0; point < (size_t)from.height * from.width; point++) {
            for (size_t c = 0; c < from.channels; c += CHUNK) {
                average_gradient_of_point(layer, point / from.width, point % from.width, c,
                                          nn_least(CHUNK, from.channels - c), dy, dx, point * from.channels + c, half);
            }
        }
    }
}

err nn_average_pool_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = average_pool_forward, .backward = average_pool_backward};
    layer->ops = &ops;
    layer->work = WORK_A_POINT * (double)(layer->in + layer->out);
    return ERR_OK;
}
