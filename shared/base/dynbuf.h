/* A growable buffer of bytes, with a cap that is given when it is made.
 *
 * It doubles as it grows and keeps its memory when it is reset, so that one that is used again allocates nothing once
 * it is warm. After its bytes there is always a zero. Failure is sticky: after one addition that found no room,
 * nothing more is added until dynbuf_reset, and `has_failed` is to be asked once, at the end.
 *
 * Elements of one type, added whole, make an array. */
#ifndef FEWBIT_BASE_DYNBUF_H
#define FEWBIT_BASE_DYNBUF_H

#include "base/err.h"

#include <string.h>

typedef struct dynbuf {
    char *bytes;             /* NULL while nothing was added */
    size_t length, capacity; /* without and with the zero */
    size_t max;              /* the cap on `capacity` */
    bool has_failed;         /* no memory, or beyond the cap: what is there is not all that was added */
} dynbuf;

/* An empty buffer of at most `max` bytes, with its zero; dynbuf_free ends it. */
static inline dynbuf dynbuf_make(size_t max) {
    return (dynbuf){.max = max};
}

/* The same over memory of the caller's, which never grows; not for dynbuf_free. */
static inline dynbuf dynbuf_over(char *bytes, size_t capacity) {
    bytes[0] = '\0';
    return (dynbuf){.bytes = bytes, .capacity = capacity, .max = capacity};
}

/* Gives its memory back; the cap stays. */
void dynbuf_free(dynbuf *b);

static inline void dynbuf_reset(dynbuf *b) {
    b->length = 0;
    b->has_failed = false;
}

/* Makes room for `more` bytes; dynbuf_room's slow path. */
char *dynbuf_grow(dynbuf *b, size_t more);

/* Where the next `more` bytes go, for the caller to fill and to count with dynbuf_commit; NULL: no room. */
static inline char *dynbuf_room(dynbuf *b, size_t more) {
    bool fits = more < b->capacity - b->length && b->capacity > b->length && !b->has_failed;
    return fits ? b->bytes + b->length : dynbuf_grow(b, more);
}

static inline void dynbuf_commit(dynbuf *b, const char *end) {
    b->length = (size_t)(end - b->bytes);
    b->bytes[b->length] = '\0';
}

static inline void dynbuf_add(dynbuf *b, const void *bytes, size_t length) {
    char *to = dynbuf_room(b, length);
    if (to && length > 0) {
        memcpy(to, bytes, length);
        dynbuf_commit(b, to + length);
    }
}

static inline void dynbuf_add_text(dynbuf *b, const char *text) {
    dynbuf_add(b, text, strlen(text));
}

void dynbuf_printf(dynbuf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes the first `length` bytes off. */
void dynbuf_drop(dynbuf *b, size_t length);

/* ERR_MEMORY where it has failed: "no memory for WHAT". */
err dynbuf_check(const dynbuf *b, const char *what);

#endif
