/* Bits in bytes, without gaps.
 *
 * Bit i of a stream is bit (i mod 8), counted from the least significant, of byte i / 8. A batch of codes is
 * one stream: sample 0's bits in the order of the encoder's outputs, then sample 1's, with nothing between.
 * Unused bits of the last byte are 0. */
#ifndef FEWBIT_BITS_PACK_H
#define FEWBIT_BITS_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PACK_CODE_BITS_MAX = 64 };

static inline size_t pack_bytes(size_t bits) {
    return (bits + 7) / 8;
}

/* Decides and packs soft [n] into out [pack_bytes(n)]. */
void pack_soft(const float *soft, size_t n, uint8_t *out);

/* Decides soft [width], one code; its bits as pack_get() gives them. */
uint64_t pack_code(const float *soft, unsigned width);

/* out [n] gets 0.0 or 1.0 for n bits of `in`, from bit 0. */
void pack_unpack_soft(const uint8_t *in, size_t n, float *out);

/* `width` bits (1 to 64) of the stream from bit `offset`; the first bit is the least significant. */
static inline uint64_t pack_get(const uint8_t *in, size_t offset, unsigned width) {
    const uint8_t *from = in + offset / 8;
    unsigned have = 8 - (unsigned)(offset % 8);
    uint64_t value = (uint64_t)*from >> (offset % 8);
    for (; have < width; have += 8) {
        value |= (uint64_t) * ++from << have;
    }
    return width < 64 ? value & (((uint64_t)1 << width) - 1) : value;
}

/* Stores the low `width` bits (1 to 64) at bit `offset`, leaving all others as they are. */
void pack_put(uint8_t *out, size_t offset, unsigned width, uint64_t value);

/* Whether the bits after the first n, up to the end of the last byte, are 0. */
bool pack_tail_is_clear(const uint8_t *in, size_t n);

#endif
