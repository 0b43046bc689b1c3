/* Portion input: what a request hands over for one portion becomes the values that its node takes, or a row of text for
 * the node to read. Pure; the input is not trusted.
 *
 * Errors say what is wrong with the input; the caller says of which portion. ERR_REFUSED: it is of no kind that the
 * portion can be handed over in. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_PORTION_INPUT_H
#define FEWBIT_DECODER_SERVER_HTTP_PORTION_INPUT_H

#include "base/dynbuf.h"
#include "data/portion_shape.h"
#include "decoder_server/http/span.h"
#include "image/image.h"

#include <jansson.h>

enum {
    PORTION_INPUT_JSON_MAX = 256 << 10, /* bytes of a request's JSON: while it is read, memory is 80 times as much */
    PORTION_INPUT_ROW_MAX = 1 << 20     /* of a row that is made of JSON */
};

typedef enum portion_input_kind {
    PORTION_INPUT_RAW,     /* the values as they are: u8, or f32 little-endian, row-major */
    PORTION_INPUT_PICTURE, /* for image_read */
    PORTION_INPUT_NPY,
    PORTION_INPUT_JSON, /* numbers, in one list or nested as the shape */
    PORTION_INPUT_ROW,  /* text/csv */
} portion_input_kind;

/* By the first bytes, then by the content type; without either of them raw values. */
err portion_input_find_kind(span type, const void *bytes, size_t length, const portion_shape *s,
                            portion_input_kind *kind);

/* Whether a request's JSON may be read, so many bytes in all: ERR_FULL. */
err portion_input_check_json(size_t bytes);

/* Whether raw values fit: their number, and that each is finite. */
err portion_input_check_raw(const void *bytes, size_t length, const portion_shape *s);

/* Whether a row may go to a node: text without zeros, not empty. */
err portion_input_check_row(const char *text, size_t length);

/* To `values` [portion_shape_bytes]. An array of NumPy's has the shape's sizes, but for sizes of 1. */
err portion_input_read_npy(const void *bytes, size_t length, const portion_shape *s, void *values);
err portion_input_read_json(const char *text, size_t length, const portion_shape *s, void *values);
err portion_input_take_json(const json_t *numbers, const portion_shape *s, void *values);

/* {"column": value} as CSV, a header and a row; null is an empty cell. */
err portion_input_add_row(const json_t *columns, dynbuf *text);

/* The portion's shape as a picture has it; of rank 3. */
image_shape portion_input_picture(const portion_shape *s);

#endif
