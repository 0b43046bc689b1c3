/* In-process transport: one direction of a link without sockets. Messages are packed to frames and unpacked again, as
 * on any link, so that sizes, and what is refused, are the same. It knows no thread; memory that a message finds no
 * room in is told by the next inproc_receive. */
#ifndef FEWBIT_WIRE_INPROC_H
#define FEWBIT_WIRE_INPROC_H

#include "base/dynbuf.h"
#include "wire/message.h"

typedef struct inproc {
    dynbuf frames; /* grows to its working size and stays */
    size_t taken;  /* bytes of it that were received */
} inproc;

inproc inproc_make(void);
void inproc_free(inproc *q);

/* Returns the bytes of the frame. */
size_t inproc_send(inproc *q, message_type type, const ProtobufCMessage *body);

static inline bool inproc_is_empty(const inproc *q) {
    return q->frames.length == 0;
}

/* The next message, which lies in `a` as message_unpack puts it there. *size: bytes of its frame; 0: there is none. */
err inproc_receive(inproc *q, arena *a, message *m, size_t *size);

#endif
