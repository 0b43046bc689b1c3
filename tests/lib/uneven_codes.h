/* Codewords whose portions differ in their bits, and the plain way to write and read them: bit by bit. */
#ifndef FEWBIT_TESTS_LIB_UNEVEN_CODES_H
#define FEWBIT_TESTS_LIB_UNEVEN_CODES_H

#include "base/rng.h"
#include "bits/codeword.h"

#include <string.h>

enum { UNEVEN_PORTIONS = 4 };

/* 1, 64, 7 and 12 bits, each sent whole. */
static inline codeword uneven_whole(void) {
    static const uint32_t bits[UNEVEN_PORTIONS] = {1, 64, 7, 12};
    codeword c = codeword_empty();
    for (uint32_t k = 0; k < UNEVEN_PORTIONS; k++) {
        codeword_append(&c, &(refinement){1, {bits[k]}});
    }
    return c;
}

/* 4, 64, 7 and 12 bits in three stages. */
static inline codeword uneven_staged(void) {
    static const refinement each[UNEVEN_PORTIONS] = {
        {3, {1, 3, 4}}, {3, {30, 31, 64}}, {3, {5, 6, 7}}, {3, {2, 11, 12}}};
    codeword c = codeword_empty();
    for (uint32_t k = 0; k < UNEVEN_PORTIONS; k++) {
        codeword_append(&c, &each[k]);
    }
    return c;
}

/* The bits of a code from `from` to before `to`; all others are 0. */
static inline uint64_t uneven_cut(uint64_t code, uint32_t from, uint32_t to) {
    uint64_t cut = 0;
    for (uint32_t i = from; i < to; i++) {
        cut |= code & (uint64_t)1 << i;
    }
    return cut;
}

/* The made-up code of a portion of a sample. */
static inline uint64_t uneven_code(const codeword *c, uint64_t sample, uint32_t portion) {
    rng r = rng_at(1 + portion, RNG_TEST, (uint32_t)sample);
    uint64_t high = rng_u32(&r);
    return uneven_cut(high << 32 | rng_u32(&r), 0, codeword_portion_bits(c, portion));
}

/* Appends bits [from, to) of a code to a stream of *at bits. */
static inline void uneven_put(uint8_t *stream, size_t *at, uint64_t code, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++, ++*at) {
        uint8_t mask = (uint8_t)(1u << *at % 8);
        stream[*at / 8] = (uint8_t)(code >> i & 1 ? stream[*at / 8] | mask : stream[*at / 8] & ~mask);
    }
}

#endif
