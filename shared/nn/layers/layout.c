/* Into and out of images: a row's numbers in the order channel, row, column (NCHW, as torch's flatten and reshape)
 * against channels last (NHWC). */
#include "nn/bf16.h"
#include "nn/layers/layers.h"

/* [rows, columns] of `to` from [columns, rows] of `from`, for each of `count` samples. */
static void transpose(size_t count, size_t rows, size_t columns, const void *from, bool from_half, void *to,
                      bool to_half) {
    size_t size = rows * columns;
    for (size_t sample = 0; sample < count; sample++) {
        const void *a = bf16_at(from, sample * size, from_half);
        void *b = bf16_place(to, sample * size, to_half);
        for (size_t i = 0; i < rows; i++) {
            for (size_t k = 0; k < columns; k++) {
                bf16_put(b, i * columns + k, to_half, bf16_get(a, k * rows + i, from_half));
            }
        }
    }
}

static size_t points_of(nn_shape shape) {
    return (size_t)shape.height * shape.width;
}

static void image_forward(nn_layer *layer, const nn_rows *r) {
    transpose(r->count, points_of(layer->to), layer->to.channels, r->x, layer->x_half, r->y, layer->y_half);
}

static void image_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx) {
        transpose(r->count, layer->to.channels, points_of(layer->to), r->dy, layer->y_half, r->dx, layer->x_half);
    }
}

err nn_image_make(nn_layer *layer) {
    static const nn_layer_ops ops = {.keeps_rows_apart = true, .forward = image_forward, .backward = image_backward};
    layer->ops = &ops;
    return ERR_OK;
}

static void flatten_forward(nn_layer *layer, const nn_rows *r) {
    transpose(r->count, layer->from.channels, points_of(layer->from), r->x, layer->x_half, r->y, layer->y_half);
}

static void flatten_backward(nn_layer *layer, const nn_rows *r) {
    if (r->dx) {
        transpose(r->count, points_of(layer->from), layer->from.channels, r->dy, layer->y_half, r->dx, layer->x_half);
    }
}

err nn_flatten_make(nn_layer *layer) {
    static const nn_layer_ops ops = {
        .keeps_rows_apart = true, .forward = flatten_forward, .backward = flatten_backward};
    layer->ops = &ops;
    return ERR_OK;
}
