/* A node's compressed codes: its Codes messages, range-coded on their way (bits/code_compressor.h), become packed ones
 * again before anybody else sees them. Counts on the way what coding saved and what it could. */
#ifndef FEWBIT_DECODER_SERVER_CODED_H
#define FEWBIT_DECODER_SERVER_CODED_H

#include "decoder_server/report.h"
#include "wire/message.h"

typedef struct coded coded;

/* For codes of `bits`. Allocates all it will ever need. */
err coded_new(coded **c, uint32_t bits);
void coded_free(coded *c);

/* The node has a new connection; the counts go on. */
void coded_reset(coded *c);

/* Codes that are coded get their `bits`, borrowed until the next call; all else stays as it is. `c` is NULL where
 * coding was not agreed on. ERR_INPUT, with its line: the connection must end. */
err coded_take(coded *c, message *m);

/* `c` may be NULL: nothing was coded. */
void coded_report(const coded *c, report_coding *r);

/* Payload bits of a node's codes as they came. */
static inline uint64_t coded_payload_bits(const Fewbit__Codes *c, uint32_t bits) {
    return c->sequence > 0 ? 8 * (uint64_t)c->coded.len : ((uint64_t)c->more + 1) * bits;
}

#endif
