#include "bits/code_entropy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

err code_entropy_init(code_entropy *t, uint32_t bits) {
    *t = (code_entropy){.bits = bits};
    if (bits > CODE_ENTROPY_BITS_MAX) {
        return ERR_OK;
    }
    t->codes = calloc((size_t)1 << bits, sizeof *t->codes);
    return t->codes ? ERR_OK : err_fail(ERR_MEMORY, "no memory to count codes of %u bits", bits);
}

void code_entropy_free(code_entropy *t) {
    free(t->codes);
    t->codes = NULL;
}

void code_entropy_clear(code_entropy *t) {
    t->samples = 0;
    memset(t->ones, 0, sizeof t->ones);
    if (t->codes) {
        memset(t->codes, 0, ((size_t)1 << t->bits) * sizeof *t->codes);
    }
}

static void add_bits(code_entropy *t, uint64_t code, uint64_t times) {
    for (; code; code &= code - 1) {
        t->ones[__builtin_ctzll(code)] += times;
    }
}

void code_entropy_add(code_entropy *t, const uint8_t *packed, size_t rows) {
    for (size_t row = 0; row < rows; row++) {
        uint64_t code = pack_get(packed, row * t->bits, t->bits);
        if (t->codes) {
            t->codes[code]++;
        } else {
            add_bits(t, code, 1);
        }
    }
    t->samples += rows;
}

/* Of something seen `times` of `samples` times. */
static double share_of(uint64_t times, uint64_t samples) {
    double p = (double)times / (double)samples;
    return times > 0 ? -p * log2(p) : 0;
}

double code_entropy_by_bit(const code_entropy *t) {
    code_entropy sums = *t; /* where codes are counted, their bits follow from them */
    for (uint64_t code = 0; t->codes && code >> t->bits == 0; code++) {
        add_bits(&sums, code, t->codes[code]);
    }
    double sum = 0;
    for (uint32_t bit = 0; bit < t->bits && t->samples > 0; bit++) {
        sum += share_of(sums.ones[bit], t->samples) + share_of(t->samples - sums.ones[bit], t->samples);
    }
    return sum;
}

double code_entropy_by_code(const code_entropy *t) {
    if (!t->codes) {
        return code_entropy_by_bit(t);
    }
    double sum = 0;
    for (uint64_t code = 0; code >> t->bits == 0 && t->samples > 0; code++) {
        sum += share_of(t->codes[code], t->samples);
    }
    return sum;
}
