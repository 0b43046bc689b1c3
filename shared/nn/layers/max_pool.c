/* Max pooling of images whose channels lie last, and the ReLU after it where there is one.
 *
 * It remembers which point of each window was the largest, the first of equals in the order of rows and columns, as
 * torch; with the ReLU none where nothing is above 0. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"
#include "nn/layers/windows.h"

#include <stdlib.h>

enum { CHUNK = 64, NO_POINT = 255, FEW = 16, WORK_A_POINT = 8 };

/* Which point of window (i, k) the point (row, column) is. */
static int32_t place_in_window(const nn_layer *layer, size_t i, size_t k, size_t row, size_t column) {
    nn_slide down = nn_slide_down(&layer->spec), across = nn_slide_across(&layer->spec);
    return (int32_t)((row + down.padding - i * down.stride) * across.kernel + column + across.padding -
                     k * across.stride);
}

/* Scratch: a byte for each output number, the largest point's place in its window. */

static uint8_t *largest_of(const nn_layer *layer, const nn_rows *r) {
    return (uint8_t *)layer->scratch + r->first * layer->out;
}

BF16_INLINE void take_larger(size_t n, const void *restrict x, size_t at, int32_t place, float *restrict best,
                             int32_t *restrict largest, bool half) {
    for (size_t c = 0; c < n; c++) {
        float v = bf16_get(x, at + c, half);
        bool larger = v > best[c];
        best[c] = larger ? v : best[c];
        largest[c] = larger ? place : largest[c];
    }
}

/* One window, `n` channels from `c` on. */
BF16_INLINE void max_of_window(const nn_layer *layer, size_t i, size_t k, size_t c, size_t n, const void *x, void *y,
                               size_t at, uint8_t *places, bool half) {
    windows_span rows = windows_points(nn_slide_down(&layer->spec), i, layer->from.height),
                 columns = windows_points(nn_slide_across(&layer->spec), k, layer->from.width);
    float best[CHUNK];
    int32_t largest[CHUNK];
    for (size_t j = 0; j < n; j++) {
        best[j] = layer->relu ? 0.0f : -__builtin_inff();
        largest[j] = layer->relu ? NO_POINT : place_in_window(layer, i, k, rows.from, columns.from);
    }
    for (size_t row = rows.from; row < rows.to; row++) {
        for (size_t column = columns.from; column < columns.to; column++) {
            size_t point = (row * layer->from.width + column) * layer->from.channels + c;
            take_larger(n, x, point, place_in_window(layer, i, k, row, column), best, largest, half);
        }
    }
    for (size_t j = 0; j < n; j++) {
        bf16_put(y, at + j, half, best[j]);
        places[at + j] = (uint8_t)largest[j];
    }
}

BF16_INLINE void max_forward(const nn_layer *layer, const nn_rows *r, bool half) {
    nn_shape to = layer->to;
    uint8_t *places = largest_of(layer, r);
    for (size_t sample = 0; sample < r->count; sample++) {
        const void *x = bf16_at(r->x, sample * layer->in, half);
        for (size_t i = 0; i < to.height; i++) {
            for (size_t k = 0; k < to.width; k++) {
                size_t at = ((sample * to.height + i) * to.width + k) * to.channels;
                for (size_t c = 0; c < to.channels; c += CHUNK) {
                    max_of_window(layer, i, k, c, nn_least(CHUNK, to.channels - c), x, r->y, at + c, places, half);
                }
            }
        }
    }
}

BF16_INLINE void add_where(size_t n, const void *restrict dy, const uint8_t *restrict places, size_t at, int32_t place,
                           float *restrict sum, bool half) {
    for (size_t c = 0; c < n; c++) {
        sum[c] += places[at + c] == place ? bf16_get(dy, at + c, half) : 0.0f;
    }
}

