/* The layout of a codeword: each portion's bits side by side.
 *
 * Portions may differ in their bits, 1 to 64 each, and in the widths of their refinement stages; all have as many
 * stages. Bit 0 of portion p is bit offset[p] of the codeword. */
#ifndef FEWBIT_BITS_CODEWORD_H
#define FEWBIT_BITS_CODEWORD_H

#include "bits/refinement.h"

#include <stdbool.h>

enum { CODEWORD_PORTIONS_MAX = 64 };

typedef struct codeword {
    uint32_t portions, stages;
    refinement portion[CODEWORD_PORTIONS_MAX];
    uint32_t offset[CODEWORD_PORTIONS_MAX + 1]; /* offset[portions]: the bits of all portions */
} codeword;

/* A codeword of no portion yet. */
static inline codeword codeword_empty(void) {
    return (codeword){.portions = 0, .stages = 1};
}

/* Puts one more portion, of as many stages as the others, at the end; there is room for it. */
static inline void codeword_append(codeword *c, const refinement *r) {
    c->stages = r->count;
    c->portion[c->portions] = *r;
    c->offset[c->portions + 1] = c->offset[c->portions] + r->upto[r->count - 1];
    c->portions++;
}

/* All bits. */
static inline uint32_t codeword_bits(const codeword *c) {
    return c->offset[c->portions];
}

/* Bits of a portion. */
static inline uint32_t codeword_portion_bits(const codeword *c, uint32_t portion) {
    return c->offset[portion + 1] - c->offset[portion];
}

/* Bits of a portion's first stage, which comes unasked. */
static inline uint32_t codeword_unasked_bits(const codeword *c, uint32_t portion) {
    return c->portion[portion].upto[0];
}

/* Bits of all portions after the first stages, up to this one. */
static inline uint32_t codeword_stage_bits(const codeword *c, uint32_t stage) {
    uint32_t bits = 0;
    for (uint32_t p = 0; p < c->portions; p++) {
        bits += c->portion[p].upto[stage];
    }
    return bits;
}

/* The same bits, sent whole: in one stage. */
static inline codeword codeword_whole(const codeword *c) {
    codeword whole = codeword_empty();
    for (uint32_t p = 0; p < c->portions; p++) {
        codeword_append(&whole, &(refinement){1, {codeword_portion_bits(c, p)}});
    }
    return whole;
}

static inline bool codeword_equal(const codeword *a, const codeword *b) {
    if (a->portions != b->portions || a->stages != b->stages) {
        return false;
    }
    for (uint32_t p = 0; p < a->portions; p++) {
        for (uint32_t stage = 0; stage < a->stages; stage++) {
            if (a->portion[p].upto[stage] != b->portion[p].upto[stage]) {
                return false;
            }
        }
    }
    return true;
}

#endif
