#include "cli/packing/pack_table.h"

#include "base/file.h"
#include "base/interrupt.h"
#include "base/utf8.h"
#include "data/csv_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

struct pack_table {
    pack_table_options options;
    csv_table *files[2];
    const char **names; /* [count], of the first file or of --columns */
    char *texts[2];     /* of --columns and --categories, cut up */
    uint32_t count;
    uint32_t *cells[2];   /* [count]: where the columns are in each file */
    const char **row;     /* [count] */
    bool *are_categories; /* [count] */
};

bool pack_table_is(const char *path) {
    const char *end = strrchr(path, '.');
    return end && (strcasecmp(end, ".csv") == 0 || strcasecmp(end, ".tsv") == 0);
}

/* Columns by name. */

/* The search begins at *at: names are looked for in the order that they mostly have. */
static bool has_column(const csv_table *t, const char *name, uint32_t *at) {
    uint32_t count = csv_table_columns(t);
    for (uint32_t i = 0, k = *at; i < count; i++, k++) {
        k = k < count ? k : 0;
        if (strcmp(csv_table_cell(t, 0, k), name) == 0) {
            *at = k;
            return true;
        }
    }
    return false;
}

/* Says what columns there are: a name that is spelt in another way is seen, and a wrong delimiter too. */
static err refuse_name(const csv_table *t, const char *path, const char *name, const char *remedy) {
    char list[160] = "";
    uint32_t count = csv_table_columns(t);
    size_t length = 0;
    for (uint32_t i = 0; i < count && length < sizeof list; i++) {
        length +=
            (size_t)snprintf(list + length, sizeof list - length, "%s%s", i > 0 ? ", " : "", csv_table_cell(t, 0, i));
    }
    utf8_make_plain(list);
    return err_fail(ERR_INPUT, "%s: has no column '%s'%s; it has %s%s%s", path, name, remedy, list,
                    length < sizeof list ? "" : "...",
                    count > 1 ? "" : " alone (--delimiter says what stands between cells)");
}

static err find_column(const csv_table *t, const char *path, const char *name, uint32_t *at) {
    return has_column(t, name, at) ? ERR_OK : refuse_name(t, path, name, "");
}

/* The next name of a list with commas, which is cut there; NULL: there is none. */
static char *next_name(char **list) {
    char *name = *list, *comma = name ? strchr(name, ',') : NULL;
    *list = comma ? comma + 1 : NULL;
    if (comma) {
        *comma = '\0';
    }
    return name;
}

static uint32_t names_in(const char *list) {
    uint32_t count = 1;
    for (; (list = strchr(list, ',')); list++) {
        count++;
    }
    return count;
}

static bool is_other(const pack_table_options *o, const char *name) {
    return strcmp(name, o->id_column) == 0 || strcmp(name, o->label_column) == 0;
}

static void name_all(pack_table *t) {
    for (uint32_t i = 0; i < csv_table_columns(t->files[0]); i++) {
        const char *name = csv_table_cell(t->files[0], 0, i);
        if (!is_other(&t->options, name)) {
            t->names[t->count++] = name;
        }
    }
}

static err mark_categories(pack_table *t, const char *path) {
    for (char *name, *next = t->texts[1]; (name = next_name(&next));) {
        uint32_t k = 0;
        while (k < t->count && strcmp(t->names[k], name) != 0) {
            k++;
        }
        if (k == t->count) {
            return err_fail(ERR_INPUT, "%s: --categories: '%s' is none of the columns that are packed", path, name);
        }
        t->are_categories[k] = true;
    }
    return ERR_OK;
}

static err name_columns(pack_table *t, const char *path) {
    const char *lists[] = {t->options.columns, t->options.categories};
    uint32_t most = lists[0] ? names_in(lists[0]) : csv_table_columns(t->files[0]);
    t->names = calloc(most, sizeof *t->names);
    t->row = calloc(most, sizeof *t->row);
    t->are_categories = calloc(most, sizeof *t->are_categories);
    bool is_made = t->names && t->row && t->are_categories;
    for (uint32_t i = 0; i < 2; i++) {
        t->texts[i] = lists[i] ? strdup(lists[i]) : NULL;
        is_made = is_made && (t->texts[i] || !lists[i]);
    }
    if (!is_made) {
        return err_fail(ERR_MEMORY, "%s: no memory for its columns", path);
    }
    for (char *name, *next = t->texts[0]; (name = next_name(&next));) {
        if (is_other(&t->options, name)) {
            return err_fail(ERR_USAGE,
                            "--columns: '%s' is the column of ids or labels, no feature (--id-column, "
                            "--label-column)",
                            name);
        }
        t->names[t->count++] = name;
    }
    if (!t->options.columns) {
        name_all(t);
    }
    return t->count > 0 ? mark_categories(t, path)
                        : err_fail(ERR_INPUT, "%s: has no columns but those of ids and labels", path);
}

