#include "bits/code_compressor.h"

#include "base/byte_reader.h"
#include "bits/pack.h"
#include "bits/range_coder.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct code_compressor {
    uint32_t bits, max_rows;
    uint32_t sequence; /* of the frame before; 0: none */
    uint32_t model;    /* of that frame */
    size_t context_count;
    range_probability *contexts;
    uint8_t *compressed; /* [range_bytes_max(max_rows * bits)] */
    uint8_t *packed;     /* [max_rows, bits] */
};

static size_t contexts_for(uint32_t bits) {
    return bits <= CODE_COMPRESSOR_TREE_BITS ? (size_t)1 << bits : (size_t)bits << CODE_COMPRESSOR_ORDER;
}

err code_compressor_new(code_compressor **out, uint32_t bits, uint32_t max_rows) {
    code_compressor *s = calloc(1, sizeof *s);
    if (!s) {
        return err_fail(ERR_MEMORY, "no memory for a stream of codes");
    }
    size_t all_bits = (size_t)max_rows * bits;
    s->bits = bits;
    s->max_rows = max_rows;
    s->context_count = contexts_for(bits);
    s->contexts = calloc(s->context_count, sizeof *s->contexts);
    s->compressed = malloc(range_bytes_max(all_bits));
    s->packed = malloc(pack_bytes(all_bits));
    if (!s->contexts || !s->compressed || !s->packed) {
        code_compressor_free(s);
        return err_fail(ERR_MEMORY, "no memory for a stream of codes");
    }
    *out = s;
    return ERR_OK;
}

void code_compressor_free(code_compressor *s) {
    if (s) {
        free(s->contexts);
        free(s->compressed);
        free(s->packed);
        free(s);
    }
}

void code_compressor_reset(code_compressor *s) {
    s->sequence = 0;
}

static void start_afresh(code_compressor *s) {
    for (size_t i = 0; i < s->context_count; i++) {
        s->contexts[i] = range_even();
    }
}

/* Of the bit at `place`; `before` is the code's bits so far, the last one lowest, after a leading 1. */
static range_probability *context_of(code_compressor *s, uint32_t place, uint64_t before) {
    return s->bits <= CODE_COMPRESSOR_TREE_BITS
               ? &s->contexts[before]
               : &s->contexts[(size_t)place << CODE_COMPRESSOR_ORDER | (before & ((1u << CODE_COMPRESSOR_ORDER) - 1))];
}

/* Over all that a frame says. */
static uint32_t check_of(const code_compressor *s, const code_compressor_frame *f, const uint8_t *packed) {
    uint8_t head[20];
    byte_put_u32_le(head, f->model);
    byte_put_u64_le(head + 4, f->first);
    byte_put_u32_le(head + 12, f->rows);
    byte_put_u32_le(head + 16, f->sequence);
    uLong sum = crc32(0, head, sizeof head);
    sum =
        f->length > 0 ? crc32(sum, f->compressed, (uInt)f->length) : sum; /* of no bytes at NULL it would start anew */
    return (uint32_t)crc32(sum, packed, (uInt)pack_bytes((size_t)f->rows * s->bits));
}

void code_compressor_encode(code_compressor *s, const uint8_t *packed, code_compressor_frame *f) {
    if (s->sequence == 0 || s->sequence == UINT32_MAX || s->model != f->model) {
        start_afresh(s);
        s->sequence = 0;
    }
    s->model = f->model;
    f->sequence = ++s->sequence;
    range_encoder e;
    range_encoder_start(&e, s->compressed);
    size_t at = 0;
    for (uint32_t row = 0; row < f->rows; row++) {
        uint64_t before = 1;
        for (uint32_t place = 0; place < s->bits; place++, at++) {
            unsigned bit = packed[at / 8] >> (at % 8) & 1;
            range_encode(&e, context_of(s, place, before), bit);
            before = before << 1 | bit;
        }
    }
    f->compressed = range_encoder_end(&e, &f->length);
    f->check = check_of(s, f, packed);
}

static void decode_rows(code_compressor *s, const code_compressor_frame *f) {
    range_decoder d;
    range_decoder_start(&d, f->compressed, f->length);
    memset(s->packed, 0, pack_bytes((size_t)f->rows * s->bits));
    size_t at = 0;
    for (uint32_t row = 0; row < f->rows; row++) {
        uint64_t before = 1;
        for (uint32_t place = 0; place < s->bits; place++, at++) {
            unsigned bit = range_decode(&d, context_of(s, place, before));
            s->packed[at / 8] |= (uint8_t)(bit << (at % 8));
            before = before << 1 | bit;
        }
    }
}

err code_compressor_decode(code_compressor *s, const code_compressor_frame *f, const uint8_t **packed) {
    uint32_t expected = s->sequence + 1;
    bool is_fresh = f->sequence == 1, is_next = s->sequence > 0 && f->sequence == expected && f->model == s->model;
    s->sequence = 0; /* unless all is well */
    if (f->rows == 0 || f->rows > s->max_rows) {
        return err_fail(ERR_INPUT, "a compressed frame of %u codes: it must have 1 to %u", f->rows, s->max_rows);
    }
    if (!is_fresh && !is_next) {
        return err_fail(ERR_INPUT, "compressed frame %u of model %u came where frame %u was due", f->sequence, f->model,
                        expected);
    }
    if (f->length > range_bytes_max((size_t)f->rows * s->bits)) {
        return err_fail(ERR_INPUT, "compressed frame %u has %zu bytes, more than %u codes can take", f->sequence,
                        f->length, f->rows);
    }
    if (is_fresh) {
        start_afresh(s);
    }
    decode_rows(s, f);
    if (check_of(s, f, s->packed) != f->check) {
        return err_fail(ERR_INPUT, "compressed frame %u is not what was sent: its checksum differs", f->sequence);
    }
    s->sequence = f->sequence;
    s->model = f->model;
    *packed = s->packed;
    return ERR_OK;
}
