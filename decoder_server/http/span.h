/* A span: borrowed bytes, and the bits of grammar that HTTP and MIME fields share. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_SPAN_H
#define FEWBIT_DECODER_SERVER_HTTP_SPAN_H

#include <stdbool.h>
#include <stddef.h>

typedef struct span {
    const char *at; /* NULL: there is none */
    size_t length;
} span;

/* The span of a text that ends with a zero; NULL gives none. */
span span_of(const char *text);

/* Whether it is `text`; span_is ignores case. */
bool span_equals(span s, const char *text);
bool span_is(span s, const char *text);

/* Whether it is not empty and consists of characters of `set`. */
bool span_has_only(span s, const char *set);

/* A token of RFC 9110: the name of a method, of a field, of a parameter. */
bool span_is_token(span s);

/* The value of a hexadecimal digit; -1: it is none. */
int span_hex_digit(char c);

/* Without the blanks (space, tab, and what ends a line) around it. */
span span_trim(span s);

/* Takes the piece up to `mark`, and the mark, off *s; *piece is trimmed. A mark between double quotes does not count.
 * False: *s was empty. */
bool span_take(span *s, char mark, span *piece);

#endif
