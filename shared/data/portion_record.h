/* portion.json, the record of a portion folder (data/portion.h). */
#ifndef FEWBIT_DATA_PORTION_RECORD_H
#define FEWBIT_DATA_PORTION_RECORD_H

#include "data/columns.h"
#include "data/portion_info.h"
#include "data/portion_scaling.h"

/* What it says that has no fixed size. */
typedef struct portion_record {
    portion_scaling scaling; /* channels 0: none */
    columns *columns;        /* NULL: none */
    char *columns_text;      /* the same as compact JSON; NULL: none */
} portion_record;

/* Reads that of a folder, untrusted: what fits to nothing, itself included, is refused by file and field. All of the
 * info but ids_digest is filled. On failure there is nothing to free. */
err portion_record_read(const char *folder, portion_info *info, portion_record *r);

/* Of what a folder is to be written with; ERR_INPUT where that is no portion. To be freed in either case. */
err portion_record_make(portion_record *r, const portion_info *info, const portion_scaling *scaling,
                        const columns *columns);
err portion_record_write(const char *folder, const portion_info *info, const portion_record *r);
void portion_record_free(portion_record *r);

#endif
