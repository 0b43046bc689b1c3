/* Bilinear resizing, torch's interpolate with align_corners false: along a side of s points, output point i of n lies
 * at max(0, (i + 0.5) s / n - 0.5) and is mixed of the two input points around it. */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

#include <stdlib.h>

/* Where an output point lies along one side: (1 - share) of point `low` and `share` of point `high`. */
typedef struct lying {
    uint32_t low, high;
    float share;
} lying;

static lying *rows_of(const nn_layer *layer) {
    return layer->own;
}

static lying *columns_of(const nn_layer *layer) {
    return rows_of(layer) + layer->to.height;
}

static void place_points(lying *points, uint32_t count, uint32_t side) {
    float scale = (float)side / (float)count;
    for (uint32_t i = 0; i < count; i++) {
        float at = scale * ((float)i + 0.5f) - 0.5f;
        at = at > 0 ? at : 0;
        uint32_t low = (uint32_t)at < side ? (uint32_t)at : side - 1;
        points[i] = (lying){low, low + 1 < side ? low + 1 : low, at - (float)low};
    }
}

/* The four input points around an output point, as numbers of a sample, and their shares. */
typedef struct corners {
    size_t at[4];
    float share[4];
} corners;

static corners corners_of(const nn_layer *layer, size_t i, size_t k) {
    const lying *row = rows_of(layer) + i, *column = columns_of(layer) + k;
    size_t width = layer->from.width, channels = layer->from.channels;
    return (corners){{(row->low * width + column->low) * channels, (row->low * width + column->high) * channels,
                      (row->high * width + column->low) * channels, (row->high * width + column->high) * channels},
                     {(1.0f - row->share) * (1.0f - column->share), (1.0f - row->share) * column->share,
                      row->share * (1.0f - column->share), row->share * column->share}};
}

static void upsample_forward(nn_layer *layer, const nn_rows *r) {
    nn_shape to = layer->to;
    bool half = layer->x_half;
    for (size_t i = 0; i < to.height; i++) {
        for (size_t k = 0; k < to.width; k++) {
            corners m = corners_of(layer, i, k);
            for (size_t sample = 0; sample < r->count; sample++) {
                const void *x = bf16_at(r->x, sample * layer->in, half);
                size_t at = sample * layer->out + (i * to.width + k) * to.channels;
                for (size_t c = 0; c < to.channels; c++) {
                    float v = m.share[0] * bf16_get(x, m.at[0] + c, half) +
                              m.share[1] * bf16_get(x, m.at[1] + c, half) +
                              m.share[2] * bf16_get(x, m.at[2] + c, half) + m.share[3] * bf16_get(x, m.at[3] + c, half);
                    bf16_put(r->y, at + c, half, v);
                }
            }
        }
    }
}

/* One sample's gradient, as floats. */
static void scatter(const nn_layer *layer, const void *dy, float *dx) {
    nn_shape to = layer->to;
    memset(dx, 0, layer->in * sizeof *dx);
    for (size_t i = 0; i < to.height; i++) {
        for (size_t k = 0; k < to.width; k++) {
            corners m = corners_of(layer, i, k);
            size_t at = (i * to.width + k) * to.channels;
            for (size_t c = 0; c < to.channels; c++) {
                float g = bf16_get(dy, at + c, layer->x_half);
                for (size_t corner = 0; corner < 4; corner++) {
                    dx[m.at[corner] + c] += m.share[corner] * g;
                }
            }
        }
    }
}

/* Scratch: for bf16 images a sample of floats for each part of a batch. */
static float *sums_of(const nn_layer *layer, const nn_rows *r) {
    return layer->scratch + (r->first > 0 ? layer->in : 0);
}

static void upsample_backward(nn_layer *layer, const nn_rows *r) {
    for (size_t sample = 0; r->dx && sample < r->count; sample++) {
        const void *dy = bf16_at(r->dy, sample * layer->out, layer->x_half);
        void *dx = bf16_place(r->dx, sample * layer->in, layer->x_half);
        if (!layer->x_half) {
            scatter(layer, dy, dx);
            continue;
        }
        float *sums = sums_of(layer, r);
        scatter(layer, dy, sums);
        for (size_t i = 0; i < layer->in; i++) {
            bf16_put(dx, i, true, sums[i]);
        }
    }
}

static void upsample_free(nn_layer *layer) {
    free(layer->own);
}

enum { WORK_A_NUMBER = 64 };

err nn_upsample_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = upsample_forward, .backward = upsample_backward, .free = upsample_free};
    layer->ops = &ops;
    layer->work = WORK_A_NUMBER * (double)layer->out;
    layer->scratch_floats = layer->x_half ? NN_PARTS_MAX * layer->in : 0;
    layer->own = malloc(((size_t)layer->to.height + layer->to.width) * sizeof(lying));
    if (!layer->own) {
        return err_fail(ERR_MEMORY, "no memory for resizing");
    }
    place_points(rows_of(layer), layer->to.height, layer->from.height);
    place_points(columns_of(layer), layer->to.width, layer->from.width);
    return ERR_OK;
}
