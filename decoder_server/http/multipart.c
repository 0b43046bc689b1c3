#include "decoder_server/http/multipart.h"

#include <string.h>

/* RFC 2046, section 5.1.1. */
static const char boundary_characters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_,-./:=? ";

/* A parameter's value without its quotes, if it has some, to `value`; false: it is too long, or there is more. */
static bool unquote(span raw, char value[MULTIPART_BOUNDARY_MAX + 1]) {
    bool is_quoted = raw.length > 0 && raw.at[0] == '"';
    size_t at = is_quoted, used = 0;
    for (; at < raw.length && used < MULTIPART_BOUNDARY_MAX && (!is_quoted || raw.at[at] != '"'); at++) {
        at += is_quoted && raw.at[at] == '\\' && at + 1 < raw.length;
        value[used++] = raw.at[at];
    }
    value[used] = '\0';
    return is_quoted ? at + 1 == raw.length && raw.at[at] == '"' : at == raw.length;
}

err multipart_boundary(span type, char boundary[MULTIPART_BOUNDARY_MAX + 1]) {
    span parameter, name;
    bool has_one = false;
    span_take(&type, ';', &parameter); /* the type itself */
    while (span_take(&type, ';', &parameter)) {
        if (!span_take(&parameter, '=', &name) || !span_is(name, "boundary")) {
            continue;
        }
        if (has_one) {
            return err_fail(ERR_INPUT, "the multipart type names more than one boundary");
        }
        has_one = true;
        span value = span_trim(parameter);
        bool fits = unquote(value, boundary) && span_has_only(span_of(boundary), boundary_characters);
        if (!fits || boundary[strlen(boundary) - 1] == ' ') {
            return err_fail(ERR_INPUT,
                            "a multipart boundary is 1 to %d of the characters that RFC 2046 allows, the last "
                            "no blank",
                            MULTIPART_BOUNDARY_MAX);
        }
    }
    return has_one ? ERR_OK : err_fail(ERR_INPUT, "the multipart type names no boundary");
}

typedef struct reader {
    const char *at, *end;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX + 1]; /* with the end of line before it */
    size_t delimiter_length;
} reader;

/* Whether a delimiter's line ends at `at`, blanks before that; then what is after it. */
static const char *end_line(const reader *r, const char *at) {
    while (at < r->end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    return r->end - at >= 2 && memcmp(at, "\r\n", 2) == 0 ? at + 2 : NULL;
}

/* What is after the delimiter whose boundary ends at `at`; NULL: it is none. */
static const char *end_delimiter(const reader *r, const char *at, bool *is_last) {
    *is_last = r->end - at >= 2 && memcmp(at, "--", 2) == 0;
    const char *after = end_line(r, *is_last ? at + 2 : at);
    if (after || !*is_last) {
        return after;
    }
    for (at += 2; at < r->end && (*at == ' ' || *at == '\t'); at++) {
        /* the end of the body ends the last one, too */
    }
    return at == r->end ? at : NULL;
}

/* The next delimiter; what is before it is *content. False: there is none. */
static bool take_delimiter(reader *r, span *content, bool *is_last) {
    const char *from = r->at;
    for (const char *at = from; (at = memmem(at, (size_t)(r->end - at), r->delimiter, r->delimiter_length)); at += 2) {
        const char *after = end_delimiter(r, at + r->delimiter_length, is_last);
        if (after) {
            *content = (span){from, (size_t)(at - from)};
            r->at = after;
            return true;
        }
    }
    return false;
}

/* The first delimiter may be the body's first line, with no end of line before it. */
static bool take_first(reader *r, bool *is_last) {
    size_t length = r->delimiter_length - 2;
    span preamble;
    if ((size_t)(r->end - r->at) >= length && memcmp(r->at, r->delimiter + 2, length) == 0) {
        const char *after = end_delimiter(r, r->at + length, is_last);
        if (after) {
            r->at = after;
            return true;
        }
    }
    return take_delimiter(r, &preamble, is_last);
}

/* The next line of a part's head, with those that go on after it; false: it has no end. */
static bool take_field(span *rest, span *field) {
    const char *end = rest->at + rest->length, *at = rest->at;
    do {
        at = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!at) {
            return false;
        }
        at += 2;
    } while (at < end && (*at == ' ' || *at == '\t') && at - rest->at > 2);
    *field = (span){rest->at, (size_t)(at - 2 - rest->at)};
    *rest = (span){at, (size_t)(end - at)};
    return true;
}

/* Whether a part's Content-Transfer-Encoding leaves its content as it is (RFC 2045, section 6). */
static bool is_plain(span coding) {
    return span_is(coding, "binary") || span_is(coding, "8bit") || span_is(coding, "7bit");
}

/* The name that a Content-Disposition gives, without its quotes. */
static span name_of(span disposition) {
    span parameter, name;
    while (span_take(&disposition, ';', &parameter)) {
        if (!span_take(&parameter, '=', &name) || !span_is(name, "name")) {
            continue;
        }
        span value = span_trim(parameter);
        bool is_quoted = value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"';
        return is_quoted ? (span){value.at + 1, value.length - 2} : value;
    }
    return (span){0};
}

/* Parts what lies between two delimiters. A head with nothing after it is ended by the delimiter's own end of line. */
static err read_part(const uint8_t *body, span all, multipart_part *part) {
    span rest = all, field, name;
    *part = (multipart_part){0};
    while (rest.length > 0) {
        if (!take_field(&rest, &field)) {
            field = rest;
            rest = (span){rest.at + rest.length, 0};
        }
        if (field.length == 0) {
            break;
        }
        span value = field;
        bool has_colon = memchr(field.at, ':', field.length) && span_take(&value, ':', &name);
        if (!has_colon || !span_is_token(name)) {
            return err_fail(ERR_INPUT, "the multipart body is damaged: a part's head has a line that is no field");
        }
        value = span_trim(value);
        if (span_is(name, "content-transfer-encoding") && !is_plain(value)) {
            return err_fail(ERR_INPUT, "a part of the multipart body is encoded, as base64: that is not taken");
        }
        if (span_is(name, "content-type")) {
            part->type = value;
        } else if (span_is(name, "content-disposition")) {
            part->name = name_of(value);
        }
    }
    part->from = (size_t)(rest.at - (const char *)body);
    part->length = rest.length;
    return ERR_OK;
}

err multipart_read(const uint8_t *body, size_t length, const char *boundary, multipart_part *parts, uint32_t most,
                   uint32_t *count) {
    reader r = {.at = (const char *)body, .end = (const char *)body + length};
    r.delimiter_length = 4 + strlen(boundary);
    memcpy(r.delimiter, "\r\n--", 4);
    memcpy(r.delimiter + 4, boundary, r.delimiter_length - 3);
    *count = 0;
    bool is_last;
    if (!take_first(&r, &is_last)) {
        return err_fail(ERR_INPUT, "the multipart body has not one line of its boundary");
    }
    while (!is_last) {
        span all;
        if (!take_delimiter(&r, &all, &is_last)) {
            return err_fail(ERR_INPUT,
                            "the multipart body is damaged: it does not end with its boundary and two dashes");
        }
        if (*count == most) {
            return err_fail(ERR_FULL, "a body has at most %u parts", most);
        }
        err e = read_part(body, all, &parts[(*count)++]);
        if (e) {
            return e;
        }
    }
    return *count > 0 ? ERR_OK : err_fail(ERR_INPUT, "the body has no parts");
}
