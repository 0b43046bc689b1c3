#include "encoder_node/code_sender.h"

#include "bits/pack.h"

#include <string.h>

/* In a shorter frame compression saves less than its number and check cost. */
enum { COMPRESSED_BITS_MIN = 512 };

void code_sender_free(code_sender *s) {
    refinement_buffer_free(s->refinements);
}

void code_sender_disconnected(code_sender *s) {
    if (s->refinements) {
        refinement_buffer_clear(s->refinements);
    }
}

err code_sender_take_stages(code_sender *s, const encoder_model *m, uint32_t wanted, uint32_t *initial_stages) {
    uint32_t count = encoder_model_get_info(m)->refinement.count;
    if (wanted > count) {
        return err_fail(ERR_INPUT, "the server asks for %u stages of bits, there are %u", wanted, count);
    }
    *initial_stages = wanted ? wanted : count;
    return *initial_stages == count || s->refinements ? ERR_OK : refinement_buffer_new(&s->refinements);
}

/* The first stages of each code; the whole of it is kept for what may be asked. Returns the bits. */
static size_t pack_first_stages(code_sender *s, const encoder_model *m, bool on_demand, uint64_t first,
                                const float *soft, uint32_t rows, uint32_t stages) {
    const refinement *r = &encoder_model_get_info(m)->refinement;
    uint32_t width = encoder_model_get_info(m)->bits, upto = r->upto[stages - 1];
    uint8_t *packed = encoder_model_packed(m);
    memset(packed, 0, pack_bytes((size_t)rows * upto));
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t code = pack_code(soft + (size_t)i * width, width);
        pack_put(packed, (size_t)i * upto, upto, refinement_prefix(r, stages - 1, code));
        refinement_buffer_put(s->refinements, on_demand, first + i, encoder_model_number(m), stages, code);
    }
    return (size_t)rows * upto;
}

void code_sender_send(code_sender *s, encoder_model *m, message_type type, uint64_t first, const float *soft,
                      uint32_t rows, uint32_t initial_stages) {
    size_t bits = (size_t)rows * encoder_model_get_info(m)->bits;
    uint8_t *packed = encoder_model_packed(m);
    bool is_whole = initial_stages == encoder_model_get_info(m)->refinement.count;
    if (is_whole) {
        pack_soft(soft, bits, packed);
    } else {
        bits = pack_first_stages(s, m, type == MESSAGE_ANSWER, first, soft, rows, initial_stages);
    }
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = encoder_model_number(m);
    codes.first = first;
    codes.more = rows - 1;
    bool is_worth_it = s->compresses && type == MESSAGE_CODES && is_whole && bits >= COMPRESSED_BITS_MIN;
    code_compressor *compressor = is_worth_it ? encoder_model_compressor(m, rows) : NULL;
    if (compressor) {
        code_compressor_frame f = {.model = codes.model, .first = first, .rows = rows};
        code_compressor_encode(compressor, packed, &f);
        codes.sequence = f.sequence;
        codes.compressed = (ProtobufCBinaryData){f.length, (uint8_t *)(uintptr_t)f.compressed};
        codes.check = f.check;
    } else {
        codes.bits = (ProtobufCBinaryData){pack_bytes(bits), packed};
    }
    node_host_send(&s->host, type, &codes.base);
}

err code_sender_refine(code_sender *s, const encoder_model *m, const Fewbit__RefineRequest *r) {
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    err e = s->refinements ? refinement_buffer_answer(s->refinements, r, &encoder_model_get_info(m)->refinement, &reply)
                           : node_host_out_of_turn("RefineRequest");
    if (!e) {
        node_host_send(&s->host, MESSAGE_REFINEMENT, &reply.base);
    }
    return e;
}
