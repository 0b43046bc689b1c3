/* Test-time augmentation: an encoder in use sees several views of its portion and puts out the weighted mean of its
 * logits.
 *
 * The views are the portion as it is, its mirror image (flip), and both shifted along the two diagonals; the edge is
 * repeated where pixels are missing. Half of the weight is on what was not shifted. Jordan, "94% on CIFAR-10 in 3.29
 * Seconds on a Single GPU", 2024. */
#ifndef FEWBIT_DATA_TTA_H
#define FEWBIT_DATA_TTA_H

#include "data/partition.h"

enum { TTA_VIEWS_MAX = 6 };

typedef struct tta_view {
    bool flip;
    int32_t shift; /* pixels, to the right as well as down */
    float weight;  /* all together: 1 */
} tta_view;

/* Lists the views, the portion as it is first; returns how many. */
uint32_t tta_views(bool flip, uint32_t shift, tta_view list[TTA_VIEWS_MAX]);

/* One view of each of `count` portions that lie in their sample as `box` says, from and to [count, channels, height,
 * width]. */
void tta_apply(const tta_view *l, const partition_box *box, const float *from, size_t count, float *to);

#endif
