#include "data/columns.h"

#include "base/json.h"
#include "base/utf8.h"
#include "data/csv_table.h"
#include "data/portion_shape.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct columns {
    column *list;
    uint32_t count, features;
};

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Making them. */

bool columns_name_is_valid(const char *text) {
    size_t length = strlen(text);
    return length > 0 && length <= COLUMNS_NAME_MAX && utf8_is_plain(text);
}

static err check_column(const column *k) {
    if (!columns_name_is_valid(k->name)) {
        return err_fail(ERR_INPUT, "column '%.*s': its name is not 1 to %d bytes of UTF-8 without control characters",
                        COLUMNS_NAME_MAX, k->name, COLUMNS_NAME_MAX);
    }
    if (k->kind == COLUMN_NUMBER) {
        return isfinite(k->mean) ? ERR_OK : err_fail(ERR_INPUT, "column '%s': its mean is not finite", k->name);
    }
    if (k->category_count < 1 || k->category_count > COLUMNS_CATEGORIES_MAX) {
        return err_fail(ERR_INPUT, "column '%s': has %u categories, not 1 to %d", k->name, k->category_count,
                        COLUMNS_CATEGORIES_MAX);
    }
    for (uint32_t i = 0; i < k->category_count; i++) {
        if (!columns_name_is_valid(k->categories[i]) ||
            (i > 0 && strcmp(k->categories[i - 1], k->categories[i]) >= 0)) {
            return err_fail(ERR_INPUT,
                            "column '%s': its category '%.*s' is not 1 to %d bytes of UTF-8, sorted, and there once",
                            k->name, COLUMNS_NAME_MAX, k->categories[i], COLUMNS_NAME_MAX);
        }
    }
    return ERR_OK;
}

static bool copy(const column *from, column *to) {
    *to = *from;
    to->name = strdup(from->name);
    to->categories = NULL;
    to->category_count = 0;
    if (from->kind == COLUMN_NUMBER) {
        return to->name;
    }
    const char **names = calloc(from->category_count, sizeof *names);
    to->categories = names;
    for (uint32_t i = 0; names && i < from->category_count; i++) {
        names[i] = strdup(from->categories[i]);
        if (!names[i]) {
            return false;
        }
        to->category_count++;
    }
    return to->name && names;
}

const char *columns_find_twice(const char **names, uint32_t count) {
    qsort(names, count, sizeof *names, compare);
    for (uint32_t i = 1; i < count; i++) {
        if (names[i][0] != '\0' && strcmp(names[i - 1], names[i]) == 0) {
            return names[i];
        }
    }
    return NULL;
}

static err check_names(const columns *c) {
    const char **names = calloc(c->count, sizeof *names);
    if (!names) {
        return err_fail(ERR_MEMORY, "no memory for columns");
    }
    for (uint32_t i = 0; i < c->count; i++) {
        names[i] = c->list[i].name;
    }
    const char *twice = columns_find_twice(names, c->count);
    free(names);
    return twice ? err_fail(ERR_INPUT, "column '%s' is there twice", twice) : ERR_OK;
}

static err add_all(columns *c, const column *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        err e = check_column(&list[i]);
        if (e) {
            return e;
        }
        c->count++;
        if (!copy(&list[i], &c->list[i])) {
            return err_fail(ERR_MEMORY, "no memory for columns");
        }
        c->list[i].first = c->features;
        c->features += list[i].kind == COLUMN_NUMBER ? 1 : list[i].category_count;
    }
    if (c->features > PORTION_ELEMENTS_MAX) {
        return err_fail(ERR_INPUT, "the columns have %u features, more than %d", c->features, PORTION_ELEMENTS_MAX);
    }
    return check_names(c);
}

