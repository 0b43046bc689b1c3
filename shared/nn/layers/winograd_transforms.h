/* The transforms of the Winograd convolution F(2x2, 3x3); winograd.c says what they are for.
 *
 * All take a whole number of WINOGRAD_LANES channels. Strides are in floats; `row` and `column` may be negative,
 * `place` is from one of the WINOGRAD_PLACES to the next. */
#ifndef FEWBIT_NN_LAYERS_WINOGRAD_TRANSFORMS_H
#define FEWBIT_NN_LAYERS_WINOGRAD_TRANSFORMS_H

#include <stdbool.h>
#include <stddef.h>

enum {
    WINOGRAD_PLACES = 16,
    WINOGRAD_TILE = 2,
    WINOGRAD_PATCH = 4,
    WINOGRAD_FILTER = 3,
    WINOGRAD_TAPS = WINOGRAD_FILTER * WINOGRAD_FILTER,
    WINOGRAD_LANES = 16
};

/* V = B^T d B of a patch. */
void winograd_patch(const float *d, ptrdiff_t row, ptrdiff_t column, size_t channels, float *v, size_t place);

/* y = A^T m A, plus the bias (NULL for none), with the ReLU or without. */
void winograd_tile(const float *m, size_t place, size_t channels, const float *bias, bool relu, float *y, ptrdiff_t row,
                   ptrdiff_t column);

/* dM = A dy A^T of a tile. */
void winograd_tile_gradient(const float *dy, ptrdiff_t row, ptrdiff_t column, size_t channels, float *m, size_t place);

/* U = G g G^T for outputs [from, to). w: [outputs, inputs, 3, 3]; u: [WINOGRAD_PLACES, inputs, outputs]. */
void winograd_filters(const float *w, size_t inputs, size_t outputs, size_t from, size_t to, float *u);

/* dg = G^T (dU + other) G for WINOGRAD_LANES outputs from `first` on; other may be NULL. dw: theirs, [WINOGRAD_LANES,
 * inputs, 3, 3]. */
void winograd_filter_gradient(const float *du, const float *other, size_t inputs, size_t outputs, size_t first,
                              float *dw);

#endif
