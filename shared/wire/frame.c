#include "wire/frame.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 2048 };

void frame_put_header(uint8_t header[FRAME_HEADER], uint8_t type, size_t length) {
    header[0] = (uint8_t)length;
    header[1] = (uint8_t)(length >> 8);
    header[2] = (uint8_t)(length >> 16);
    header[3] = type;
}

static size_t length_in(const uint8_t *header) {
    return (size_t)header[0] | (size_t)header[1] << 8 | (size_t)header[2] << 16;
}

size_t frame_size(const uint8_t header[FRAME_HEADER]) {
    return FRAME_HEADER + length_in(header);
}

void frame_reader_init(frame_reader *r, size_t limit) {
    *r = (frame_reader){.limit = limit};
}

void frame_reader_free(frame_reader *r) {
    free(r->bytes);
    *r = (frame_reader){0};
}

/* What the buffer must hold: the frame that is under way, once its header is known. */
static size_t wanted_capacity(const frame_reader *r) {
    size_t have = r->end - r->begin;
    size_t length = have >= FRAME_HEADER ? length_in(r->bytes + r->begin) : 0;
    size_t wanted = FRAME_HEADER + (length < r->limit ? length : r->limit);
    return wanted > FIRST_CAPACITY ? wanted : FIRST_CAPACITY;
}

err frame_reader_room(frame_reader *r, uint8_t **to, size_t *room) {
    if (r->begin > 0) {
        memmove(r->bytes, r->bytes + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->begin = 0;
    }
    size_t wanted = wanted_capacity(r);
    if (wanted > r->capacity) {
        uint8_t *grown = realloc(r->bytes, wanted);
        if (!grown) {
            return err_fail(ERR_MEMORY, "no memory for a frame of %zu bytes", wanted);
        }
        r->bytes = grown;
        r->capacity = wanted;
    }
    *to = r->bytes + r->end;
    *room = r->capacity - r->end;
    return ERR_OK;
}

void frame_reader_fed(frame_reader *r, size_t length) {
    r->end += length;
}

err frame_reader_next(frame_reader *r, frame *f, bool *have) {
    *have = false;
    size_t left = r->end - r->begin;
    if (left < FRAME_HEADER) {
        return ERR_OK;
    }
    const uint8_t *header = r->bytes + r->begin;
    size_t length = length_in(header);
    if (length > r->limit) {
        return err_fail(ERR_INPUT, "a frame of type %u claims %zu bytes, at most %zu are allowed", header[3], length,
                        r->limit);
    }
    if (left - FRAME_HEADER < length) {
        return ERR_OK;
    }
    *f = (frame){header[3], header + FRAME_HEADER, length};
    r->begin += FRAME_HEADER + length;
    *have = true;
    return ERR_OK;
}
