#include "decoder_server/serve/ready_batch.h"

#include <string.h>

bool ready_batch_add(ready_batch *b, const assembler_sample *sample, bool is_on_demand, uint64_t now_ns) {
    if (b->count == READY_BATCH_ROWS || (b->count > 0 && b->samples[0].model != sample->model)) {
        return false;
    }
    uint64_t *codes = b->codes + b->count * b->portions;
    uint64_t latest = now_ns + b->max_delay_ns, deadline = sample->opened_ns + b->deadline_ns;
    latest = deadline < latest ? deadline : latest;
    b->latest_start_ns = b->count == 0 || latest < b->latest_start_ns ? latest : b->latest_start_ns;
    memcpy(codes, sample->codes, b->portions * sizeof *codes);
    b->samples[b->count] = *sample;
    b->samples[b->count].codes = codes;
    b->is_on_demand[b->count] = is_on_demand;
    b->ready_ns[b->count++] = now_ns;
    return true;
}

uint64_t ready_batch_start_ns(const ready_batch *b, bool may_wait) {
    if (b->count == 0) {
        return UINT64_MAX;
    }
    return may_wait && b->count < READY_BATCH_ROWS ? b->latest_start_ns : 0;
}

void ready_batch_drop_acks(ready_batch *b, uint32_t portion) {
    for (size_t i = 0; i < b->count; i++) {
        b->samples[i].to_ack &= ~((uint64_t)1 << portion);
    }
}
