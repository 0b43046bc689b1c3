/* Looks: what an encoder in use sees of its portion, one after the other. Beside the portion as it is, that may be its
 * mirror image, and both moved a little along the two diagonal ways; what would come in over an edge is that edge,
 * repeated. Its decision is the mean of what it says of each, by weight: half of it is that of what was not moved
 * (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024). */
#ifndef FEWBIT_DATA_LOOKS_H
#define FEWBIT_DATA_LOOKS_H

#include "data/split.h"

#include <stdbool.h>

enum { LOOKS_MAX = 6 };

typedef struct look {
    bool mirrored;
    int32_t shift; /* pixels, to the right as well as down */
    float weight;  /* all together: 1 */
} look;

/* Lists the looks, the portion as it is first; returns how many. */
uint32_t looks_list(bool mirrored, uint32_t shifted, look list[LOOKS_MAX]);

/* One look at each of `count` portions that lie in their sample as `box` says, from and to [count, channels, height,
 * width]. */
void looks_take(const look *l, const split_box *box, const float *from, size_t count, float *to);

#endif
