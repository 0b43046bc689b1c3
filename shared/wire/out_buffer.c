#include "wire/out_buffer.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 4096 };

err out_buffer_extend(out_buffer *b, size_t length, uint8_t **to) {
    if (b->capacity - b->length < length) {
        size_t capacity = b->capacity ? b->capacity : FIRST_CAPACITY;
        while (capacity - b->length < length) {
            capacity *= 2;
        }
        uint8_t *grown = realloc(b->bytes, capacity);
        if (!grown) {
            return err_fail(ERR_MEMORY, "no memory to send %zu bytes", length);
        }
        b->bytes = grown;
        b->capacity = capacity;
    }
    *to = b->bytes + b->length;
    b->length += length;
    return ERR_OK;
}

err out_buffer_append(out_buffer *b, const uint8_t *bytes, size_t length) {
    uint8_t *to = NULL;
    err e = length > 0 ? out_buffer_extend(b, length, &to) : ERR_OK;
    if (!e && length > 0) {
        memcpy(to, bytes, length);
    }
    return e;
}
