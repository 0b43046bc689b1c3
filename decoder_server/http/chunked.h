/* A chunked body as it comes in (RFC 9112, section 7.1): pure; not trusted. Line ends are CRLF; chunk extensions and
 * trailers are read, bounded, and do not count. */
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
    CHUNKED_END,   /* of the body; *rest is what is behind it */
    CHUNKED_BAD,
} chunked_state;

/* Takes the next of the body off *rest. A body begins with {0}. */
chunked_state chunked_take(chunked *c, span *rest, span *piece);

#endif
