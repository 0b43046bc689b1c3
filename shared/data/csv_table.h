/* A table as text: CSV (RFC 4180), with any delimiter. The text is not trusted.
 *
 * Lines end with LF, CRLF or CR; empty ones are skipped, and so is a byte order mark. A cell may stand in double
 * quotes; blanks around one that does not are no part of it. Every row has as many cells as the first. */
#ifndef FEWBIT_DATA_CSV_TABLE_H
#define FEWBIT_DATA_CSV_TABLE_H

#include "base/err.h"

enum { CSV_TABLE_COLUMNS_MAX = 1 << 16, CSV_TABLE_ROWS_MAX = 1 << 28 };

/* What a text may have: below 4 GiB. */
#define CSV_TABLE_BYTES_MAX ((size_t)UINT32_MAX - 1)

typedef struct csv_table csv_table;

/* Reads all rows, at most `rows_max`; a header is row 0. ERR_INPUT: "NAME: line 5: ...", with what is wrong: a quote
 * out of place, a zero byte, a row of another length, no row at all, too much of something. `text` may go afterwards.
 * The caller ends it with csv_table_free. */
err csv_table_read(csv_table **t, const char *name, const char *text, size_t length, char delimiter, uint32_t rows_max);
void csv_table_free(csv_table *t);

uint32_t csv_table_rows(const csv_table *t);
uint32_t csv_table_columns(const csv_table *t);

/* Ends with a zero; borrowed until csv_table_free. */
const char *csv_table_cell(const csv_table *t, uint32_t row, uint32_t column);

/* The line that a row ends on, from 1. */
uint32_t csv_table_line(const csv_table *t, uint32_t row);

#endif
