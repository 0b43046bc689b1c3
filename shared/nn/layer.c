#include "nn/layer.h"

#include "base/log.h"
#include "nn/bf16.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

enum { WORDS = 4, PLACE_SHIFT = 16, PART_WORK = 1 << 21 };

void nn_layer_note(nn_layer *layer, err failed) {
    if (failed && !atomic_exchange(layer->has_failed, true)) {
        log_error("%s: %s", layer->spec.name, err_text());
    }
}

void nn_draw_words(const nn_layer *layer, uint64_t block, uint32_t words[WORDS]) {
    const nn_draws *d = layer->draws;
    uint32_t above = (uint32_t)(block >> 32) | (uint32_t)layer->place << PLACE_SHIFT;
    const uint32_t counter[4] = {(uint32_t)block, above, d->stream, d->step};
    const uint32_t key[2] = {(uint32_t)d->seed, (uint32_t)(d->seed >> 32)};
    rng_philox(counter, key, words);
}

size_t nn_parts(const nn_layer *layer, size_t rows) {
    return rows >= NN_PARTS_MAX && layer->work * (double)rows >= PART_WORK ? NN_PARTS_MAX : 1;
}

nn_rows nn_rows_part(const nn_layer *layer, const nn_rows *all, size_t parts, size_t part) {
    size_t first = nn_part(all->count, parts, part), in = first * layer->in, out = first * layer->out;
    bool x_half = layer->x_half, y_half = layer->y_half;
    return (nn_rows){.first = all->first + first,
                     .count = nn_part(all->count, parts, part + 1) - first,
                     .mode = all->mode,
                     .x = all->x ? bf16_at(all->x, in, x_half) : NULL,
                     .y = all->y ? bf16_place(all->y, out, y_half) : NULL,
                     .other = all->other ? bf16_at(all->other, in, x_half) : NULL,
                     .dy = all->dy ? bf16_place(all->dy, out, y_half) : NULL,
                     .dx = all->dx ? bf16_place(all->dx, in, x_half) : NULL};
}

nn_tensor *nn_layer_add_tensor(nn_layer *layer, const char *name, const char *field, bool is_parameter, uint32_t rank,
                               const uint32_t *shape) {
    nn_tensor *t = &layer->tensors[layer->tensor_count++];
    snprintf(t->name, sizeof t->name, "%s.%s", name, field);
    t->rank = rank;
    t->count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        t->shape[i] = shape[i];
        t->count *= shape[i];
    }
    t->is_parameter = is_parameter && !layer->spec.fixed;
    return t;
}

nn_tensor *nn_layer_add_vector(nn_layer *layer, const char *name, const char *field, bool is_parameter, size_t count) {
    const uint32_t shape[] = {(uint32_t)count};
    return nn_layer_add_tensor(layer, name, field, is_parameter, 1, shape);
}

void nn_run_parts(nn_layer *layer, const nn_rows *r, thread_pool_task task) {
    nn_call call = {.layer = layer, .rows = r, .parts = nn_parts(layer, r->count)};
    thread_pool_run(layer->pool, task, &call, call.parts);
}

void nn_fill_uniform(nn_tensor *t, size_t fan_in, rng *draws) {
    float bound = 1.0f / sqrtf((float)fan_in);
    for (size_t i = 0; i < t->count; i++) {
        t->value[i] = (2.0f * rng_float(draws) - 1.0f) * bound;
    }
}

static void fill_normal(nn_tensor *t, size_t fan_out, rng *draws) {
    float std = sqrtf(2.0f / (float)fan_out);
    for (size_t i = 0; i < t->count; i++) {
        t->value[i] = std * rng_normal(draws);
    }
}

void nn_init_filters(nn_layer *layer, rng *draws) {
    size_t window = nn_window_points(&layer->spec);
    for (size_t t = 0; t < layer->tensor_count; t++) {
        if (t == 0 && layer->spec.init_fan_out) {
            fill_normal(&layer->tensors[t], layer->spec.outputs * window, draws);
        } else {
            nn_fill_uniform(&layer->tensors[t], layer->from.channels / nn_groups(&layer->spec) * window, draws);
        }
    }
}

BF16_INLINE void relu_gradient(size_t n, const void *restrict y, const void *dy, void *dx, bool half) {
#pragma GCC ivdep
    for (size_t i = 0; i < n; i++) {
        bf16_put(dx, i, half, bf16_get(y, i, half) > 0.0f ? bf16_get(dy, i, half) : 0.0f);
    }
}

BF16_VERSIONS(relu_gradient, (size_t n, const void *restrict y, const void *dy, void *dx), n, y, dy, dx)

void nn_relu_gradient(size_t n, const void *y, const void *dy, void *dx, bool half) {
    (half ? relu_gradient_bf16 : relu_gradient_f32)(n, y, dy, dx);
}

void nn_add(float *restrict to, const float *restrict from, size_t n) {
    for (size_t i = 0; i < n; i++) {
        to[i] += from[i];
    }
}

float *nn_bias_part(const nn_layer *layer, size_t part) {
    return layer->scratch + part * layer->to.channels;
}

void nn_finish_bias(nn_layer *layer, size_t parts, const nn_optimiser *o) {
    if (layer->spec.no_bias) {
        return;
    }
    nn_tensor *bias = &layer->tensors[1]; /* after the weight */
    memcpy(bias->gradient, nn_bias_part(layer, 0), bias->count * sizeof(float));
    if (parts == 2) {
        nn_add(bias->gradient, nn_bias_part(layer, 1), bias->count);
    }
    if (o) {
        nn_optimiser_apply(o, bias, 0, bias->count);
    }
}

void nn_begin_convolution(nn_layer *layer) {
    const nn_layer_spec *s = &layer->spec;
    uint32_t outputs = layer->to.channels, channels = layer->from.channels / nn_groups(s);
    const uint32_t image[] = {outputs, channels, s->kernel, nn_slide_across(s).kernel},
                   line[] = {outputs, channels, image[3]};
    layer->memory = NN_UPDATE_READS_X | NN_UPDATE_READS_DY | (layer->relu ? NN_BACKWARD_READS_Y : 0);
    layer->work = (double)layer->out * channels * (double)nn_window_points(s);
    layer->update_tasks = layer->trains ? NN_PARTS_MAX : 0;
    layer->scratch_floats = NN_PARTS_MAX * (size_t)outputs;
    nn_layer_add_tensor(layer, s->name, "weight", true, s->is_line ? 3 : 4, s->is_line ? line : image);
    if (!layer->spec.no_bias) {
        nn_layer_add_vector(layer, layer->spec.name, "bias", true, outputs);
    }
}
