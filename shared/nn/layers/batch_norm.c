/* Batch normalisation, and the ReLU after it where there is one: Ioffe and Szegedy, 2015; PyTorch's BatchNorm1d and
 * BatchNorm2d (epsilon 1e-5, momentum 0.1, running variance from the unbiased estimate).
 *
 *     h = (x - mean) * scale, scale = 1 / sqrt(variance + epsilon)      y = weight * h + bias
 *     dx = weight * scale * (dy - mean(dy) - h * mean(dy h))            dweight = sum(dy h), dbias = sum(dy)
 *
 * Channels lie last, so a batch of images is a batch of points with a feature a channel. A large batch is measured in
 * two parts whose sums are added in their order. A layer that is not trained keeps to its running statistics. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

#include <math.h>

static const float momentum = 0.1f;

/* Scratch, a number a channel each. The sums of a part are doubles: of x - origin and its square, or of dy and dy h. */
typedef struct norm {
    size_t channels;
    float *mean, *scale; /* of the last forward pass */
    float *slope, *bias; /* y = (x - mean) * slope + bias */
    float *origin;       /* near the mean: subtracted before squaring, so that no digits are lost */
    float *mean_dy, *mean_dyh;
    double *sums[NN_PARTS_MAX][2];
} norm;

enum { VECTORS = 7 };

static size_t channels_of(const nn_layer *layer) {
    return layer->is_image ? layer->from.channels : layer->in;
}

static norm norm_of(const nn_layer *layer) {
    size_t n = channels_of(layer);
    float *at = layer->scratch;
    norm b = {.channels = n};
    float **vectors[VECTORS] = {&b.mean, &b.scale, &b.slope, &b.bias, &b.origin, &b.mean_dy, &b.mean_dyh};
    for (size_t part = 0; part < NN_PARTS_MAX; part++) {
        for (size_t k = 0; k < 2; k++) {
            b.sums[part][k] = (double *)(void *)at; /* first, for their alignment */
            at += 2 * n;
        }
    }
    for (size_t v = 0; v < VECTORS; v++) {
        *vectors[v] = at;
        at += n;
    }
    return b;
}

/* The layer's tensors; weight and bias are NULL without affine. */
typedef struct norm_tensors {
    nn_tensor *weight, *bias, *mean, *variance;
} norm_tensors;

static norm_tensors tensors_of(nn_layer *layer) {
    nn_tensor *t = layer->tensors;
    return layer->spec.no_affine ? (norm_tensors){NULL, NULL, t, t + 1} : (norm_tensors){t, t + 1, t + 2, t + 3};
}

static void batch_norm_init(nn_layer *layer, rng *draws) {
    (void)draws;
    norm_tensors t = tensors_of(layer);
    for (size_t c = 0; c < channels_of(layer); c++) {
        if (t.weight) {
            t.weight->value[c] = 1.0f;
            t.bias->value[c] = 0.0f;
        }
        t.mean->value[c] = 0.0f;
        t.variance->value[c] = 1.0f;
    }
}

/* Points are what is normalised together: [points, channels]. Sums are floats over GROUP of them and CHUNK channels at
 * a time, and doubles over all. */
enum { GROUP = 32, CHUNK = 64 };

typedef struct sums {
    float first[CHUNK], second[CHUNK];
} sums;

BF16_INLINE void add_sums(const sums *s, size_t n, double *restrict first, double *restrict second) {
    for (size_t c = 0; c < n; c++) {
        first[c] += (double)s->first[c];
        second[c] += (double)s->second[c];
    }
}

static void clear_sums(const norm *b, size_t part) {
    memset(b->sums[part][0], 0, b->channels * sizeof(double));
    memset(b->sums[part][1], 0, b->channels * sizeof(double));
}

/* Points [from, to), `n` channels from `at` on. */
BF16_INLINE void measure_chunk(size_t from, size_t to, const norm *b, size_t at, size_t n, const void *x, size_t part,
                               bool half) {
    sums s = {0};
    for (size_t p = from; p < to; p++) {
        for (size_t c = 0; c < n; c++) {
            float d = bf16_get(x, p * b->channels + at + c, half) - b->origin[at + c];
            s.first[c] += d;
            s.second[c] += d * d;
        }
    }
    add_sums(&s, n, b->sums[part][0] + at, b->sums[part][1] + at);
}

BF16_INLINE void measure(size_t points, const norm *b, const void *x, size_t part, bool half) {
    clear_sums(b, part);
    for (size_t p = 0; p < points; p += GROUP) {
        for (size_t at = 0; at < b->channels; at += CHUNK) {
            measure_chunk(p, nn_least(p + GROUP, points), b, at, nn_least(CHUNK, b->channels - at), x, part, half);
        }
    }
}

BF16_VERSIONS(measure, (size_t points, const norm *b, const void *x, size_t part), points, b, x, part)