err columns_new(columns **out, const column *list, size_t count) {
    if (count < 1 || count > COLUMNS_MAX) {
        return err_fail(ERR_INPUT, "there are %zu columns, not 1 to %d", count, COLUMNS_MAX);
    }
    columns *c = calloc(1, sizeof *c);
    column *room = c ? calloc(count, sizeof *room) : NULL;
    if (!room) {
        free(c);
        return err_fail(ERR_MEMORY, "no memory for columns");
    }
    c->list = room;
    err e = add_all(c, list, count);
    if (e) {
        columns_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void columns_free(columns *c) {
    if (!c) {
        return;
    }
    for (uint32_t i = 0; i < c->count; i++) {
        for (uint32_t k = 0; k < c->list[i].category_count; k++) {
            free((char *)c->list[i].categories[k]);
        }
        free((char **)c->list[i].categories);
        free((char *)c->list[i].name);
    }
    free(c->list);
    free(c);
}

/* JSON. */

static err refuse(size_t index, const char *what) {
    return err_fail(ERR_INPUT, "column %zu %s", index, what);
}

static err read_categories(const json_t *json, size_t index, column *k) {
    const json_t *list = json_object_get(json, "categories");
    size_t count = json_array_size(list);
    if (count < 1 || count > COLUMNS_CATEGORIES_MAX) {
        return refuse(index, "has no list of 'categories', or too many");
    }
    const char **names = calloc(count, sizeof *names);
    if (!names) {
        return err_fail(ERR_MEMORY, "no memory for columns");
    }
    k->categories = names;
    k->category_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        names[i] = json_string_value(json_array_get(list, i));
        if (!names[i]) {
            return refuse(index, "has a category that is no text");
        }
    }
    return ERR_OK;
}

static err read_column(const json_t *json, size_t index, column *k) {
    const char *kind = json_string_value(json_object_get(json, "kind"));
    const json_t *missing = json_object_get(json, "missing");
    k->name = json_string_value(json_object_get(json, "name"));
    if (!k->name || !kind || (strcmp(kind, "number") != 0 && strcmp(kind, "category") != 0)) {
        return refuse(index, "has no 'name', or no 'kind' that is number or category");
    }
    k->kind = strcmp(kind, "number") == 0 ? COLUMN_NUMBER : COLUMN_CATEGORY;
    k->takes_missing = missing != NULL;
    if (json_object_size(json) != 2u + k->kind + k->takes_missing) {
        return refuse(index, "has a key too many");
    }
    if (k->kind == COLUMN_NUMBER) {
        k->mean = (float)json_number_value(missing);
        return !missing || json_is_number(missing) ? ERR_OK : refuse(index, "has a 'missing' that is no number");
    }
    if (missing && (!json_is_string(missing) || strcmp(json_string_value(missing), "zeros") != 0)) {
        return refuse(index, "has a 'missing' that is not \"zeros\"");
    }
    return read_categories(json, index, k);
}

err columns_from_json(columns **c, const json_t *json) {
    size_t count = json_array_size(json);
    if (count < 1 || count > COLUMNS_MAX) {
        return err_fail(ERR_INPUT, "is no list of 1 to %d columns", COLUMNS_MAX);
    }
    column *list = calloc(count, sizeof *list);
    err e = list ? ERR_OK : err_fail(ERR_MEMORY, "no memory for columns");
    for (size_t i = 0; i < count && !e; i++) {
        e = read_column(json_array_get(json, i), i, &list[i]);
    }
    e = e ? e : columns_new(c, list, count);
    for (size_t i = 0; list && i < count; i++) {
        free((char **)list[i].categories);
    }
    free(list);
    return e;
}

static json_t *column_to_json(const column *k) {
    if (k->kind == COLUMN_NUMBER) {
        json_t *number = json_pack("{s:s, s:s}", "name", k->name, "kind", "number");
        if (k->takes_missing) {
            json_put(&number, "missing", json_real((double)k->mean));
        }
        return number;
    }
    json_t *list = json_array();
    for (uint32_t i = 0; i < k->category_count; i++) {
        json_list_add(&list, json_string(k->categories[i]));
    }
    return json_pack("{s:s, s:s, s:o, s:s*}", "name", k->name, "kind", "category", "categories", list, "missing",
                     k->takes_missing ? "zeros" : NULL);
}

json_t *columns_to_json(const columns *c) {
    json_t *all = json_array();
    for (uint32_t i = 0; i < c->count; i++) {
        json_list_add(&all, column_to_json(&c->list[i]));
    }
    return all;
}

/* What they are. */

uint32_t columns_count(const columns *c) {
    return c->count;
}

const column *columns_get(const columns *c, uint32_t index) {
    return &c->list[index];
}

uint32_t columns_features(const columns *c) {
    return c->features;
}

/* Rows. */

err columns_parse_number(const char *text, float *number) {
    char *end;
    errno = 0;
    bool is_decimal = text[0] != '\0' && text[strspn(text, "0123456789+-.eE")] == '\0';
    *number = is_decimal ? strtof(text, &end) : 0;
    if (!is_decimal || *end != '\0') {
        return err_fail(ERR_INPUT, "'%.40s' is no number", text);
    }
    return isfinite(*number) ? ERR_OK : err_fail(ERR_INPUT, "%.40s does not fit 32 bits", text);
}

static err parse_category(const column *k, const char *cell, float *features) {
    memset(features, 0, k->category_count * sizeof *features);
    if (cell[0] == '\0') {
        return ERR_OK;
    }
    const char *const *found = bsearch(&cell, k->categories, k->category_count, sizeof *k->categories, compare);
    if (!found) {
        return err_fail(ERR_INPUT, "'%.40s' is none of its %u categories", cell, k->category_count);
    }
    features[found - k->categories] = 1;
    return ERR_OK;
}

static err parse_cell(const column *k, const char *cell, float *features) {
    if (cell[0] == '\0' && !k->takes_missing) {
        return err_fail(ERR_INPUT, "the cell is empty");
    }
    if (k->kind == COLUMN_CATEGORY) {
        return parse_category(k, cell, features);
    }
    if (cell[0] == '\0') {
        *features = k->mean;
        return ERR_OK;
    }
    return columns_parse_number(cell, features);
}

err columns_parse_row(const columns *c, const char *const *cells, float *features) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (parse_cell(&c->list[i], cells[i], features + c->list[i].first)) {
            return err_prefix(ERR_INPUT, "column '%s'", c->list[i].name);
        }
    }
    return ERR_OK;
}

