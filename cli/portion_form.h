/* A portion form: files, one for each portion, as the multipart body of a request. */
#ifndef FEWBIT_CLI_PORTION_FORM_H
#define FEWBIT_CLI_PORTION_FORM_H

#include "base/dynbuf.h"
#include "cli/http_client.h"

enum { PORTION_FORM_BYTES_MAX = 1 << 20 };

typedef struct portion_form {
    dynbuf body;
    char type[96]; /* its content type, once it has ended */
} portion_form;

/* dynbuf_free(&f->body) ends it. */
void portion_form_begin(portion_form *f);

/* "NAME=FILE". What a file is its name says: .csv, .json or .npy, a picture by its first bytes, else raw values. */
err portion_form_add(portion_form *f, const char *portion);

/* The body. No file has its boundary in it: that is random. */
err portion_form_end(portion_form *f, http_client_body *body);

#endif