BF16_INLINE void normalise(size_t points, const norm *b, const void *restrict x, void *restrict y, bool relu,
                           bool half) {
    const size_t channels = b->channels;
    const float *restrict mean = b->mean, *restrict slope = b->slope, *restrict bias = b->bias;
    for (size_t p = 0; p < points; p++) {
        for (size_t c = 0; c < channels; c++) {
            float v = (bf16_get(x, p * channels + c, half) - mean[c]) * slope[c] + bias[c];
            bf16_put(y, p * channels + c, half, bf16_keep(!relu || v > 0.0f, v));
        }
    }
}

BF16_RELU_VERSIONS(normalise, (size_t points, const norm *b, const void *restrict x, void *restrict y, bool relu),
                   points, b, x, y)

/* The gradient after the ReLU; what it let through follows from x. */
BF16_INLINE float gradient_at(const void *dy, size_t i, float centred, float slope, float bias, bool relu, bool half) {
    return bf16_keep(!relu || centred * slope + bias > 0.0f, bf16_get(dy, i, half));
}

BF16_INLINE void sum_chunk(size_t from, size_t to, const norm *b, size_t at, size_t n, const void *x, const void *dy,
                           size_t part, bool relu, bool half) {
    const float *restrict mean = b->mean + at, *restrict scale = b->scale + at, *restrict slope = b->slope + at,
                          *restrict bias = b->bias + at;
    sums s = {0};
    for (size_t p = from; p < to; p++) {
        for (size_t c = 0; c < n; c++) {
            size_t i = p * b->channels + at + c;
            float centred = bf16_get(x, i, half) - mean[c];
            float g = gradient_at(dy, i, centred, slope[c], bias[c], relu, half);
            s.first[c] += g;
            s.second[c] += g * (centred * scale[c]);
        }
    }
    add_sums(&s, n, b->sums[part][0] + at, b->sums[part][1] + at);
}

BF16_INLINE void sum_gradients(size_t points, const norm *b, const void *x, const void *dy, size_t part, bool relu,
                               bool half) {
    clear_sums(b, part);
    for (size_t p = 0; p < points; p += GROUP) {
        for (size_t at = 0; at < b->channels; at += CHUNK) {
            sum_chunk(p, nn_least(p + GROUP, points), b, at, nn_least(CHUNK, b->channels - at), x, dy, part, relu,
                      half);
        }
    }
}

BF16_RELU_VERSIONS(sum_gradients, (size_t points, const norm *b, const void *x, const void *dy, size_t part, bool relu),
                   points, b, x, dy, part)

/* dx may be x. */
BF16_INLINE void input_gradient(size_t points, const norm *b, const void *x, const void *restrict dy, void *dx,
                                bool relu, bool half) {
    const size_t channels = b->channels;
    const float *restrict mean = b->mean, *restrict scale = b->scale, *restrict slope = b->slope,
                          *restrict bias = b->bias, *restrict mean_dy = b->mean_dy, *restrict mean_dyh = b->mean_dyh;
    for (size_t p = 0; p < points; p++) {
#pragma GCC ivdep
        for (size_t c = 0; c < channels; c++) {
            size_t i = p * channels + c;
            float centred = bf16_get(x, i, half) - mean[c];
            float g = gradient_at(dy, i, centred, slope[c], bias[c], relu, half);
            bf16_put(dx, i, half, slope[c] * (g - mean_dy[c] - centred * scale[c] * mean_dyh[c]));
        }
    }
}

BF16_RELU_VERSIONS(input_gradient,
                   (size_t points, const norm *b, const void *x, const void *restrict dy, void *dx, bool relu), points,
                   b, x, dy, dx)

/* One pass over a batch, in parts. */

typedef struct norm_call {
    nn_layer *layer;
    const nn_rows *rows;
    norm norm;
    size_t parts;
} norm_call;

static norm_call call_of(nn_layer *layer, const nn_rows *r) {
    return (norm_call){layer, r, norm_of(layer), nn_parts(layer, r->count)};
}

static size_t points_of(const norm_call *c, const nn_rows *part) {
    return part->count * (c->layer->in / c->norm.channels);
}

static void measure_task(void *context, size_t part) {
    const norm_call *c = context;
    nn_rows r = nn_rows_part(c->layer, c->rows, c->parts, part);
    (c->layer->x_half ? measure_bf16 : measure_f32)(points_of(c, &r), &c->norm, r.x, part);
}

static void normalise_task(void *context, size_t part) {
    const norm_call *c = context;
    nn_rows r = nn_rows_part(c->layer, c->rows, c->parts, part);
    (c->layer->x_half ? normalise_bf16 : normalise_f32)(points_of(c, &r), &c->norm, r.x, r.y, c->layer->relu);
}

static void sum_gradients_task(void *context, size_t part) {
    const norm_call *c = context;
    nn_rows r = nn_rows_part(c->layer, c->rows, c->parts, part);
    (c->layer->x_half ? sum_gradients_bf16 : sum_gradients_f32)(points_of(c, &r), &c->norm, r.x, r.dy, part,
                                                                c->layer->relu);
}

