/* A node's compressed codes: its Codes messages, range-coded on their way (bits/code_compressor.h), become packed ones
 * again before anybody else sees them. Counts on the way what coding saved and what it could. */
#ifndef FEWBIT_DECODER_SERVER_CORE_CODE_DECODER_H
#define FEWBIT_DECODER_SERVER_CORE_CODE_DECODER_H

#include "decoder_server/core/stats.h"

typedef struct code_decoder code_decoder;

/* For codes of `bits`. Allocates all it will ever need. */
err code_decoder_new(code_decoder **c, uint32_t bits);
void code_decoder_free(code_decoder *c);

/* The node has a new connection; the counts go on. */
void code_decoder_reset(code_decoder *c);

/* Compressed Codes get their `bits`, borrowed until the next call; all else stays as it is. `c` is NULL where
 * coding was not agreed on. ERR_INPUT, with its line: the connection must end. */
err code_decoder_take(code_decoder *c, message *m);

/* `c` may be NULL: nothing was compressed. */
void code_decoder_stats(const code_decoder *c, stats_coding *r);

/* Payload bits of a node's codes as they came. */
static inline uint64_t code_decoder_payload_bits(const Fewbit__Codes *c, uint32_t bits) {
    return c->sequence > 0 ? 8 * (uint64_t)c->compressed.len : ((uint64_t)c->more + 1) * bits;
}

#endif
