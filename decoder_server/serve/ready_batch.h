/* The ready batch: samples that are complete, or past their deadline, and not predicted yet; and when that starts. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_READY_BATCH_H
#define FEWBIT_DECODER_SERVER_SERVE_READY_BATCH_H

#include "decoder_server/serve/assembler.h"

enum { READY_BATCH_ROWS = 1000 };

/* All of one model. To be read; empty while all but the first three is zero. */
typedef struct ready_batch {
    uint32_t portions;
    uint64_t max_delay_ns, deadline_ns; /* a sample waits for company so long at most, and never beyond its deadline */
    size_t count;
    uint64_t latest_start_ns;
    assembler_sample samples[READY_BATCH_ROWS]; /* their codes lie in `codes` */
    bool is_on_demand[READY_BATCH_ROWS];
    uint64_t ready_ns[READY_BATCH_ROWS]; /* when each was added */
    uint64_t *codes;                     /* [READY_BATCH_ROWS, portions] */
} ready_batch;

/* Adds a sample. False: the batch is full, or of another model. */
bool ready_batch_add(ready_batch *b, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns);

/* When the batch starts, ns; UINT64_MAX: there is none. `may_wait`: there may be company for it. */
uint64_t ready_batch_start_ns(const ready_batch *b, bool may_wait);

/* The node of a portion is gone: it gets no acks. */
void ready_batch_drop_acks(ready_batch *b, uint32_t portion);

#endif