/* A row's cells in the order of the columns, as its header names them. */

typedef struct named_cell {
    const char *name, *cell;
} named_cell;

static int compare_named(const void *a, const void *b) {
    return strcmp(((const named_cell *)a)->name, ((const named_cell *)b)->name);
}

static err pick_cells(const columns *c, const csv_table *t, named_cell *named, const char **cells) {
    uint32_t last = csv_table_rows(t) - 1, width = csv_table_columns(t);
    if (last == 0 && width != c->count) {
        return err_fail(ERR_INPUT, "the row has %u cells, not %u, and no header", width, c->count);
    }
    for (uint32_t i = 0; i < width; i++) {
        named[i] = (named_cell){last == 0 ? c->list[i].name : csv_table_cell(t, 0, i), csv_table_cell(t, last, i)};
    }
    qsort(named, width, sizeof *named, compare_named);
    for (uint32_t i = 1; i < width; i++) {
        if (named[i].name[0] && compare_named(&named[i - 1], &named[i]) == 0) {
            return err_fail(ERR_INPUT, "the header names column '%s' twice", named[i].name);
        }
    }
    for (uint32_t i = 0; i < c->count; i++) {
        const named_cell wanted = {.name = c->list[i].name};
        const named_cell *found = bsearch(&wanted, named, width, sizeof *named, compare_named);
        if (!found) {
            return err_fail(ERR_INPUT, "the header does not name column '%s'", wanted.name);
        }
        cells[i] = found->cell;
    }
    return ERR_OK;
}

err columns_parse_csv(const columns *c, const char *text, size_t length, float *features) {
    csv_table *t;
    err e = csv_table_read(&t, "the row", text, length, ',', 2);
    if (e) {
        return e;
    }
    named_cell *named = calloc(csv_table_columns(t), sizeof *named);
    const char **cells = calloc(c->count, sizeof *cells);
    e = named && cells ? pick_cells(c, t, named, cells) : err_fail(ERR_MEMORY, "no memory for a row");
    e = e ? e : columns_parse_row(c, cells, features);
    free(named);
    free(cells);
    csv_table_free(t);
    return e;
}