/* The gradient of one point of a sample, `n` channels from `c` on. dy, places: the sample's. */
BF16_INLINE void max_gradient_of_point(const nn_layer *layer, size_t row, size_t column, size_t c, size_t n,
                                       const void *dy, const uint8_t *places, void *dx, size_t at, bool half) {
    nn_shape to = layer->to;
    windows_span i = windows_over(nn_slide_down(&layer->spec), row, to.height),
                 k = windows_over(nn_slide_across(&layer->spec), column, to.width);
    float sum[CHUNK] = {0};
    for (size_t a = i.from; a < i.to; a++) {
        for (size_t b = k.from; b < k.to; b++) {
            size_t from = (a * to.width + b) * to.channels + c;
            add_where(n, dy, places, from, place_in_window(layer, a, b, row, column), sum, half);
        }
    }
    for (size_t j = 0; j < n; j++) {
        bf16_put(dx, at + j, half, sum[j]);
    }
}

BF16_INLINE void max_backward(const nn_layer *layer, const nn_rows *r, bool half) {
    nn_shape from = layer->from;
    for (size_t sample = 0; sample < r->count; sample++) {
        const void *dy = bf16_at(r->dy, sample * layer->out, half);
        const uint8_t *places = largest_of(layer, r) + sample * layer->out;
        for (size_t row = 0; row < from.height; row++) {
            for (size_t column = 0; column < from.width; column++) {
                size_t at = ((sample * from.height + row) * from.width + column) * from.channels;
                for (size_t c = 0; c < from.channels; c += CHUNK) {
                    size_t n = nn_least(CHUNK, from.channels - c);
                    max_gradient_of_point(layer, row, column, c, n, dy, places, r->dx, at + c, half);
                }
            }
        }
    }
}

/* Images of few channels, not padded: numbers of a row of the output side by side, whatever their channel, and one
 * sample at a time, as floats. own: where the first point of each number's window lies, from the start of the window's
 * first row on. */

static size_t numbers_in_row(const nn_layer *layer) {
    return (size_t)layer->to.width * layer->to.channels;
}

/* Where point `place` of a window lies from its first point on, in numbers. */
static size_t offset_of(const nn_layer *layer, size_t place) {
    size_t kernel = nn_slide_across(&layer->spec).kernel;
    return (place / kernel * layer->from.width + place % kernel) * layer->from.channels;
}

VECTOR_VERSIONS
static void take_larger_at(size_t n, const float *restrict x, const int32_t *restrict starts, int32_t place,
                           float *restrict best, int32_t *restrict largest) {
    for (size_t j = 0; j < n; j++) {
        float v = x[starts[j]];
        bool larger = v > best[j];
        best[j] = larger ? v : best[j];
        largest[j] = larger ? place : largest[j];
    }
}

/* `n` <= CHUNK numbers of a row of the output. */
static void max_of_row(const nn_layer *layer, const float *x, const int32_t *starts, size_t n, void *y,
                       uint8_t *places) {
    float best[CHUNK];
    int32_t largest[CHUNK];
    for (size_t j = 0; j < n; j++) {
        best[j] = layer->relu ? 0.0f : -__builtin_inff();
        largest[j] = layer->relu ? NO_POINT : 0;
    }
    for (size_t place = 0; place < nn_window_points(&layer->spec); place++) {
        take_larger_at(n, x + offset_of(layer, place), starts, (int32_t)place, best, largest);
    }
    for (size_t j = 0; j < n; j++) {
        bf16_put(y, j, layer->y_half, best[j]);
        places[j] = (uint8_t)largest[j];
    }
}

/* Scratch after the places: for bf16 a sample as floats for each part of a batch. */
static float *floats_of(const nn_layer *layer, const nn_rows *r) {
    size_t places = (layer->max_rows * layer->out + sizeof(float) - 1) / sizeof(float);
    return layer->scratch + places + (r->first > 0 ? layer->in : 0);
}

static void max_forward_few(const nn_layer *layer, const nn_rows *r) {
    size_t n = numbers_in_row(layer), step = (size_t)layer->spec.stride * layer->from.width * layer->from.channels;
    const int32_t *starts = layer->own;
    for (size_t sample = 0; sample < r->count; sample++) {
        const float *x = bf16_at(r->x, sample * layer->in, layer->x_half);
        if (layer->x_half) {
            float *floats = floats_of(layer, r);
            bf16_to_floats(layer->in, (const void *)x, floats);
            x = floats;
        }
        for (size_t row = 0; row < layer->to.height; row++) {
            for (size_t j = 0; j < n; j += CHUNK) {
                size_t at = sample * layer->out + row * n + j;
                max_of_row(layer, x + row * step, starts + j, nn_least(CHUNK, n - j),
                           bf16_place(r->y, at, layer->y_half), largest_of(layer, r) + at);
            }
        }
    }
}

