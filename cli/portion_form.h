/* A portion form: a part for each portion, as the multipart body of a request. */
#ifndef FEWBIT_CLI_PORTION_FORM_H
#define FEWBIT_CLI_PORTION_FORM_H

#include "base/dynbuf.h"

enum { PORTION_FORM_BYTES_MAX = 1 << 20, PORTION_FORM_TYPE_MAX = 96 };

/* The content type, with the boundary: no part has it in it, for it is random. */
void portion_form_begin(char type[PORTION_FORM_TYPE_MAX]);

/* Begins and ends a part, whose bytes come in between; `of` is its content type. Then the end of all. */
void portion_form_begin_part(dynbuf *to, const char *type, const char *name, int name_length, const char *of);
void portion_form_end_part(dynbuf *to);
void portion_form_end(dynbuf *to, const char *type);

/* A part from "NAME=FILE". What a file is its name says: .csv, .json or .npy, a picture by its first bytes, else raw
 * values. */
err portion_form_add_file(dynbuf *to, const char *type, const char *portion);

#endif
