#include "bits/range_coder.h"

#include <stdbool.h>

_Static_assert(RANGE_MEMORY < 1 << RANGE_COUNT_BITS, "the count must fit");

/* A table: a division for every bit would take longer than all the rest. */
#define SHARE(n) (uint32_t)((1 << 17) / (2 * (n) + 3))
#define SHARES_4(n) SHARE(n), SHARE((n) + 1), SHARE((n) + 2), SHARE((n) + 3)
#define SHARES_16(n) SHARES_4(n), SHARES_4((n) + 4), SHARES_4((n) + 8), SHARES_4((n) + 12)
#define SHARES_64(n) SHARES_16(n), SHARES_16((n) + 16), SHARES_16((n) + 32), SHARES_16((n) + 48)
#define SHARES_256(n) SHARES_64(n), SHARES_64((n) + 64), SHARES_64((n) + 128), SHARES_64((n) + 192)
const uint32_t range_shares[RANGE_MEMORY + 1] = {SHARES_256(0), SHARES_256(256), SHARES_256(512), SHARES_256(768)};

/* It is kept back, and the 0xFF after it, while a carry may still come. */
void range_shift(range_encoder *e) {
    bool has_carry = e->low >> 32;
    if (has_carry || e->low < 0xFF000000u) {
        uint8_t carry = has_carry ? 1 : 0, byte = e->kept;
        for (; e->pending > 0; e->pending--) {
            e->bytes[e->length++] = (uint8_t)(byte + carry);
            byte = 0xFF;
        }
        e->kept = (uint8_t)(e->low >> 24);
    }
    e->pending++;
    e->low = (e->low & 0x00FFFFFFu) << 8;
}

void range_encoder_start(range_encoder *e, uint8_t *to) {
    *e = (range_encoder){.range = UINT32_MAX, .pending = 1, .bytes = to};
}

/* Of the numbers in the range, the one with the most zeros at its end: the range spans 2^24, so three bytes at least.
 */
static void shorten(range_encoder *e) {
    uint64_t whole = (uint64_t)1 << 32, byte = RANGE_TOP;
    uint64_t rounded = (e->low + whole - 1) & ~(whole - 1);
    e->low = rounded - e->low < e->range ? rounded : (e->low + byte - 1) & ~(byte - 1);
}

const uint8_t *range_encoder_end(range_encoder *e, size_t *length) {
    shorten(e);
    for (int i = 0; i < 5; i++) {
        range_shift(e);
    }
    while (e->length > 1 && e->bytes[e->length - 1] == 0) {
        e->length--;
    }
    *length = e->length - 1;
    return e->bytes + 1;
}

void range_decoder_start(range_decoder *d, const uint8_t *from, size_t length) {
    *d = (range_decoder){.range = UINT32_MAX, .next = from, .end = from};
    if (length > 0) {
        d->end += length;
    }
    for (int i = 0; i < 4; i++) {
        d->code = d->code << 8 | (d->next < d->end ? *d->next++ : 0u);
    }
}
