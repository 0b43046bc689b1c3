/* Convolution in bf16 of images that leave few points. oneDNN's goes image by image and reads all weights for each;
 * here the patches under all points of a batch become the rows of one matrix:
 *
 *     y [rows points, outputs] = P W^T + b        P [rows points, kernel kernel channels], W as wide
 *     dP = dy W                                   dW = dy^T P
 *
 * A patch has its points in the order of rows and columns, channels last, and W likewise. */
#include "nn/layers/layers.h"

#include "nn/bf16.h"
#include "nn/layers/windows.h"
#include "nn/onednn/bf16_linear.h"

enum { WEIGHT, BIAS };
enum { POINTS_MAX = 16, WEIGHTS_MIN = 65536, CHUNK = 64 };

static size_t points_of(const nn_layer *layer) {
    return (size_t)layer->to.height * layer->to.width;
}

static size_t taps_of(const nn_layer *layer) {
    return (size_t)layer->spec.kernel * layer->spec.kernel;
}

/* Numbers of a patch. */
static size_t patch_of(const nn_layer *layer) {
    return taps_of(layer) * layer->from.channels;
}

bool im2col_pays(const nn_layer *layer) {
    return layer->x_half && nn_is_plain(&layer->spec) && points_of(layer) <= POINTS_MAX &&
           layer->to.channels * patch_of(layer) >= WEIGHTS_MIN && layer->from.channels % CHUNK == 0;
}

/* Scratch: a row of floats for each update task, then P of the step, then dP as floats. */
static float *row_of(const nn_layer *layer, size_t task) {
    return layer->scratch + task * patch_of(layer);
}

static uint16_t *patches_of(const nn_layer *layer) {
    return (uint16_t *)row_of(layer, BF16_LINEAR_TASKS);
}

static size_t patch_numbers(const nn_layer *layer) {
    return layer->max_rows * points_of(layer) * patch_of(layer);
}

static float *gradients_of(const nn_layer *layer) {
    return row_of(layer, BF16_LINEAR_TASKS) + (patch_numbers(layer) + 1) / 2;
}

/* Point (row, column) of the input under tap `tap` of output point `point`; false where that is outside. */
static bool point_under(const nn_layer *layer, size_t point, size_t tap, size_t *row, size_t *column) {
    const nn_layer_spec *s = &layer->spec;
    size_t a = point / layer->to.width * s->stride + tap / s->kernel;
    size_t b = point % layer->to.width * s->stride + tap % s->kernel;
    *row = a - s->padding;
    *column = b - s->padding;
    return a >= s->padding && *row < layer->from.height && b >= s->padding && *column < layer->from.width;
}

static void gather_task(void *context, size_t part) {
    const nn_call *call = context;
    const nn_layer *layer = call->layer;
    nn_rows r = nn_rows_part(layer, call->rows, call->parts, part);
    size_t channels = layer->from.channels, points = points_of(layer);
    uint16_t *to = patches_of(layer) + r.first * points * patch_of(layer);
    for (size_t i = 0; i < r.count * points; i++) {
        const uint16_t *x = (const uint16_t *)r.x + i / points * layer->in;
        for (size_t tap = 0; tap < taps_of(layer); tap++, to += channels) {
            size_t row, column;
            if (point_under(layer, i % points, tap, &row, &column)) {
                memcpy(to, x + (row * layer->from.width + column) * channels, channels * sizeof *to);
            } else {
                memset(to, 0, channels * sizeof *to);
            }
        }
    }
}

static void patches_forward(nn_layer *layer, const nn_rows *r) {
    const float *bias = layer->spec.no_bias ? NULL : layer->tensors[BIAS].value;
    nn_run_parts(layer, r, gather_task);
    bf16_linear_forward(layer->own, r->count * points_of(layer), patches_of(layer), bias, r->y);
}

/* The gradient of CHUNK channels of a point: of all patches that it is part of. from: the sample's patches. */
VECTOR_VERSIONS
static void sum_point(const nn_layer *layer, size_t row, size_t column, const float *restrict from,
                      uint16_t *restrict to) {
    size_t kernel = layer->spec.kernel, stride = layer->spec.stride, padding = layer->spec.padding;
    windows_span rows = windows_over(nn_slide_down(&layer->spec), row, layer->to.height),
                 columns = windows_over(nn_slide_down(&layer->spec), column, layer->to.width);
    float sum[CHUNK] = {0};
    for (size_t i = rows.from; i < rows.to; i++) {
        for (size_t j = columns.from; j < columns.to; j++) {
            size_t tap = (row + padding - i * stride) * kernel + column + padding - j * stride;
            const float *patch = from + ((i * layer->to.width + j) * taps_of(layer) + tap) * layer->from.channels;
            for (size_t c = 0; c < CHUNK; c++) {
                sum[c] += patch[c];
            }
        }
    }
    for (size_t c = 0; c < CHUNK; c++) {
        to[c] = bf16_from_float(sum[c]);
    }
}

