/* Partitions: how a sample is divided into portions, one a node. */
#ifndef FEWBIT_DATA_PARTITION_H
#define FEWBIT_DATA_PARTITION_H

#include "data/portion_shape.h"

/* PARTITION_SLICES: the flattened sample (channel, row, column) cut into `portions` even slices.
 * PARTITION_QUADRANTS: 4 portions: upper left, upper right, lower left, lower right, every channel of each.
 * PARTITION_PLANES: one portion a channel.
 * PARTITION_NONE: samples are not cut; each portion is its owner's own data. */
typedef enum partition_kind { PARTITION_SLICES, PARTITION_QUADRANTS, PARTITION_PLANES, PARTITION_NONE } partition_kind;

typedef struct partition {
    partition_kind kind;
    uint32_t portions;
    uint32_t channels, height, width; /* of the whole sample */
} partition;

enum { PARTITION_PORTIONS_MAX = 64, PARTITION_ELEMENTS_MAX = 1 << 20 };

/* ERR_INPUT with the reason where the shape cannot be partitioned that way (slices must divide the elements,
 * quadrants need even sides and 4 portions, planes as many portions as channels, every size > 0, caps). */
err partition_check(const partition *s);

size_t partition_portion_elements(const partition *s);

/* The shape of a portion, the same for all. Slices that are whole rows of one plane, such as the halves of a digit, are
 * pictures, other slices rows of features. */
portion_shape partition_shape_of_portions(const partition *s);

size_t partition_sample_elements(const partition *s);

/* Copies portion `index` of `sample` [channels, height, width] to `portion` [partition_portion_elements]. */
void partition_take(const partition *s, uint32_t index, const uint8_t *sample, uint8_t *portion);

/* Where a portion lies in the sample: some whole channels of it, or one, and there a rectangle. ERR_INPUT for slices
 * that do not end with a row. The portion's elements are the box's, channel by channel, row by row. */
typedef struct partition_box {
    uint32_t channels, top, left, height, width;
} partition_box;

err partition_find_box(const partition *s, uint32_t index, partition_box *box);

/* "slices", "quadrants", "planes", "none"; only the first three are parsed. */
const char *partition_name(partition_kind kind);
err partition_parse(const char *name, partition_kind *kind);

#endif
