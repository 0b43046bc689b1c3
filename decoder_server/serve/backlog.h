/* The backlog: streamed codes that have found no room yet, of each node in the order in which they came.
 *
 * Bounded, and it knows of which model the codes are. Memory grows with what waits and is kept for the next time. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_BACKLOG_H
#define FEWBIT_DECODER_SERVER_SERVE_BACKLOG_H

#include "base/err.h"

typedef struct backlog backlog;

enum { BACKLOG_MODELS = 2, BACKLOG_BYTES_MAX = 80 << 20 /* of one node: what comes then is lost */ };

/* Codes of consecutive samples from one node, as they came in a frame. */
typedef struct backlog_codes {
    uint64_t first, count, done; /* samples; `done` of them are dealt with */
    const uint8_t *bits;         /* packed; borrowed */
    size_t length;               /* of the bits, bytes */
    uint32_t connection;         /* of the node that brought them */
    uint8_t model;               /* an index below BACKLOG_MODELS */
} backlog_codes;

err backlog_new(backlog **b, uint32_t portions);
void backlog_free(backlog *b);

/* Adds codes after the others of that portion. ERR_FULL, ERR_MEMORY: they are not in. */
err backlog_add(backlog *b, uint32_t portion, const backlog_codes *codes);

/* The first codes of a portion; their bits are borrowed until the next call that changes the backlog. False: none. */
bool backlog_first(const backlog *b, uint32_t portion, backlog_codes *codes);

/* So many samples of the first codes are dealt with, at least as many as before; all of them: the codes go. */
void backlog_set_done(backlog *b, uint32_t portion, uint64_t done);

/* What waits of a portion, with its heads. */
size_t backlog_bytes(const backlog *b, uint32_t portion);

bool backlog_has_model(const backlog *b, uint8_t model);

#endif
