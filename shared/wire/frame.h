/* Frames: how messages are cut out of a byte stream. Knows no socket.
 *
 *   byte 0..2  payload length, little-endian
 *   byte 3     frame type
 *   byte 4..   payload */
#ifndef FEWBIT_WIRE_FRAME_H
#define FEWBIT_WIRE_FRAME_H

#include "base/err.h"

enum {
    FRAME_HEADER = 4,
    FRAME_FIRST_MAX = 4096,     /* payload of the frame that opens a connection */
    FRAME_PAYLOAD_MAX = 4 << 20 /* of any other */
};

typedef struct frame {
    uint8_t type;
    const uint8_t *payload; /* borrowed from the reader until it is fed again */
    size_t length;
} frame;

void frame_put_header(uint8_t header[FRAME_HEADER], uint8_t type, size_t length);

/* Bytes of the whole frame that begins with such a header. */
size_t frame_size(const uint8_t header[FRAME_HEADER]);

/* Cuts a stream into frames. The buffer starts small and grows to the largest frame seen, never past `limit`. */
typedef struct frame_reader {
    uint8_t *bytes;
    size_t capacity;
    size_t begin, end; /* what is not consumed yet */
    size_t limit;      /* payload bytes of a frame */
} frame_reader;

void frame_reader_init(frame_reader *r, size_t limit);
void frame_reader_free(frame_reader *r);

/* Where the next bytes of the stream go: at least one byte of room, or ERR_MEMORY. Then say how many came. */
err frame_reader_room(frame_reader *r, uint8_t **to, size_t *room);
void frame_reader_fed(frame_reader *r, size_t length);

/* `*have` says whether a whole frame was there. A frame longer than the limit: ERR_INPUT, before any of it is
 * stored; the stream is then useless. */
err frame_reader_next(frame_reader *r, frame *f, bool *have);

#endif
