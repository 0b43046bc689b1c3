/* The stream that a node sends of its own: the session its samples are counted in, and how far the count is. */
#ifndef FEWBIT_ENCODER_NODE_NODE_STREAM_H
#define FEWBIT_ENCODER_NODE_NODE_STREAM_H

#include "wire/message.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct node_stream {
    bool exists;      /* else there is nothing to stream, ever */
    bool is_over;     /* all of it has been streamed */
    uint64_t session; /* that this process is counted in, to its end; 0: none yet */
    uint64_t next;    /* in it: id of the next sample */
    /* As the server says on this connection: it goes on; is ahead of the others; is not in the session under way. */
    bool has_begun, is_held, is_outside;
} node_stream;

/* Another connection: the server will say anew what goes on. */
void node_stream_disconnected(node_stream *s);

void node_stream_describe(const node_stream *s, Fewbit__Ready *ready);

/* False where Begin does not fit: of another session, or from another sample on than the next. */
bool node_stream_begin(node_stream *s, const Fewbit__Begin *b);
void node_stream_hold(node_stream *s, const Fewbit__StreamHold *h);

bool node_stream_may_send(const node_stream *s);

/* All has been streamed; whether a StreamEnd is due. */
bool node_stream_end(node_stream *s);

#endif
