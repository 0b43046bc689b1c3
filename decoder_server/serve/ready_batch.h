/* The ready batch: samples that are complete, or past their deadline, and not predicted yet; and when that starts. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_READY_BATCH_H
#define FEWBIT_DECODER_SERVER_SERVE_READY_BATCH_H

#include "decoder_server/serve/assembler.h"

typedef struct ready_batch ready_batch;

/* A batch of up to `rows` samples. A sample waits for company for `max_delay_ns` at most, and never beyond its
 * deadline. */
err ready_batch_new(ready_batch **b, uint32_t rows, uint32_t portions, uint64_t max_delay_ns, uint64_t deadline_ns);
void ready_batch_free(ready_batch *b);

/* Adds a sample, with a copy of its codes. False: the batch is full, or of another model. */
bool ready_batch_add(ready_batch *b, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns);
bool ready_batch_is_full(const ready_batch *b);
void ready_batch_clear(ready_batch *b);

size_t ready_batch_count(const ready_batch *b);
const assembler_sample *ready_batch_samples(const ready_batch *b); /* [count] */
bool ready_batch_is_on_demand(const ready_batch *b, size_t at);
uint64_t ready_batch_ready_ns(const ready_batch *b, size_t at); /* when it was added */

/* Whether there are samples of that model. */
bool ready_batch_has_model(const ready_batch *b, uint8_t model);

/* When the batch starts, ns; UINT64_MAX: there is none. `may_wait`: there may be company for it. */
uint64_t ready_batch_start_ns(const ready_batch *b, bool may_wait);

/* The node of a portion is gone: it gets no acks. */
void ready_batch_drop_acks(ready_batch *b, uint32_t portion);

#endif