static err find_columns(pack_table *t, const char *path, bool is_test) {
    uint32_t at = 0, *cells = calloc(t->count, sizeof *cells);
    err e = cells ? ERR_OK : err_fail(ERR_MEMORY, "%s: no memory for its columns", path);
    for (uint32_t i = 0; i < t->count && !e; i++) {
        e = find_column(t->files[is_test], path, t->names[i], &at);
        cells[i] = at++;
    }
    t->cells[is_test] = cells;
    return e;
}

/* Reading. */

static err add_rows(pack_table *t, pack_samples *s, bool is_labels) {
    const csv_table *file = t->files[s->is_of_test_file];
    const char *path = pack_samples_path(s);
    const char *id_column = t->options.has_no_ids ? NULL : t->options.id_column;
    uint32_t id = 0, label = 0;
    if (id_column && !has_column(file, id_column, &id)) {
        return refuse_name(file, path, id_column, " (--id-column names that of the ids, --ids has others)");
    }
    err e = is_labels ? find_column(file, path, t->options.label_column, &label) : ERR_OK;
    for (uint32_t i = 1; i < csv_table_rows(file) && !e; i++) {
        e = pack_samples_add(s, id_column ? csv_table_cell(file, i, id) : NULL,
                             is_labels ? csv_table_cell(file, i, label) : NULL, csv_table_line(file, i));
    }
    return e;
}

/* Which of two columns is meant, nobody could tell. Those without a name are none that could be meant. */
static err check_header(const csv_table *file, const char *path) {
    uint32_t count = csv_table_columns(file);
    const char **names = calloc(count, sizeof *names);
    if (!names) {
        return err_fail(ERR_MEMORY, "%s: no memory for its columns", path);
    }
    for (uint32_t i = 0; i < count; i++) {
        names[i] = csv_table_cell(file, 0, i);
    }
    const char *twice = columns_find_twice(names, count);
    free(names);
    return twice ? err_fail(ERR_INPUT, "%s: line 1: column '%s' is there twice", path, twice) : ERR_OK;
}

static err read_file(pack_table *t, pack_samples *s) {
    const char *path = pack_samples_path(s), *end = strrchr(path, '.');
    bool has_tabs = end && strcasecmp(end, ".tsv") == 0;
    char delimiter = t->options.delimiter ? t->options.delimiter : has_tabs ? '\t' : ',';
    uint8_t *bytes;
    size_t length;
    err e = file_read(path, CSV_TABLE_BYTES_MAX, &bytes, &length);
    if (e) {
        return e;
    }
    csv_table **file = &t->files[s->is_of_test_file];
    e = csv_table_read(file, path, (const char *)bytes, length, delimiter, UINT32_MAX);
    free(bytes);
    return e ? e : check_header(*file, path);
}

err pack_table_read(pack_table **out, pack_samples *s, const pack_table_options *o, bool is_labels) {
    pack_table *t = s->is_of_test_file ? *out : calloc(1, sizeof *t);
    if (!t) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", pack_samples_path(s));
    }
    t->options = *o;
    *out = t;
    err e = read_file(t, s);
    if (!is_labels) {
        e = e || s->is_of_test_file ? e : name_columns(t, pack_samples_path(s));
        e = e ? e : find_columns(t, pack_samples_path(s), s->is_of_test_file);
    }
    return e ? e : add_rows(t, s, is_labels);
}

void pack_table_free(pack_table *t) {
    if (!t) {
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        csv_table_free(t->files[i]);
        free(t->cells[i]);
        free(t->texts[i]);
    }
    free(t->names);
    free(t->row);
    free(t->are_categories);
    free(t);
}

static const char *cell_of(const pack_table *t, const pack_samples *s, uint32_t index, uint32_t k) {
    bool is_test = pack_samples_get(s, index)->is_of_test_file;
    return csv_table_cell(t->files[is_test], 1 + index - (is_test ? s->first_count : 0), t->cells[is_test][k]);
}

/* Learning what a column is. */

typedef struct learner {
    const char *list[COLUMNS_CATEGORIES_MAX + 1]; /* the different cells, sorted; more than fit are not kept */
    uint32_t different;
    uint32_t numbers, others;         /* cells that are not empty */
    uint32_t commas;                  /* of the others: numbers but for a comma in place of the point */
    uint32_t first_other;             /* the sample of the first that is no number */
    uint32_t no_names, first_no_name; /* cells that cannot name a category, and the sample of the first */
    double sum;
} learner;

/* False: it is in the list already. */
static bool remember(learner *l, const char *cell) {
    uint32_t at;
    if (pack_samples_find_name(l->list, l->different, cell, &at)) {
        return false;
    }
    memmove(l->list + at + 1, l->list + at, (l->different - at) * sizeof *l->list);
    l->list[at] = cell;
    l->different++;
    return true;
}

