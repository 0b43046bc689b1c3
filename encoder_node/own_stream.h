/* The stream that a node pushes of its own: the session its samples are counted in, and how far the count is. */
#ifndef FEWBIT_ENCODER_NODE_OWN_STREAM_H
#define FEWBIT_ENCODER_NODE_OWN_STREAM_H

#include "wire/message.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct own_stream {
    bool exists;      /* else there is nothing to push, ever */
    bool is_over;     /* all of it has been pushed */
    uint64_t session; /* that this process is counted in, to its end; 0: none yet */
    uint64_t next;    /* in it: id of the next sample */
    /* As the server says on this connection: it goes on; is ahead of the others; is not in the session under way. */
    bool has_begun, is_held, is_outside;
} own_stream;

/* Another connection: the server will say anew what goes on. */
void own_stream_disconnected(own_stream *s);

void own_stream_describe(const own_stream *s, Fewbit__Ready *ready);

/* False where Begin does not fit: of another session, or from another sample on than the next. */
bool own_stream_begin(own_stream *s, const Fewbit__Begin *b);
void own_stream_hold(own_stream *s, const Fewbit__StreamHold *h);

bool own_stream_may_push(const own_stream *s);

/* All has been pushed; whether the server is to be told. */
bool own_stream_end(own_stream *s);

#endif
