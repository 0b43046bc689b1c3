/* The entropy of one encoder's codes: what a compressor can come down to.
 *
 * The entropies are those of the frequencies counted, so with few samples for many codes they come out too low. */
#ifndef FEWBIT_BITS_CODE_ENTROPY_H
#define FEWBIT_BITS_CODE_ENTROPY_H

#include "base/err.h"
#include "bits/pack.h"

enum { CODE_ENTROPY_BITS_MAX = 12 }; /* whole codes are counted up to here */

typedef struct code_entropy {
    uint32_t bits;
    uint64_t samples;
    uint64_t ones[PACK_CODE_BITS_MAX];
    uint64_t *codes; /* [1 << bits]; NULL: longer codes */
} code_entropy;

err code_entropy_init(code_entropy *t, uint32_t bits);
void code_entropy_free(code_entropy *t);
void code_entropy_clear(code_entropy *t);

/* Adds packed [rows, bits]. */
void code_entropy_add(code_entropy *t, const uint8_t *packed, size_t rows);

/* Bits a sample if each bit was coded by itself (order 0): the sum of their entropies. */
double code_entropy_by_bit(const code_entropy *t);

/* Bits a sample if whole codes were: their joint entropy. That of the bits where codes are not counted. */
double code_entropy_by_code(const code_entropy *t);

#endif
