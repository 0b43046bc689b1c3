/* A question: what is to be classified, portion by portion or by a sample's id. Plain data.
 *
 * It borrows what it points to. One that has to wait is packed into bytes, and read from them again. */
#ifndef FEWBIT_DECODER_SERVER_CORE_QUESTION_H
#define FEWBIT_DECODER_SERVER_CORE_QUESTION_H

#include "base/dynbuf.h"
#include "data/partition.h"
#include "wire/message.h"

typedef struct question_portion {
    const uint8_t *bytes;
    size_t length; /* 0: it is left out, and missing in the answer */
    Fewbit__PortionFormat format;
} question_portion;

typedef struct question {
    const char *sample;               /* its id: every node takes its own portion of it. NULL: they are in `portions` */
    const question_portion *portions; /* one for each of the experiment's */
} question;

/* Which portions are asked of: bit k is portion k's. */
uint64_t question_portions(const question *q, uint32_t portions);

/* Appends a question to `to`; a failure is the buffer's (dynbuf_check). */
void question_pack(dynbuf *to, const question *q, uint32_t portions);

/* A question that was packed, which borrows `bytes`; returns what follows it. Its portions are put into `taken`. */
const uint8_t *question_unpack(const uint8_t *bytes, uint32_t portions, question *q,
                               question_portion taken[PARTITION_PORTIONS_MAX]);

#endif
