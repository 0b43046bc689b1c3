/* Text that is put together piece by piece: the bodies of answers. Grows up to a cap and keeps its memory, so that one
 * that is used again allocates nothing once it is warm. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_STRBUF_H
#define FEWBIT_DECODER_SERVER_HTTP_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

enum { STRBUF_MAX = 4 << 20 };

typedef struct strbuf {
    char *bytes; /* closed by a zero; NULL while nothing was put */
    size_t length, capacity;
    bool has_failed; /* no memory, or longer than STRBUF_MAX: what is there is not whole */
} strbuf;

/* `*t` is {0} at first. */
void strbuf_free(strbuf *t);
void strbuf_reset(strbuf *t);

void strbuf_printf(strbuf *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Numbers, as JSON has them; much faster than strbuf_printf. A fraction has `places` digits behind its point, at most
 * 9; what is no number, or not below 2^53, is 0. */
void strbuf_add_number(strbuf *t, unsigned long long value);
void strbuf_add_fraction(strbuf *t, double value, int places);

/* As it is. */
void strbuf_add(strbuf *t, const char *piece);

/* As a JSON string with its quotes; bytes that are no UTF-8 of their own become '?'. */
void strbuf_add_json(strbuf *t, const char *piece);

/* Time in milliseconds since 1970 as a JSON string, "2026-01-31T12:00:00.123Z"; null for 0. */
void strbuf_add_time(strbuf *t, long long unix_ms);

#endif
