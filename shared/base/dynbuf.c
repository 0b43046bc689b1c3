#include "base/dynbuf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 2048 };

void dynbuf_free(dynbuf *b) {
    free(b->bytes);
    *b = dynbuf_make(b->max);
}

char *dynbuf_grow(dynbuf *b, size_t more) {
    if (b->has_failed || more >= b->max || b->length >= b->max - more) {
        b->has_failed = true;
        return NULL;
    }
    size_t need = b->length + more + 1, capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
    while (capacity < need) {
        capacity *= 2;
    }
    capacity = capacity < b->max ? capacity : b->max;
    char *grown = capacity > b->capacity ? realloc(b->bytes, capacity) : b->bytes;
    if (!grown) {
        b->has_failed = true;
        return NULL;
    }
    b->bytes = grown;
    b->capacity = capacity;
    b->bytes[b->length] = '\0';
    return b->bytes + b->length;
}

void dynbuf_printf(dynbuf *b, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    size_t room = b->capacity - b->length;
    int length = vsnprintf(room ? b->bytes + b->length : NULL, room, format, arguments);
    char *to = length >= 0 ? dynbuf_room(b, (size_t)length) : NULL;
    if (to) {
        if ((size_t)length >= room) {
            vsnprintf(to, (size_t)length + 1, format, again);
        }
        dynbuf_commit(b, to + length);
    } else if (room) {
        b->bytes[b->length] = '\0'; /* what vsnprintf has begun there */
    }
    va_end(again);
    va_end(arguments);
}

void dynbuf_drop(dynbuf *b, size_t length) {
    b->length -= length;
    if (b->bytes) {
        memmove(b->bytes, b->bytes + length, b->length + 1);
    }
}

err dynbuf_check(const dynbuf *b, const char *what) {
    return b->has_failed ? err_fail(ERR_MEMORY, "no memory for %s", what) : ERR_OK;
}
