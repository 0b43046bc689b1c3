#include "bits/pack.h"

#include "bits/binarize.h"

#include <string.h>

void pack_soft(const float *soft, size_t n, uint8_t *out) {
    memset(out, 0, pack_bytes(n));
    for (size_t i = 0; i < n; i++) {
        out[i / 8] |= (uint8_t)(binarize_bit(soft[i]) << (i % 8));
    }
}

uint64_t pack_code(const float *soft, unsigned width) {
    uint64_t code = 0;
    for (unsigned i = 0; i < width; i++) {
        code |= (uint64_t)binarize_bit(soft[i]) << i;
    }
    return code;
}

void pack_unpack_soft(const uint8_t *in, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) {
        out[i] = (float)((in[i / 8] >> (i % 8)) & 1);
    }
}

void pack_put(uint8_t *out, size_t offset, unsigned width, uint64_t value) {
    unsigned done = 0;
    while (done < width) {
        unsigned skip = (unsigned)((offset + done) % 8);
        unsigned take = 8 - skip < width - done ? 8 - skip : width - done;
        uint8_t mask = (uint8_t)(((1u << take) - 1) << skip);
        uint8_t *byte = &out[(offset + done) / 8];
        *byte = (uint8_t)((*byte & ~mask) | (((value >> done) << skip) & mask));
        done += take;
    }
}

bool pack_tail_is_clear(const uint8_t *in, size_t n) {
    return n % 8 == 0 || (in[n / 8] >> (n % 8)) == 0;
}
