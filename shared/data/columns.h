/* The columns of a table: how a row of cells becomes features.
 *
 * A number is one feature. A category is one for each of its categories: 1 for the one that the cell names, 0 for the
 * others. A cell that is empty is missing: refused, or, where the column takes that, its training mean (a number) or
 * all zeros (a category).
 *
 * In JSON, in the order of the features:
 *   [{"name": "age", "kind": "number"}, {"name": "height", "kind": "number", "missing": 171.5},
 *    {"name": "blood", "kind": "category", "categories": ["A", "B"], "missing": "zeros"}] */
#ifndef FEWBIT_DATA_COLUMNS_H
#define FEWBIT_DATA_COLUMNS_H

#include "base/err.h"

#include <jansson.h>

enum { COLUMNS_MAX = 1 << 14, COLUMNS_CATEGORIES_MAX = 256, COLUMNS_NAME_MAX = 127 };

typedef enum column_kind { COLUMN_NUMBER, COLUMN_CATEGORY } column_kind;

typedef struct column {
    const char *name; /* 1 to COLUMNS_NAME_MAX bytes of UTF-8 without controls */
    column_kind kind;
    const char *const *categories; /* sorted by their bytes, each of them another; named as columns are */
    uint32_t category_count;       /* COLUMN_CATEGORY: 1 to COLUMNS_CATEGORIES_MAX */
    bool takes_missing;
    float mean;     /* what a missing number becomes */
    uint32_t first; /* its first feature; set by columns_new */
} column;

typedef struct columns columns;

/* Copies the list. ERR_INPUT: a name twice, or something out of its range. The caller ends it with columns_free. */
err columns_new(columns **c, const column *list, size_t count);
void columns_free(columns *c);

/* Whether a text may name a column or a category. */
bool columns_name_is_valid(const char *text);

/* Sorts the names, and gives one that is not empty and there twice, or NULL. */
const char *columns_find_twice(const char **names, uint32_t count);

/* From and to JSON; ERR_INPUT says which column is wrong. NULL: no memory. */
err columns_from_json(columns **c, const json_t *json);
json_t *columns_to_json(const columns *c);

uint32_t columns_count(const columns *c);
const column *columns_get(const columns *c, uint32_t index);
uint32_t columns_features(const columns *c);

/* A finite decimal number that fits f32; ERR_INPUT says why not. */
err columns_parse_number(const char *text, float *number);

/* One row, a cell a column, to f32 [columns_features]. ERR_INPUT: "column 'age': ..."; allocates nothing. */
err columns_parse_row(const columns *c, const char *const *cells, float *features);

/* The same from text, as CSV: one row with a cell a column; or a header and one row, where the header names the
 * columns in any order, and others beside them. */
err columns_parse_csv(const columns *c, const char *text, size_t length, float *features);

#endif