/* Whether it is a number as half of the world writes it, "0,5". */
static bool has_comma(const char *cell) {
    char text[32];
    float unused;
    char *comma = (size_t)snprintf(text, sizeof text, "%s", cell) < sizeof text ? strchr(text, ',') : NULL;
    if (comma) {
        *comma = '.';
    }
    return comma && !columns_parse_number(text, &unused);
}

static void look_at(learner *l, const char *cell, uint32_t sample) {
    float number;
    if (cell[0] == '\0') {
        return;
    }
    if (!columns_parse_number(cell, &number)) {
        l->numbers++;
        l->sum += (double)number;
    } else {
        l->first_other = l->others == 0 ? sample : l->first_other;
        l->others++;
        l->commas += has_comma(cell);
    }
    bool is_new = l->different <= COLUMNS_CATEGORIES_MAX && remember(l, cell);
    if (is_new && !columns_name_is_valid(cell) && l->no_names++ == 0) {
        l->first_no_name = sample;
    }
}

static err refuse(const pack_samples *s, const char *name, const char *what) {
    return err_fail(ERR_INPUT, "%s: column '%s': %s", s->paths[0], name, what);
}

static err refuse_mixed(const pack_table *t, const pack_samples *s, uint32_t k, uint32_t sample) {
    float unused;
    columns_parse_number(cell_of(t, s, sample, k), &unused);
    char reason[128];
    snprintf(reason, sizeof reason, "%s", err_text());
    err_fail(ERR_INPUT, "column '%s': %s; other cells are numbers (an empty cell is a missing one)", t->names[k],
             reason);
    return pack_samples_prefix(s, sample);
}

static err refuse_category(const pack_table *t, const pack_samples *s, uint32_t k, uint32_t sample) {
    err_fail(ERR_INPUT, "column '%s': '%.40s' is no category: 1 to %d bytes of UTF-8 without control characters",
             t->names[k], cell_of(t, s, sample, k), COLUMNS_NAME_MAX);
    return pack_samples_prefix(s, sample);
}

static err conclude(const pack_table *t, const pack_samples *s, uint32_t k, const learner *l, column *to) {
    bool is_category = t->are_categories[k] || l->numbers == 0;
    *to = (column){.name = t->names[k], .takes_missing = t->options.fills_missing};
    if (l->numbers + l->others == 0) {
        return refuse(s, to->name, "is empty in all training samples");
    }
    if (!t->are_categories[k] && l->commas > 0 && l->commas == l->others) {
        err_fail(ERR_INPUT, "column '%s': '%s' is no number: decimals take a point", t->names[k],
                 cell_of(t, s, l->first_other, k));
        return pack_samples_prefix(s, l->first_other);
    }
    if (!is_category && l->others > 0) {
        return refuse_mixed(t, s, k, l->first_other);
    }
    if (!is_category) {
        to->kind = COLUMN_NUMBER;
        to->mean = (float)(l->sum / l->numbers);
        return ERR_OK;
    }
    if (l->different > COLUMNS_CATEGORIES_MAX) {
        return err_fail(ERR_INPUT,
                        "%s: column '%s': has too many categories, more than %d, such as '%.40s'; --columns can leave "
                        "it out",
                        s->paths[0], to->name, COLUMNS_CATEGORIES_MAX, l->list[0]);
    }
    if (l->no_names > 0) {
        return refuse_category(t, s, k, l->first_no_name);
    }
    to->kind = COLUMN_CATEGORY;
    to->categories = l->list;
    to->category_count = l->different;
    return ERR_OK;
}

err pack_table_learn(const pack_table *t, const pack_samples *s, columns **c) {
    column *list = calloc(t->count, sizeof *list);
    learner *learners = calloc(t->count, sizeof *learners);
    err e = list && learners ? ERR_OK : err_fail(ERR_MEMORY, "%s: no memory for its columns", s->paths[0]);
    for (uint32_t i = 0; i < s->count && !e; i++) {
        e = interrupt_check();
        for (uint32_t k = 0; k < t->count && pack_samples_get(s, i)->part == PACK_TRAIN; k++) {
            look_at(&learners[k], cell_of(t, s, i, k), i);
        }
    }
    for (uint32_t k = 0; k < t->count && !e; k++) {
        e = conclude(t, s, k, &learners[k], &list[k]);
    }
    if (!e && columns_new(c, list, t->count)) {
        e = err_prefix(ERR_INPUT, "%s", s->paths[0]);
    }
    free(list);
    free(learners);
    return e;
}

err pack_table_take(const pack_table *t, const pack_samples *s, const columns *c, uint32_t index, float *features) {
    for (uint32_t k = 0; k < t->count; k++) {
        t->row[k] = cell_of(t, s, index, k);
    }
    return columns_parse_row(c, t->row, features) ? pack_samples_prefix(s, index) : ERR_OK;
}
