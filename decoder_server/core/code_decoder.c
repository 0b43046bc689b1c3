#include "decoder_server/core/code_decoder.h"

#include "bits/code_compressor.h"
#include "bits/code_entropy.h"

#include <stdlib.h>

struct code_decoder {
    uint32_t bits;
    code_compressor *stream;
    code_entropy tally;
    uint64_t frames, refused, coded_bits;
    Fewbit__Codes unpacked; /* the message last taken */
};

err code_decoder_new(code_decoder **out, uint32_t bits) {
    code_decoder *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for compressed codes");
    }
    c->bits = bits;
    err e = code_compressor_new(&c->stream, bits, CODE_COMPRESSOR_ROWS_MAX);
    e = e ? e : code_entropy_init(&c->tally, bits);
    if (e) {
        code_decoder_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void code_decoder_free(code_decoder *c) {
    if (c) {
        code_compressor_free(c->stream);
        code_entropy_free(&c->tally);
        free(c);
    }
}

void code_decoder_reset(code_decoder *c) {
    code_compressor_reset(c->stream);
}

static err decode(code_decoder *c, const Fewbit__Codes *codes) {
    if (codes->bits.len > 0) {
        return err_fail(ERR_INPUT, "a Codes frame is both packed and compressed");
    }
    if (codes->more >= CODE_COMPRESSOR_ROWS_MAX) {
        return err_fail(ERR_INPUT, "a compressed frame of more than %d codes", CODE_COMPRESSOR_ROWS_MAX);
    }
    code_compressor_frame f = {codes->model, codes->first,           codes->more + 1,      codes->sequence,
                               codes->check, codes->compressed.data, codes->compressed.len};
    const uint8_t *packed;
    err e = code_compressor_decode(c->stream, &f, &packed);
    if (!e) {
        c->frames++;
        c->coded_bits += code_decoder_payload_bits(codes, c->bits);
        code_entropy_add(&c->tally, packed, f.rows);
        c->unpacked = *codes;
        c->unpacked.bits = (ProtobufCBinaryData){pack_bytes((size_t)f.rows * c->bits), (uint8_t *)(uintptr_t)packed};
    }
    return e;
}

err code_decoder_take(code_decoder *c, message *m) {
    const Fewbit__Codes *codes = m->body.codes;
    if (m->type != MESSAGE_CODES || (codes->sequence == 0 && codes->compressed.len == 0)) {
        return ERR_OK;
    }
    if (!c) {
        return err_fail(ERR_INPUT, "a compressed Codes frame, though the node did not ask to send such");
    }
    err e = decode(c, codes);
    if (e) {
        c->refused++;
        return e;
    }
    m->body.codes = &c->unpacked;
    return ERR_OK;
}

void code_decoder_stats(const code_decoder *c, stats_coding *r) {
    *r = (stats_coding){0};
    if (!c) {
        return;
    }
    *r = (stats_coding){
        .frames = c->frames,
        .refused = c->refused,
        .samples = c->tally.samples,
        .packed_bits = c->tally.samples * c->bits,
        .coded_bits = c->coded_bits,
        .bit_entropy = code_entropy_by_bit(&c->tally),
        .code_entropy = code_entropy_by_code(&c->tally),
    };
}
