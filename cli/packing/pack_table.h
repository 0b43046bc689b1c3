/* Tables to be packed: CSV files whose first row names the columns. A row is a sample, and a portion f32 [features]
 * (data/columns.h).
 *
 * A column is of numbers where all its training cells are, of categories where none is or where it is named as such;
 * one that has both is refused. */
#ifndef FEWBIT_CLI_PACKING_PACK_TABLE_H
#define FEWBIT_CLI_PACKING_PACK_TABLE_H

#include "cli/packing/pack_samples.h"
#include "data/columns.h"

typedef struct pack_table_options {
    const char *id_column;
    const char *label_column; /* neither is a feature */
    bool has_no_ids;          /* the samples take them from --ids, or are counted */
    const char *columns;      /* names with commas between them; NULL: all but those two */
    const char *categories;   /* names with commas between them; NULL: none */
    char delimiter;           /* '\0': a tab in a .tsv, else a comma */
    bool fills_missing;       /* else an empty cell is refused */
} pack_table_options;

typedef struct pack_table pack_table;

/* Whether a path's name is a table's. */
bool pack_table_is(const char *path);

/* Reads the table at pack_samples_path, and adds its rows. `is_labels`: with their classes. For the file of the test
 * samples *t is that of the first. The caller ends it with pack_table_free. */
err pack_table_read(pack_table **t, pack_samples *s, const pack_table_options *o, bool is_labels);
void pack_table_free(pack_table *t);

/* The columns, from the cells of the samples for training. */
err pack_table_learn(const pack_table *t, const pack_samples *s, columns **c);

/* Sample `index` to f32 [columns_features]. ERR_INPUT names file, line and column. */
err pack_table_take(const pack_table *t, const pack_samples *s, const columns *c, uint32_t index, float *features);

#endif
