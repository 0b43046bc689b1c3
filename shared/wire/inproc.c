#include "wire/inproc.h"

/* What may wait in one direction. */
enum { BYTES_MAX = 256 << 20 };

inproc inproc_make(void) {
    return (inproc){.frames = dynbuf_make(BYTES_MAX)};
}

void inproc_free(inproc *q) {
    dynbuf_free(&q->frames);
}

size_t inproc_send(inproc *q, message_type type, const ProtobufCMessage *body) {
    size_t size = message_frame_size(body);
    char *to = dynbuf_room(&q->frames, size);
    if (to) {
        message_pack_frame(type, body, (uint8_t *)to);
        dynbuf_commit(&q->frames, to + size);
    }
    return size;
}

err inproc_receive(inproc *q, arena *a, message *m, size_t *size) {
    *size = 0;
    err e = dynbuf_check(&q->frames, "messages within the process");
    if (e || q->taken == q->frames.length) {
        dynbuf_reset(&q->frames);
        q->taken = 0;
        return e;
    }
    const uint8_t *head = (const uint8_t *)q->frames.bytes + q->taken;
    *size = frame_size(head);
    q->taken += *size;
    return message_unpack(head[3], head + FRAME_HEADER, *size - FRAME_HEADER, a, m);
}
