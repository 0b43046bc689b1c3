#include "decoder_server/serve/ready_batch.h"

#include <stdlib.h>
#include <string.h>

typedef struct origin {
    bool is_on_demand;
    uint64_t ready_ns;
} origin;

struct ready_batch {
    uint32_t rows, portions;
    uint64_t max_delay_ns, deadline_ns;
    size_t count;
    uint64_t latest_start_ns;
    assembler_sample *samples; /* [rows] */
    origin *origins;           /* [rows] */
    uint64_t *codes;           /* [rows, portions] */
};

err ready_batch_new(ready_batch **out, uint32_t rows, uint32_t portions, uint64_t max_delay_ns, uint64_t deadline_ns) {
    ready_batch *b = calloc(1, sizeof *b);
    if (b) {
        *b = (ready_batch){rows, portions, max_delay_ns, deadline_ns, .count = 0};
        b->samples = calloc(rows, sizeof *b->samples);
        b->origins = calloc(rows, sizeof *b->origins);
        b->codes = calloc((size_t)rows * portions, sizeof *b->codes);
    }
    if (!b || !b->samples || !b->origins || !b->codes) {
        ready_batch_free(b);
        return err_fail(ERR_MEMORY, "no memory for a batch of %u samples", rows);
    }
    *out = b;
    return ERR_OK;
}

void ready_batch_free(ready_batch *b) {
    if (b) {
        free(b->samples);
        free(b->origins);
        free(b->codes);
        free(b);
    }
}

bool ready_batch_is_full(const ready_batch *b) {
    return b->count == b->rows;
}

bool ready_batch_add(ready_batch *b, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns) {
    if (b->count > 0 && (b->samples[0].model != sample->model || b->count == b->rows)) {
        return false;
    }
    uint64_t *codes = b->codes + b->count * b->portions;
    uint64_t latest = now_ns + b->max_delay_ns, deadline = sample->opened_ns + b->deadline_ns;
    latest = deadline < latest ? deadline : latest;
    b->latest_start_ns = b->count == 0 || latest < b->latest_start_ns ? latest : b->latest_start_ns;
    memcpy(codes, sample->codes, b->portions * sizeof *codes);
    b->samples[b->count] = *sample;
    b->samples[b->count].codes = codes;
    b->origins[b->count++] = (origin){is_on_demand, now_ns};
    return true;
}

void ready_batch_clear(ready_batch *b) {
    b->count = 0;
}

size_t ready_batch_count(const ready_batch *b) {
    return b->count;
}

const assembler_sample *ready_batch_samples(const ready_batch *b) {
    return b->samples;
}

bool ready_batch_is_on_demand(const ready_batch *b, size_t at) {
    return b->origins[at].is_on_demand;
}

uint64_t ready_batch_ready_ns(const ready_batch *b, size_t at) {
    return b->origins[at].ready_ns;
}

bool ready_batch_has_model(const ready_batch *b, uint8_t model) {
    return b->count > 0 && b->samples[0].model == model;
}

uint64_t ready_batch_start_ns(const ready_batch *b, bool may_wait) {
    if (b->count == 0) {
        return UINT64_MAX;
    }
    return may_wait && !ready_batch_is_full(b) ? b->latest_start_ns : 0;
}

void ready_batch_drop_acks(ready_batch *b, uint32_t portion) {
    for (size_t i = 0; i < b->count; i++) {
        b->samples[i].to_ack &= ~((uint64_t)1 << portion);
    }
}