static void scatter_task(void *context, size_t part) {
    const nn_call *call = context;
    const nn_layer *layer = call->layer;
    nn_rows r = nn_rows_part(layer, call->rows, call->parts, part);
    nn_shape from = layer->from;
    for (size_t sample = 0; sample < r.count; sample++) {
        const float *patches = gradients_of(layer) + (r.first + sample) * points_of(layer) * patch_of(layer);
        uint16_t *dx = (uint16_t *)r.dx + sample * layer->in;
        for (size_t i = 0; i < layer->in; i += CHUNK) {
            size_t point = i / from.channels, c = i % from.channels;
            sum_point(layer, point / from.width, point % from.width, patches + c, dx + i);
        }
    }
}

static void patches_backward(nn_layer *layer, const nn_rows *r) {
    nn_call call = {.layer = layer, .rows = r, .parts = nn_parts(layer, r->count)};
    if (layer->relu) {
        nn_relu_gradient(r->count * layer->out, r->y, r->dy, r->dy, true);
    }
    if (r->dx) {
        bf16_linear_backward(layer->own, r->count * points_of(layer), r->dy, gradients_of(layer));
        thread_pool_run(layer->pool, scatter_task, &call, call.parts);
    }
}

/* to[c taps + t] = from[t channels + c] */
static void turn(size_t channels, size_t taps, const float *from, float *to) {
    for (size_t c = 0; c < channels; c++) {
        for (size_t t = 0; t < taps; t++) {
            to[c * taps + t] = from[t * channels + c];
        }
    }
}

static void update_bias(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t first, size_t last) {
    nn_tensor *bias = &layer->tensors[BIAS];
    memset(bias->gradient + first, 0, (last - first) * sizeof(float));
    for (size_t p = 0; p < r->count * points_of(layer); p++) {
        for (size_t i = first; i < last; i++) {
            bias->gradient[i] += bf16_get(r->dy, p * layer->to.channels + i, true);
        }
    }
    if (o) {
        nn_optimiser_apply(o, bias, first, last - first);
    }
}

static void patches_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    bf16_linear *m = layer->own;
    nn_tensor *weight = &layer->tensors[WEIGHT];
    size_t first = bf16_linear_first_output(m, task), last = bf16_linear_first_output(m, task + 1);
    bf16_linear_gradient(m, task, first, last - first, r->count * points_of(layer), r->dy, patches_of(layer),
                         weight->gradient + first * m->inputs);
    for (size_t i = first; i < last; i++) {
        float *row = weight->gradient + i * m->inputs;
        memcpy(row_of(layer, task), row, m->inputs * sizeof *row);
        turn(layer->from.channels, taps_of(layer), row_of(layer, task), row);
    }
    if (o) {
        nn_optimiser_apply(o, weight, first * m->inputs, (last - first) * m->inputs);
    }
    if (!layer->spec.no_bias) {
        update_bias(layer, r, o, first, last);
    }
}

static void prepare_task(void *context, size_t task) {
    const nn_layer *layer = context;
    const bf16_linear *m = layer->own;
    size_t taps = taps_of(layer), channels = layer->from.channels;
    for (size_t i = bf16_linear_first_output(m, task); i < bf16_linear_first_output(m, task + 1); i++) {
        const float *from = layer->tensors[WEIGHT].value + i * m->inputs;
        uint16_t *to = m->weights + i * m->inputs;
        for (size_t t = 0; t < taps; t++) {
            for (size_t c = 0; c < channels; c++) {
                to[t * channels + c] = bf16_from_float(from[c * taps + t]);
            }
        }
    }
}

static void patches_prepare(nn_layer *layer) {
    thread_pool_run(layer->pool, prepare_task, layer, BF16_LINEAR_TASKS);
}

err im2col_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .init = nn_init_filters,
        .prepare = patches_prepare,
        .forward = patches_forward,
        .backward = patches_backward,
        .update = patches_update,
        .free = bf16_linear_free,
    };
    layer->ops = &ops;
    layer->memory &= ~(unsigned)NN_UPDATE_READS_X;
    layer->update_tasks = layer->trains ? BF16_LINEAR_TASKS : 0;
    layer->scratch_floats = BF16_LINEAR_TASKS * patch_of(layer) + (patch_numbers(layer) + 1) / 2 +
                            (layer->wants_dx ? patch_numbers(layer) : 0);
    return bf16_linear_new((bf16_linear){.layer = layer,
                                         .inputs = patch_of(layer),
                                         .outputs = layer->to.channels,
                                         .tile = layer->to.channels,
                                         .y_half = true,
                                         .relu = layer->relu,
                                         .bias = !layer->spec.no_bias});
}
