/* How a sample is parted among the nodes. */
#ifndef FEWBIT_DATA_SPLIT_H
#define FEWBIT_DATA_SPLIT_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* SPLIT_RUNS: the flattened sample (channel, row, column) cut into `portions` even runs.
 * SPLIT_QUADRANTS: 4 portions: upper left, upper right, lower left, lower right, every channel of each.
 * SPLIT_PLANES: one portion a channel. */
typedef enum split_kind { SPLIT_RUNS, SPLIT_QUADRANTS, SPLIT_PLANES } split_kind;

typedef struct split {
    split_kind kind;
    uint32_t portions;
    uint32_t channels, height, width; /* of the whole sample */
} split;

enum { SPLIT_PORTIONS_MAX = 64, SPLIT_ELEMENTS_MAX = 1 << 20 };

/* ERR_INPUT with the reason where the shape cannot be parted that way (runs must divide the elements,
 * quadrants need even sides and 4 portions, planes as many portions as channels, every size > 0, caps). */
err split_check(const split *s);

/* The shape {channels, height, width} of a portion, the same for all; a run is {1, 1, elements}. */
void split_portion_shape(const split *s, uint32_t shape[3]);
size_t split_portion_elements(const split *s);
size_t split_sample_elements(const split *s);

/* Copies portion `index` of `sample` [channels, height, width] to `portion` [split_portion_elements]. */
void split_take(const split *s, uint32_t index, const uint8_t *sample, uint8_t *portion);

/* Where a portion lies in the sample: some whole channels of it, or one, and there a rectangle. ERR_INPUT for runs that
 * do not end with a row. The portion's elements are the box's, channel by channel, row by row. */
typedef struct split_box {
    uint32_t channels, top, left, height, width;
} split_box;

err split_find_box(const split *s, uint32_t index, split_box *box);

/* "runs", "quadrants", "planes". */
const char *split_name(split_kind kind);
err split_parse(const char *name, split_kind *kind);

#endif
