/* Scaling: what is subtracted from a portion's values and what they are divided by, a channel. */
#ifndef FEWBIT_DATA_PORTION_SCALING_H
#define FEWBIT_DATA_PORTION_SCALING_H

#include "data/portion_shape.h"

typedef struct portion_scaling {
    uint32_t channels; /* portion_shape_channels; 1: one for all values; 0: nothing is scaled */
    float *mean, *std; /* [channels] */
} portion_scaling;

/* ERR_INPUT names the first channel whose mean is not finite, or whose deviation is not above 0. */
err portion_scaling_check(const portion_scaling *s);

/* What a net sees of `count` portions [count, shape], as they are stored and however they are aligned: bytes are
 * divided by 255 first, then (x - mean) / std a channel. */
void portion_scaling_apply(const portion_scaling *s, const portion_shape *shape, const void *portions, size_t count,
                           float *out);

/* Whether all values are such as a portion may have; else ERR_INPUT says which element is not finite. */
err portion_check_values(const portion_shape *shape, const void *portion);

#endif