static void input_gradient_task(void *context, size_t part) {
    const norm_call *c = context;
    nn_rows r = nn_rows_part(c->layer, c->rows, c->parts, part);
    (c->layer->x_half ? input_gradient_bf16 : input_gradient_f32)(points_of(c, &r), &c->norm, r.x, r.dy, r.dx,
                                                                  c->layer->relu);
}

static double total(const norm *b, size_t parts, size_t kind, size_t c) {
    double sum = 0;
    for (size_t part = 0; part < parts; part++) {
        sum += b->sums[part][kind][c];
    }
    return sum;
}

static void measure_batch(norm_call *call) {
    norm *b = &call->norm;
    for (size_t c = 0; c < b->channels; c++) {
        b->origin[c] = bf16_get(call->rows->x, c, call->layer->x_half);
    }
    thread_pool_run(call->layer->pool, measure_task, call, call->parts);
    norm_tensors t = tensors_of(call->layer);
    double points = (double)points_of(call, call->rows);
    for (size_t c = 0; c < b->channels; c++) {
        double offset = total(b, call->parts, 0, c) / points;
        double squares = total(b, call->parts, 1, c) - points * offset * offset;
        squares = squares > 0 ? squares : 0;
        double mean = (double)b->origin[c] + offset, variance = squares / points;
        double unbiased = points > 1 ? squares / (points - 1) : variance;
        b->mean[c] = (float)mean;
        b->scale[c] = (float)(1.0 / sqrt(variance + (double)nn_batch_norm_epsilon));
        t.mean->value[c] += momentum * ((float)mean - t.mean->value[c]);
        t.variance->value[c] += momentum * ((float)unbiased - t.variance->value[c]);
    }
}

static void use_running_statistics(norm_call *call) {
    norm_tensors t = tensors_of(call->layer);
    for (size_t c = 0; c < call->norm.channels; c++) {
        call->norm.mean[c] = t.mean->value[c];
        call->norm.scale[c] = 1.0f / sqrtf(t.variance->value[c] + nn_batch_norm_epsilon);
    }
}

static void batch_norm_forward(nn_layer *layer, const nn_rows *r) {
    norm_call call = call_of(layer, r);
    norm_tensors t = tensors_of(layer);
    if (r->mode == NN_TRAIN && !layer->spec.fixed) {
        measure_batch(&call);
    } else {
        use_running_statistics(&call);
    }
    for (size_t c = 0; c < call.norm.channels; c++) {
        call.norm.slope[c] = t.weight ? call.norm.scale[c] * t.weight->value[c] : call.norm.scale[c];
        call.norm.bias[c] = t.bias ? t.bias->value[c] : 0.0f;
    }
    thread_pool_run(layer->pool, normalise_task, &call, call.parts);
}

/* The sums of the backward pass, which are the parameters' gradients too. */
static void sum_batch(norm_call *call) {
    norm *b = &call->norm;
    norm_tensors t = tensors_of(call->layer);
    double points = (double)points_of(call, call->rows);
    thread_pool_run(call->layer->pool, sum_gradients_task, call, call->parts);
    for (size_t c = 0; c < b->channels; c++) {
        double sum = total(b, call->parts, 0, c), product = total(b, call->parts, 1, c);
        if (t.weight) {
            t.weight->gradient[c] = (float)product;
            t.bias->gradient[c] = (float)sum;
        }
        b->mean_dy[c] = (float)(sum / points);
        b->mean_dyh[c] = (float)(product / points);
    }
}

static void batch_norm_backward(nn_layer *layer, const nn_rows *r) {
    norm_call call = call_of(layer, r);
    if (!layer->spec.fixed) { /* else the means stay 0: no gradient passes through a constant scale */
        sum_batch(&call);
    }
    if (r->dx) {
        thread_pool_run(layer->pool, input_gradient_task, &call, call.parts);
    }
}

/* The gradients came with the backward pass. */
static void batch_norm_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    (void)r, (void)task;
    norm_tensors t = tensors_of(layer);
    if (o) {
        nn_optimiser_apply(o, t.weight, 0, t.weight->count);
        nn_optimiser_apply(o, t.bias, 0, t.bias->count);
    }
}

static const nn_layer_ops batch_norm_ops = {
    .init = batch_norm_init,
    .forward = batch_norm_forward,
    .backward = batch_norm_backward,
    .update = batch_norm_update,
};

err nn_batch_norm_make(nn_layer *layer) {
    const char *name = layer->spec.name;
    size_t channels = channels_of(layer);
    layer->ops = &batch_norm_ops;
    layer->memory = NN_BACKWARD_READS_X | NN_WRITES_DX_OVER_X;
    layer->scratch_floats = (VECTORS + 2 * 2 * NN_PARTS_MAX) * channels;
    if (!layer->spec.no_affine) {
        layer->update_tasks = layer->trains ? 1 : 0;
        nn_layer_add_vector(layer, name, "weight", true, channels);
        nn_layer_add_vector(layer, name, "bias", true, channels);
    }
    nn_layer_add_vector(layer, name, "running_mean", false, channels);
    nn_layer_add_vector(layer, name, "running_var", false, channels);
    return ERR_OK;
}
