/* Time series to be packed: the .ts files of the UEA and UCR archive.
 *
 * Lines that begin with # say nothing; those that begin with @ describe what comes after @data: a line a sample, its
 * dimensions separated by colons, their values by commas, and where the file has classes the class behind the last
 * colon. A portion is [dimensions, length]. */
#ifndef FEWBIT_CLI_PACKING_PACK_SERIES_H
#define FEWBIT_CLI_PACKING_PACK_SERIES_H

#include "cli/packing/pack_samples.h"

enum { PACK_SERIES_DIMENSIONS_MAX = 1024 };

/* Which dimensions, from 0, in ascending order; `count` 0: all. */
typedef struct pack_dimensions {
    uint32_t list[PACK_SERIES_DIMENSIONS_MAX], count;
} pack_dimensions;

/* "0-2" or "0,2,4-5". */
err pack_series_parse_dimensions(const char *text, pack_dimensions *d);

/* Adds the samples of pack_samples_path, with their classes. `length` > 0: series are cut there, or filled with zeros;
 * else all are as long as the first. `labels`: no values. */
err pack_series_read(pack_samples *s, const pack_dimensions *d, uint32_t length, bool labels);

#endif
