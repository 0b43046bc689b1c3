/* The head of an HTTP answer: pure. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_ANSWER_HEAD_H
#define FEWBIT_DECODER_SERVER_HTTP_ANSWER_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum { ANSWER_HEAD_MAX = 2048, ANSWER_DATE_MAX = 32 };

typedef struct answer_field {
    const char *name, *value;
} answer_field;

typedef struct answer_head {
    unsigned status;
    const answer_field *fields;
    size_t field_count;
    size_t length;      /* of its body; one of a status that has no body has none */
    bool has_no_length; /* it ends with the connection, or is chunked */
    bool is_chunked;
    const char *connection; /* "close" or "keep-alive"; NULL: as the version has it */
} answer_head;

/* Whether answers of this status may have a body. */
bool answer_has_body(unsigned status);

/* The Date field's value (RFC 9110, section 5.6.7). */
void answer_date(char to[ANSWER_DATE_MAX], time_t seconds);

/* The same of now, written anew once a second. {0} at first. */
typedef struct answer_clock {
    time_t of;
    char date[ANSWER_DATE_MAX];
} answer_clock;
const char *answer_date_now(answer_clock *c);

/* Writes it; how long it is, or 0: it does not fit. */
size_t answer_head_write(char to[ANSWER_HEAD_MAX], const answer_head *a, const char *date);

#endif
