/* The head of an HTTP response, written as text: pure. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_RESPONSE_HEAD_H
#define FEWBIT_DECODER_SERVER_HTTP_RESPONSE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum { RESPONSE_HEAD_MAX = 2048, HTTP_DATE_MAX = 32 };

typedef struct http_field {
    const char *name, *value;
} http_field;

typedef struct response_head {
    unsigned status;
    const http_field *fields;
    size_t field_count;
    size_t length;      /* of its body; one of a status that has no body has none */
    bool has_no_length; /* it ends with the connection, or is chunked */
    bool is_chunked;
    const char *connection; /* "close" or "keep-alive"; NULL: as the version has it */
} response_head;

/* Whether answers of this status may have a body. */
bool response_has_body(unsigned status);

/* The Date field's value (RFC 9110, section 5.6.7). */
void http_date(char to[HTTP_DATE_MAX], time_t seconds);

/* The same for now; formatted once a second. *c is {0} at first. */
typedef struct http_clock {
    time_t of;
    char date[HTTP_DATE_MAX];
} http_clock;
const char *http_date_now(http_clock *c);

/* Writes it and returns its length; 0: it does not fit. */
size_t response_head_write(char to[RESPONSE_HEAD_MAX], const response_head *a, const char *date);

#endif
