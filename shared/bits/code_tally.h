/* How often codes of one encoder are seen, and so how many bits they are worth: what a coder can come down to.
 *
 * The entropies are those of the frequencies counted, so with few samples for many codes they come out too low. */
#ifndef FEWBIT_BITS_CODE_TALLY_H
#define FEWBIT_BITS_CODE_TALLY_H

#include "base/err.h"
#include "bits/pack.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CODE_TALLY_BITS_MAX = 12 }; /* whole codes are counted up to here */

typedef struct code_tally {
    uint32_t bits;
    uint64_t samples;
    uint64_t ones[PACK_CODE_BITS_MAX];
    uint64_t *codes; /* [1 << bits]; NULL: longer codes */
} code_tally;

err code_tally_init(code_tally *t, uint32_t bits);
void code_tally_free(code_tally *t);
void code_tally_clear(code_tally *t);

/* Adds packed [rows, bits]. */
void code_tally_add(code_tally *t, const uint8_t *packed, size_t rows);

/* Bits a sample if each bit was coded by itself (order 0): the sum of their entropies. */
double code_tally_bit_entropy(const code_tally *t);

/* Bits a sample if whole codes were: their joint entropy. That of the bits where codes are not counted. */
double code_tally_code_entropy(const code_tally *t);

#endif
