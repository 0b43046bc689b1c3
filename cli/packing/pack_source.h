/* What is to be packed: files of some kind, told by their names, and their reader. */
#ifndef FEWBIT_CLI_PACKING_PACK_SOURCE_H
#define FEWBIT_CLI_PACKING_PACK_SOURCE_H

#include "cli/packing/pack_series.h"
#include "cli/packing/pack_table.h"

/* What the readers want to know. */
typedef struct pack_source_options {
    pack_table_options table;
    const char *array;          /* of a .npz; NULL: its only one */
    pack_dimensions dimensions; /* of series, and channels of sounds */
    uint32_t length;            /* of series and sounds; 0: as the first */
    uint32_t height, width;     /* of pictures; 0: not said */
    uint32_t channels;          /* of pictures and sounds; 0: not said */
} pack_source_options;

/* Adds the samples of both files with their values, or `is_labels` with their classes alone, and checks them. *t, NULL
 * before: of a table the values are not added, but taken from it with pack_table_take; the caller's to free, also after
 * a failure. ERR_USAGE: an option that is for files of another kind. */
err pack_source_read(pack_samples *s, const pack_source_options *o, bool is_labels, pack_table **t);

#endif