/* One sample's gradient, as floats. dy, places: the sample's. */
static void scatter(const nn_layer *layer, const void *dy, const uint8_t *places, float *dx) {
    size_t n = numbers_in_row(layer), step = (size_t)layer->spec.stride * layer->from.width * layer->from.channels;
    const int32_t *starts = layer->own;
    size_t offsets[NO_POINT];
    for (size_t place = 0; place < nn_window_points(&layer->spec); place++) {
        offsets[place] = offset_of(layer, place);
    }
    memset(dx, 0, layer->in * sizeof *dx);
    for (size_t row = 0; row < layer->to.height; row++) {
        for (size_t j = 0; j < n; j++) {
            uint8_t place = places[row * n + j];
            if (place != NO_POINT) {
                dx[row * step + (size_t)starts[j] + offsets[place]] += bf16_get(dy, row * n + j, layer->y_half);
            }
        }
    }
}

static void max_backward_few(const nn_layer *layer, const nn_rows *r) {
    for (size_t sample = 0; sample < r->count; sample++) {
        const void *dy = bf16_at(r->dy, sample * layer->out, layer->y_half);
        const uint8_t *places = largest_of(layer, r) + sample * layer->out;
        void *dx = bf16_place(r->dx, sample * layer->in, layer->x_half);
        if (layer->x_half) {
            scatter(layer, dy, places, floats_of(layer, r));
            bf16_from_floats(layer->in, floats_of(layer, r), dx);
        } else {
            scatter(layer, dy, places, dx);
        }
    }
}

BF16_VERSIONS(max_forward, (const nn_layer *layer, const nn_rows *r), layer, r)

BF16_VERSIONS(max_backward, (const nn_layer *layer, const nn_rows *r), layer, r)

static void max_pool_forward(nn_layer *layer, const nn_rows *r) {
    if (layer->own) {
        max_forward_few(layer, r);
    } else {
        (layer->x_half ? max_forward_bf16 : max_forward_f32)(layer, r);
    }
}

static void max_pool_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx && layer->own) {
        max_backward_few(layer, r);
    } else if (r->dx) {
        (layer->x_half ? max_backward_bf16 : max_backward_f32)(layer, r);
    }
}

static void max_pool_free(nn_layer *layer) {
    free(layer->own);
}

static err make_starts(nn_layer *layer) {
    uint32_t channels = layer->to.channels, numbers = layer->to.width * channels;
    int32_t *starts = malloc(numbers * sizeof *starts);
    if (!starts) {
        return err_fail(ERR_MEMORY, "no memory for a pool");
    }
    for (uint32_t j = 0; j < numbers; j++) {
        starts[j] = (int32_t)(j / channels * nn_slide_across(&layer->spec).stride * channels + j % channels);
    }
    layer->own = starts;
    return ERR_OK;
}

err nn_max_pool_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = max_pool_forward, .backward = max_pool_backward, .free = max_pool_free};
    const nn_layer_spec *s = &layer->spec;
    if (nn_window_points(s) >= NO_POINT) {
        return err_fail(ERR_INPUT, "%s: pools over %ux%u, at most 254 points are possible", s->name, s->kernel,
                        nn_slide_across(s).kernel);
    }
    layer->ops = &ops;
    layer->work = WORK_A_POINT * (double)layer->out * (double)nn_window_points(s);
    layer->scratch_floats = (layer->max_rows * layer->out + sizeof(float) - 1) / sizeof(float);
    if (layer->to.channels > FEW || s->padding > 0 || nn_slide_across(s).padding > 0) {
        return ERR_OK;
    }
    layer->scratch_floats += layer->x_half ? NN_PARTS_MAX * layer->in : 0;
    return make_starts(layer);
}
