#include "decoder_server/http/portion_input.h"

#include "base/utf8.h"
#include "data/npy.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>

static const char npy_magic[] = "\x93NUMPY";

/* A content type without its parameters. */
static bool has_type(span type, const char *name) {
    span media;
    return span_take(&type, ';', &media) && span_is(media, name);
}

static bool may_be_picture(const portion_shape *s) {
    return s->type == PORTION_U8 && s->rank == 3;
}

image_shape portion_input_picture(const portion_shape *s) {
    return (image_shape){s->dims[0], s->dims[1], s->dims[2]};
}

static err refuse_picture(const portion_shape *s) {
    char text[PORTION_SHAPE_TEXT];
    return err_fail(ERR_REFUSED, "a picture is for a portion that is u8 [channels, height, width], not %s",
                    portion_shape_text(s, text));
}

/* What is no picture, no array and of no type that says more. */
static err find_raw(span type, size_t length, const portion_shape *s, portion_input_kind *kind) {
    *kind = PORTION_INPUT_RAW;
    if (has_type(type, "application/octet-stream") || length == portion_shape_bytes(s)) {
        return ERR_OK;
    }
    return err_fail(ERR_REFUSED,
                    "it is no picture and no .npy, its %zu bytes are not the %zu of raw values, and its type is none "
                    "of application/json, text/csv and application/octet-stream",
                    length, portion_shape_bytes(s));
}

err portion_input_find_kind(span type, const void *bytes, size_t length, const portion_shape *s,
                            portion_input_kind *kind) {
    static const struct {
        const char *type;
        portion_input_kind kind;
    } known[] = {{"application/json", PORTION_INPUT_JSON},
                 {"text/csv", PORTION_INPUT_ROW},
                 {"application/x-npy", PORTION_INPUT_NPY}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (has_type(type, known[i].type)) {
            *kind = known[i].kind;
            return ERR_OK;
        }
    }
    bool fits_raw = length == portion_shape_bytes(s);
    if (length >= strlen(npy_magic) && memcmp(bytes, npy_magic, strlen(npy_magic)) == 0) {
        *kind = PORTION_INPUT_NPY;
        return ERR_OK;
    }
    image_type said = image_type_of(type.at, type.length);
    bool is_said = said == IMAGE_PNG || said == IMAGE_JPEG || said == IMAGE_PICTURE;
    if (is_said || (image_is_picture(bytes, length) && (may_be_picture(s) || !fits_raw))) {
        *kind = PORTION_INPUT_PICTURE;
        return may_be_picture(s) ? ERR_OK : refuse_picture(s);
    }
    return find_raw(type, length, s, kind);
}

static bool may_be_row(const portion_shape *s) {
    return s->type == PORTION_F32 && s->rank == 1;
}

err portion_input_check_raw(const void *bytes, size_t length, const portion_shape *s) {
    char text[PORTION_SHAPE_TEXT];
    if (length != portion_shape_bytes(s)) {
        return err_fail(ERR_INPUT, "it has %zu bytes, not the %zu of %s%s", length, portion_shape_bytes(s),
                        portion_shape_text(s, text),
                        may_be_row(s) ? " (the row of a table wants the type text/csv)" : "");
    }
    for (size_t i = 0; s->type == PORTION_F32 && i < portion_shape_elements(s); i++) {
        float value;
        memcpy(&value, (const char *)bytes + i * sizeof value, sizeof value);
        if (!isfinite(value)) {
            return err_fail(ERR_INPUT, "value %zu (counted from 0) is not finite", i);
        }
    }
    return ERR_OK;
}

err portion_input_check_row(const char *text, size_t length) {
    if (span_trim((span){text, length}).length == 0) {
        return err_fail(ERR_INPUT, "the row is empty");
    }
    return memchr(text, '\0', length) ? err_fail(ERR_INPUT, "the row has a zero byte in it") : ERR_OK;
}

/* NumPy. */

/* Sizes of 1 tell nothing: a grey picture is [height, width] as well as [1, height, width]. */
static bool has_sizes(const npy_array *a, const portion_shape *s) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < s->rank; i++) {
        while (at < a->rank && a->dims[at] == 1) {
            at++;
        }
        if (s->dims[i] != 1 && (at == a->rank || a->dims[at++] != s->dims[i])) {
            return false;
        }
    }
    while (at < a->rank && a->dims[at] == 1) {
        at++;
    }
    return at == a->rank;
}

err portion_input_read_npy(const void *bytes, size_t length, const portion_shape *s, void *values) {
    npy_array a = {0};
    char text[PORTION_SHAPE_TEXT];
    err e = npy_parse("the array", bytes, length, s->type, portion_shape_elements(s), &a);
    if (!e && !has_sizes(&a, s)) {
        e = err_fail(ERR_INPUT, "the array has other sizes than %s", portion_shape_text(s, text));
    }
    if (!e) {
        memcpy(values, a.values, portion_shape_bytes(s));
    }
    npy_free(&a);
    return e;
}

/* JSON. */

err portion_input_check_json(size_t bytes) {
    return bytes <= PORTION_INPUT_JSON_MAX
               ? ERR_OK
               : err_fail(ERR_FULL,
                          "a request has at most %d KiB of JSON: hand more numbers over as .npy or raw values",
                          PORTION_INPUT_JSON_MAX >> 10);
}

