/* The windows of a pool along one side of an image. */
#ifndef FEWBIT_NN_LAYERS_WINDOWS_H
#define FEWBIT_NN_LAYERS_WINDOWS_H

#include "nn/layer.h"

/* Points [from, to) along one side. */
typedef struct windows_span {
    size_t from, to;
} windows_span;

/* The points of window `i`; `side` points in all. */
static inline windows_span windows_points(nn_slide w, size_t i, size_t side) {
    size_t start = i * w.stride, padding = w.padding;
    return (windows_span){start > padding ? start - padding : 0, nn_least(start + w.kernel - padding, side)};
}

/* The windows over `point`; `count` windows in all. */
static inline windows_span windows_over(nn_slide w, size_t point, size_t count) {
    size_t at = point + w.padding, kernel = w.kernel, stride = w.stride;
    size_t first = at + 1 > kernel ? (at + 1 - kernel + stride - 1) / stride : 0;
    return (windows_span){first, nn_least(at / stride + 1, count)};
}

#endif
