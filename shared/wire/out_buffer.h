/* Bytes on their way out: a buffer that grows and is used again. */
#ifndef FEWBIT_WIRE_OUT_BUFFER_H
#define FEWBIT_WIRE_OUT_BUFFER_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct out_buffer {
    uint8_t *bytes; /* NULL before the first byte; free() ends it */
    size_t length, capacity;
} out_buffer;

/* Room for `length` bytes behind what is there, which they are from here on. No memory: ERR_MEMORY, and the buffer is
 * as it was. */
err out_buffer_extend(out_buffer *b, size_t length, uint8_t **to);

/* Copies `bytes` behind what is there. */
err out_buffer_append(out_buffer *b, const uint8_t *bytes, size_t length);

#endif
