/* Looks: what an encoder in use sees of its portion, one after the other. Beside the portion as it is, that may be its
 * mirror image, and both moved a little along the two diagonal ways; what would come in over an edge is that edge,
 * repeated. Its decision is the mean of what it says of each, by weight: half of it is that of what was not moved
 * (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024). */
#ifndef FEWBIT_DATA_TTA_H
#define FEWBIT_DATA_TTA_H

#include "data/partition.h"

#include <stdbool.h>

enum { TTA_VIEWS_MAX = 6 };

typedef struct tta_view {
    bool flip;
    int32_t shift; /* pixels, to the right as well as down */
    float weight;  /* all together: 1 */
} tta_view;

/* Lists the looks, the portion as it is first; returns how many. */
uint32_t tta_views(bool flip, uint32_t shift, tta_view list[TTA_VIEWS_MAX]);

/* One look at each of `count` portions that lie in their sample as `box` says, from and to [count, channels, height,
 * width]. */
void tta_apply(const tta_view *l, const partition_box *box, const float *from, size_t count, float *to);

#endif
