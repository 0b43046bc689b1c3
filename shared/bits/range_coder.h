/* An adaptive binary range coder: bits of uneven probability take less than a bit each.
 *
 * Range coding is G. N. N. Martin, "Range encoding: an algorithm for removing redundancy from a digitised message"
 * (1979). This is the form that LZMA uses (I. Pavlov, the LZMA specification; the counted carry is M. Schindler's): a
 * range of 32 bits, bytes shifted out at the top, a carry kept back behind a run of 0xFF, and no arithmetic but that of
 * integers. What differs: the byte that LZMA always begins with, a 0, is left out, and so are the zeros at the end,
 * which the decoder supplies.
 *
 * A probability adapts by counting: after n bits it moves by 1 / (n + 1.5) of what it was wrong by, down to 1 /
 * RANGE_MEMORY; so it is nearly a frequency at first and forgets slowly later. It starts at one half. */
#ifndef FEWBIT_BITS_RANGE_CODER_H
#define FEWBIT_BITS_RANGE_CODER_H

#include <stddef.h>
#include <stdint.h>

enum {
    RANGE_MEMORY = 1023,
    RANGE_BIT_COST_MAX = 11, /* bits that one bit takes at most: no probability is below 2^-11 */
    RANGE_COUNT_BITS = 10,
    RANGE_CODED_BITS = 16, /* of a probability, as the coder takes it */
    RANGE_TOP = 1 << 24,   /* the range stays at or above it */
};

/* The probability that a bit is 1, and in its lowest RANGE_COUNT_BITS how many bits it has seen. */
typedef uint32_t range_probability;

static inline range_probability range_even(void) {
    return (range_probability)1 << 31;
}

typedef struct range_encoder {
    uint64_t low; /* of the range; bit 32 is the carry */
    uint32_t range;
    uint8_t kept;     /* the last byte that a carry may still change */
    uint64_t pending; /* that byte and the 0xFF after it */
    uint8_t *bytes;   /* the first of them is the 0 that is left out */
    size_t length;
} range_encoder;

typedef struct range_decoder {
    uint32_t code, range;
    const uint8_t *next, *end;
} range_decoder;

/* Bytes that n bits take at most, the one left out included. */
static inline size_t range_bytes_max(size_t n) {
    return (n * RANGE_BIT_COST_MAX + 7) / 8 + 8;
}

/* `to` has room for range_bytes_max of the bits that will come. */
void range_encoder_start(range_encoder *e, uint8_t *to);

/* Ends the stream; the coded bytes lie in the encoder's buffer. */
const uint8_t *range_encoder_end(range_encoder *e, size_t *length);

/* Any bytes can be decoded, to something: whether it is what was encoded, a checksum must tell. Never reads past
 * `length`. */
void range_decoder_start(range_decoder *d, const uint8_t *from, size_t length);

/* The rest is what runs for every bit. */

extern const uint32_t range_shares[RANGE_MEMORY + 1]; /* 2^16 / (n + 1.5) */

static inline void range_adapt(range_probability *p, unsigned bit) {
    uint32_t count = *p & ((1u << RANGE_COUNT_BITS) - 1);
    int64_t scaled = *p >> RANGE_COUNT_BITS, aim = bit ? (1 << (32 - RANGE_COUNT_BITS)) - 1 : 0;
    scaled += (aim - scaled) * (int64_t)range_shares[count] / (1 << 16);
    *p = (uint32_t)scaled << RANGE_COUNT_BITS | (count < RANGE_MEMORY ? count + 1 : count);
}

/* The part of the range that stands for a 1; neither part is ever empty. */
static inline uint32_t range_of_one(uint32_t range, range_probability p) {
    const uint32_t least = 1u << (RANGE_CODED_BITS - RANGE_BIT_COST_MAX), most = (1u << RANGE_CODED_BITS) - least;
    uint32_t coded = p >> (32 - RANGE_CODED_BITS);
    coded = coded < least ? least : coded > most ? most : coded;
    return (uint32_t)((uint64_t)range * coded >> RANGE_CODED_BITS);
}

/* Moves the top byte of `low` out. */
void range_shift(range_encoder *e);

static inline void range_encode(range_encoder *e, range_probability *p, unsigned bit) {
    uint32_t ones = range_of_one(e->range, *p);
    e->low += bit ? 0 : ones;
    e->range = bit ? ones : e->range - ones;
    range_adapt(p, bit);
    while (e->range < RANGE_TOP) {
        e->range <<= 8;
        range_shift(e);
    }
}

static inline unsigned range_decode(range_decoder *d, range_probability *p) {
    uint32_t ones = range_of_one(d->range, *p);
    unsigned bit = d->code < ones;
    d->code -= bit ? 0 : ones;
    d->range = bit ? ones : d->range - ones;
    range_adapt(p, bit);
    while (d->range < RANGE_TOP) {
        d->range <<= 8;
        d->code = d->code << 8 | (d->next < d->end ? *d->next++ : 0u);
    }
    return bit;
}

#endif