static err take_number(const json_t *number, const portion_shape *s, size_t at, void *values) {
    if (!json_is_number(number)) {
        return err_fail(ERR_INPUT, "value %zu (counted from 0) is no number", at);
    }
    double value = json_number_value(number);
    if (s->type == PORTION_U8) {
        if (!(value >= 0 && value <= UINT8_MAX) || value != floor(value)) {
            return err_fail(ERR_INPUT, "value %zu (counted from 0) is %g, no whole number from 0 to 255", at, value);
        }
        ((uint8_t *)values)[at] = (uint8_t)value;
        return ERR_OK;
    }
    float narrow = fabs(value) <= (double)FLT_MAX ? (float)value : INFINITY;
    memcpy((char *)values + at * sizeof narrow, &narrow, sizeof narrow);
    return isfinite(narrow) ? ERR_OK : err_fail(ERR_INPUT, "value %zu (counted from 0) is too large for f32", at);
}

static err take_list(const json_t *list, const portion_shape *s, size_t first, size_t count, void *values) {
    if (json_array_size(list) != count) {
        return err_fail(ERR_INPUT, "a list of numbers has %zu of them, not %zu%s", json_array_size(list), count,
                        may_be_row(s) ? " (the row of a table is an object, {\"column\": value})" : "");
    }
    err e = ERR_OK;
    for (size_t i = 0; i < count && !e; i++) {
        e = take_number(json_array_get(list, i), s, first + i, values);
    }
    return e;
}

/* The part of the values from `first` on, nested from dimension `depth` on. */
static err take_nested(const json_t *list, const portion_shape *s, uint32_t depth, size_t first, void *values) {
    size_t each = 1;
    for (uint32_t i = depth + 1; i < s->rank; i++) {
        each *= s->dims[i];
    }
    if (depth + 1 == s->rank) {
        return take_list(list, s, first, s->dims[depth], values);
    }
    if (json_array_size(list) != s->dims[depth]) {
        return err_fail(ERR_INPUT, "a list has %zu lists in it, not %u", json_array_size(list), s->dims[depth]);
    }
    err e = ERR_OK;
    for (size_t i = 0; i < s->dims[depth] && !e; i++) {
        const json_t *one = json_array_get(list, i);
        e = json_is_array(one) ? take_nested(one, s, depth + 1, first + i * each, values)
                               : err_fail(ERR_INPUT, "a list has a number where a list is due");
    }
    return e;
}

err portion_input_take_json(const json_t *numbers, const portion_shape *s, void *values) {
    char text[PORTION_SHAPE_TEXT];
    err e = ERR_OK;
    if (!json_is_array(numbers)) {
        e = err_fail(ERR_INPUT, "it is no list of numbers");
    } else if (json_is_array(json_array_get(numbers, 0))) {
        e = take_nested(numbers, s, 0, 0, values);
    } else {
        e = take_list(numbers, s, 0, portion_shape_elements(s), values);
    }
    return err_prefix(e, "the numbers of %s", portion_shape_text(s, text));
}

err portion_input_read_json(const char *text, size_t length, const portion_shape *s, void *values) {
    json_error_t problem;
    json_t *numbers = json_loadb(text, length, JSON_DECODE_ANY, &problem);
    if (!numbers) {
        return err_fail(ERR_INPUT, "it is no JSON: line %d, column %d: %s", problem.line, problem.column, problem.text);
    }
    err e = portion_input_take_json(numbers, s, values);
    json_decref(numbers);
    return e;
}

/* Rows. */

static void add_cell(dynbuf *text, const char *cell) {
    dynbuf_add(text, "\"", 1);
    for (const char *at = cell, *quote; *at; at = quote) {
        quote = strchrnul(at, '"');
        dynbuf_add(text, at, (size_t)(quote - at));
        if (*quote) {
            dynbuf_add(text, "\"\"", 2);
            quote++;
        }
    }
    dynbuf_add(text, "\"", 1);
}

/* A double's text reads as the same one. */
static void add_value(dynbuf *text, const json_t *value) {
    if (json_is_string(value)) {
        add_cell(text, json_string_value(value));
    } else if (json_is_integer(value)) {
        dynbuf_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    } else if (json_is_real(value)) {
        dynbuf_printf(text, "%.17g", json_real_value(value));
    } else {
        add_cell(text, ""); /* null */
    }
}

err portion_input_add_row(const json_t *columns, dynbuf *text) {
    const char *name;
    const json_t *value;
    size_t count = 0;
    json_object_foreach((json_t *)(uintptr_t)columns, name, value) {
        if (!json_is_number(value) && !json_is_string(value) && !json_is_null(value)) {
            return err_fail(ERR_INPUT, "column '%s': its value is no number, no text and not null", name);
        }
        dynbuf_add(text, ",", count++ > 0);
        add_cell(text, name);
    }
    dynbuf_add_text(text, "\r\n");
    count = 0;
    json_object_foreach((json_t *)(uintptr_t)columns, name, value) {
        dynbuf_add(text, ",", count++ > 0);
        add_value(text, value);
    }
    dynbuf_add_text(text, "\r\n");
    return count > 0 ? dynbuf_check(text, "a row") : err_fail(ERR_INPUT, "it names no column");
}
