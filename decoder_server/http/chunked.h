/* An incremental parser of chunked bodies (RFC 9112, section 7.1): pure; the input is not trusted. Line ends are CRLF.
 * Chunk extensions and trailers are read, bounded, and ignored. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_CHUNKED_H
#define FEWBIT_DECODER_SERVER_HTTP_CHUNKED_H

#include "decoder_server/http/span.h"

#include <stdint.h>

enum { CHUNKED_EXTRA_MAX = 8 * 1024 }; /* bytes of all extensions and trailers together */

typedef struct chunked {
    int place;
    unsigned digits;
    size_t extra;
    uint64_t left; /* of the chunk, its data; no chunk ends before that */
} chunked;

typedef enum chunked_state {
    CHUNKED_MORE,  /* all that is there was taken */
    CHUNKED_PIECE, /* *piece is the next of the data; ask again */
    CHUNKED_END,   /* of the body; *rest is what is after it */
    CHUNKED_BAD,
} chunked_state;

/* Takes the next piece of the body off *rest. *c is {0} at the start of a body. */
chunked_state chunked_take(chunked *c, span *rest, span *piece);

#endif
