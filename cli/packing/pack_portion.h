/* Samples become a portion folder: their values, and the scaling that the training samples call for. */
#ifndef FEWBIT_CLI_PACKING_PACK_PORTION_H
#define FEWBIT_CLI_PACKING_PACK_PORTION_H

#include "cli/packing/pack_parts.h"
#include "cli/packing/pack_table.h"
#include "data/portion.h"

/* A piece of each picture: portion `index` of a partition. */
typedef struct pack_piece {
    bool is_whole;
    partition_kind kind;
    uint32_t index;
} pack_piece;

/* "quadrants:2" or "planes:0". */
err pack_portion_parse_piece(const char *text, pack_piece *piece);

/* Mean and standard deviation a channel of `count` portions, those of bytes over 255; the deviation of a channel that
 * is constant is 1. mean, std: [portion_shape_channels], to be filled. */
err pack_portion_measure(const portion_shape *shape, const void *values, size_t count, float *mean, float *std);

/* Writes the folder. `t` is NULL where the samples have their values. Fills `info` but for dataset and
 * name; *c: a table's columns, which the caller ends with columns_free, also after a failure. */
err pack_portion_write(const char *folder, const pack_samples *s, const pack_table *t, const pack_piece *piece,
                       const pack_order *o, portion_info *info, columns **c);

#endif
