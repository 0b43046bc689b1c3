#include "data/csv_table.h"

#include "base/dynbuf.h"
#include "base/interrupt.h"
#include "base/utf8.h"

#include <csv.h>
#include <stdlib.h>

enum { LINES_A_CHECK = 1 << 16 }; /* of a stop */

struct csv_table {
    char *cells; /* one after another, each with a zero */
    size_t length;
    dynbuf starts; /* uint32_t [rows * columns]: where each cell begins */
    dynbuf lines;  /* uint32_t [rows] */
    uint32_t rows, columns;
};

/* While it is read. */
typedef struct reading {
    csv_table *table;
    const char *name;
    uint32_t line, rows_max;
    uint32_t cells; /* of the row so far */
    err e;          /* the first that was found */
} reading;

static void add_number(dynbuf *to, uint32_t number) {
    dynbuf_add(to, &number, sizeof number);
}

static void refuse(reading *r, const char *what) {
    r->e = r->e ? r->e : err_fail(ERR_INPUT, "%s: line %u: %s", r->name, r->line, what);
}

static void on_cell(void *bytes, size_t length, void *context) {
    reading *r = context;
    csv_table *t = r->table;
    if (r->e) {
        return;
    }
    if (memchr(bytes, '\0', length)) {
        refuse(r, "has a zero byte: this is no text");
        return;
    }
    if (++r->cells > CSV_TABLE_COLUMNS_MAX) {
        refuse(r, "has too many cells");
        return;
    }
    add_number(&t->starts, (uint32_t)t->length);
    memcpy(t->cells + t->length, bytes, length);
    t->length += length;
    t->cells[t->length++] = '\0';
}

static void on_row(int end, void *context) {
    (void)end;
    reading *r = context;
    csv_table *t = r->table;
    if (r->e) {
        return;
    }
    if (t->rows == r->rows_max) {
        refuse(r, "is one too many");
        return;
    }
    t->columns = t->rows == 0 ? r->cells : t->columns;
    if (r->cells != t->columns) {
        r->e =
            err_fail(ERR_INPUT, "%s: line %u: has %u cells, the first row %u", r->name, r->line, r->cells, t->columns);
        return;
    }
    add_number(&t->lines, r->line);
    t->rows++;
    r->cells = 0;
}

/* Where the line at `text` ends, behind its LF, CRLF or CR. *newline, NULL before: the next LF or the end, so that it
 * is looked for once. */
static const char *end_of_line(const char *text, const char *end, const char **newline) {
    if (!*newline || *newline < text) {
        *newline = memchr(text, '\n', (size_t)(end - text));
        *newline = *newline ? *newline : end;
    }
    const char *back = memchr(text, '\r', (size_t)(*newline - text));
    bool is_alone = back && back + 1 != *newline;
    return is_alone ? back + 1 : *newline < end ? *newline + 1 : end;
}

/* A line at a time, so that the callbacks know which. */
static void parse(reading *r, struct csv_parser *parser, const char *text, size_t length) {
    const char *end = text + length, *newline = NULL;
    while (text < end && !r->e) {
        const char *next = end_of_line(text, end, &newline);
        size_t piece = (size_t)(next - text);
        r->e = r->line++ % LINES_A_CHECK == 0 ? interrupt_check() : ERR_OK;
        if (!r->e && csv_parse(parser, text, piece, on_cell, on_row, r) != piece) {
            refuse(r, "a quote is out of place");
        }
        text = next;
    }
    if (!r->e && csv_fini(parser, on_cell, on_row, r) != 0) {
        refuse(r, "a quoted cell has no end");
    }
}

static err read_all(reading *r, const char *text, size_t length, char delimiter) {
    struct csv_parser parser;
    csv_table *t = r->table;
    t->starts = dynbuf_make(SIZE_MAX);
    t->lines = dynbuf_make(SIZE_MAX);
    t->cells = malloc(length + 2); /* each cell's zero stands for the delimiter behind it, which the last may lack */
    if (!t->cells || csv_init(&parser, CSV_STRICT | CSV_STRICT_FINI) != 0) {
        return err_fail(ERR_MEMORY, "%s: no memory for its cells", r->name);
    }
    csv_set_delim(&parser, (unsigned char)delimiter);
    parse(r, &parser, text, length);
    bool has_no_memory = csv_error(&parser) == CSV_ENOMEM || t->starts.has_failed || t->lines.has_failed;
    csv_free(&parser);
    if (has_no_memory) {
        return err_fail(ERR_MEMORY, "%s: no memory for its cells", r->name);
    }
    return r->e || t->rows > 0 ? r->e : err_fail(ERR_INPUT, "%s: is empty", r->name);
}

err csv_table_read(csv_table **out, const char *name, const char *text, size_t length, char delimiter,
                   uint32_t rows_max) {
    if (length > CSV_TABLE_BYTES_MAX) {
        return err_fail(ERR_INPUT, "%s: has 4 GiB or more", name);
    }
    size_t mark = utf8_mark(text, length);
    csv_table *t = calloc(1, sizeof *t);
    if (!t) {
        return err_fail(ERR_MEMORY, "%s: no memory to read it", name);
    }
    reading r = {.table = t, .name = name, .rows_max = rows_max < CSV_TABLE_ROWS_MAX ? rows_max : CSV_TABLE_ROWS_MAX};
    err e = read_all(&r, text + mark, length - mark, delimiter);
    if (e) {
        csv_table_free(t);
        return e;
    }
    *out = t;
    return ERR_OK;
}

void csv_table_free(csv_table *t) {
    if (!t) {
        return;
    }
    free(t->cells);
    dynbuf_free(&t->starts);
    dynbuf_free(&t->lines);
    free(t);
}

uint32_t csv_table_rows(const csv_table *t) {
    return t->rows;
}

uint32_t csv_table_columns(const csv_table *t) {
    return t->columns;
}

static uint32_t number_at(const dynbuf *of, size_t index) {
    uint32_t number;
    memcpy(&number, of->bytes + index * sizeof number, sizeof number);
    return number;
}

const char *csv_table_cell(const csv_table *t, uint32_t row, uint32_t column) {
    return t->cells + number_at(&t->starts, (size_t)row * t->columns + column);
}

uint32_t csv_table_line(const csv_table *t, uint32_t row) {
    return number_at(&t->lines, row);
}
