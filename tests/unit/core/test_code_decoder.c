/* Coded Codes messages on the server's side: packed again where all is well, refused where anything is not. */
#include "tests/lib/memory.h"
#include "tests/lib/uneven_codes.h"

#include "bits/code_compressor.h"
#include "bits/pack.h"
#include "decoder_server/core/code_decoder.h"

#include <math.h>
#include <string.h>

enum { BITS = 4, ROWS = 40, PAYLOAD_MAX = 4096 };

typedef struct bench {
    code_compressor *from;
    code_decoder *to;
    arena unpacked;
    uint8_t packed[ROWS * BITS / 8];
    uint8_t payload[PAYLOAD_MAX];
    size_t length;
    message got;
} bench;

static int open_bench(void **state) {
    static bench b;
    memset(&b, 0, sizeof b);
    assert_int_equal(code_compressor_new(&b.from, BITS, ROWS), ERR_OK);
    assert_int_equal(code_decoder_new(&b.to, BITS), ERR_OK);
    assert_int_equal(arena_init(&b.unpacked, message_arena_size(PAYLOAD_MAX)), ERR_OK);
    for (size_t i = 0; i < sizeof b.packed; i++) {
        b.packed[i] = (uint8_t)(0x11 * (i % 3));
    }
    *state = &b;
    return 0;
}

static int close_bench(void **state) {
    bench *b = *state;
    code_compressor_free(b->from);
    code_decoder_free(b->to);
    arena_free(&b->unpacked);
    return 0;
}

static void put_frame(bench *b, const Fewbit__Codes *codes) {
    uint8_t frame[PAYLOAD_MAX + FRAME_HEADER];
    b->length = message_frame_size(&codes->base) - FRAME_HEADER;
    assert_true(b->length <= PAYLOAD_MAX);
    message_pack_frame(MESSAGE_CODES, &codes->base, frame);
    memcpy(b->payload, frame + FRAME_HEADER, b->length);
}

/* The next frame of the stream, as a message. */
static Fewbit__Codes next_codes(bench *b) {
    code_compressor_frame f = {.model = 600, .first = 100, .rows = ROWS};
    code_compressor_encode(b->from, b->packed, &f);
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = f.model;
    codes.first = f.first;
    codes.more = f.rows - 1;
    codes.sequence = f.sequence;
    codes.compressed = (ProtobufCBinaryData){f.length, (uint8_t *)(uintptr_t)f.compressed};
    codes.check = f.check;
    return codes;
}

static err take(bench *b, const uint8_t *payload, size_t length) {
    err e = message_unpack(MESSAGE_CODES, payload, length, &b->unpacked, &b->got);
    return e ? e : code_decoder_take(b->to, &b->got);
}

static void coded_codes_become_packed_ones(void **state) {
    bench *b = *state;
    size_t coded_bytes = 0;
    for (int i = 0; i < 5; i++) {
        Fewbit__Codes codes = next_codes(b);
        put_frame(b, &codes);
        assert_int_equal(take(b, b->payload, b->length), ERR_OK);
        const Fewbit__Codes *got = b->got.body.codes;
        assert_int_equal(got->bits.len, sizeof b->packed);
        assert_memory_equal(got->bits.data, b->packed, sizeof b->packed);
        assert_true(got->model == 600 && got->first == 100 && got->more == ROWS - 1);
        assert_int_equal(code_decoder_payload_bits(got, BITS), 8 * codes.compressed.len);
        coded_bytes += codes.compressed.len;
    }
    stats_coding r;
    code_decoder_stats(b->to, &r);
    assert_true(r.frames == 5 && r.refused == 0 && r.samples == 5 * ROWS);
    assert_true(r.packed_bits == 5 * ROWS * BITS && r.coded_bits == 8 * coded_bytes);
    assert_true(r.code_entropy > 0 && r.code_entropy < r.bit_entropy && r.bit_entropy < BITS);
}

static void packed_codes_stay_as_they_are(void **state) {
    bench *b = *state;
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.more = ROWS - 1;
    codes.bits = (ProtobufCBinaryData){sizeof b->packed, b->packed};
    put_frame(b, &codes);
    assert_int_equal(take(b, b->payload, b->length), ERR_OK);
    assert_int_equal(b->got.body.codes->bits.len, sizeof b->packed);
    assert_int_equal(code_decoder_payload_bits(b->got.body.codes, BITS), ROWS * BITS);
    message m = {.type = MESSAGE_CODES, .body.codes = &codes};
    assert_int_equal(code_decoder_take(NULL, &m), ERR_OK);
    assert_ptr_equal(m.body.codes, &codes);
}

static void other_messages_stay_as_they_are(void **state) {
    bench *b = *state;
    Fewbit__Codes codes = next_codes(b);
    message m = {.type = MESSAGE_ANSWER, .body.codes = &codes};
    assert_int_equal(code_decoder_take(b->to, &m), ERR_OK);
    assert_ptr_equal(m.body.codes, &codes); /* without bits, it fits nowhere */
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    m = (message){.type = MESSAGE_READY, .body.ready = &ready};
    assert_int_equal(code_decoder_take(NULL, &m), ERR_OK);
}

static void assert_refused(bench *b, const Fewbit__Codes *codes, code_decoder *to, const char *says) {
    message m = {.type = MESSAGE_CODES, .body.codes = codes};
    (void)b;
    assert_int_equal(code_decoder_take(to, &m), ERR_INPUT);
    assert_non_null(strstr(err_text(), says));
}

static void what_does_not_fit_is_refused_and_counted(void **state) {
    bench *b = *state;
    Fewbit__Codes good = next_codes(b), bad = good;
    assert_refused(b, &good, NULL, "did not ask");
    bad.bits = (ProtobufCBinaryData){sizeof b->packed, b->packed};
    assert_refused(b, &bad, b->to, "both packed and compressed");
    bad = good;
    bad.more = UINT32_MAX;
    assert_refused(b, &bad, b->to, "more than 8192 codes");
    bad = good;
    bad.sequence = 0;
    assert_refused(b, &bad, b->to, "frame 0");
    bad = good;
    bad.check++;
    assert_refused(b, &bad, b->to, "checksum");
    stats_coding r;
    code_decoder_stats(b->to, &r);
    assert_true(r.frames == 0 && r.refused == 4 && r.samples == 0);
    code_decoder_stats(NULL, &r);
    assert_true(r.refused == 0);
}

/* A frame whose every byte is changed to every other: either it is refused, or it still says the same. */
static void every_changed_byte_of_a_frame_is_seen(void **state) {
    bench *b = *state;
    Fewbit__Codes first = next_codes(b);
    put_frame(b, &first);
    uint8_t good[PAYLOAD_MAX], changed[PAYLOAD_MAX];
    memcpy(good, b->payload, b->length);
    size_t length = b->length, misread = 0;
    for (size_t at = 0; at < length; at++) {
        for (int by = 1; by < 256; by++) {
            memcpy(changed, good, length);
            changed[at] ^= (uint8_t)by;
            if (take(b, changed, length) == ERR_OK) {
                misread++;
            }
        }
    }
    assert_int_equal(misread, 0);
    for (size_t cut = 0; cut < length; cut++) {
        err e = take(b, good, cut);
        assert_true(e || b->got.body.codes->bits.len == 0); /* without its end it may be one that fits nowhere */
    }
    assert_int_equal(take(b, good, length), ERR_OK);
}

static void a_new_connection_starts_afresh(void **state) {
    bench *b = *state;
    Fewbit__Codes codes = next_codes(b);
    message m = {.type = MESSAGE_CODES, .body.codes = &codes};
    assert_int_equal(code_decoder_take(b->to, &m), ERR_OK);
    code_decoder_reset(b->to);
    codes = next_codes(b);
    assert_refused(b, &codes, b->to, "where frame 1 was due");
}

/* A portion's decoder takes its own bits, and codes of others are refused. */
static void every_width_is_decoded(void **state) {
    (void)state;
    static const uint32_t widths[] = {1, 7, 12, 64};
    enum { WIDTHS = sizeof widths / sizeof widths[0], CODES = 40 };
    for (size_t i = 0; i < WIDTHS; i++) {
        uint8_t packed[CODES * 8] = {0};
        size_t bits = 0;
        codeword layout = codeword_empty();
        codeword_append(&layout, &(refinement){1, {widths[i]}});
        for (uint32_t row = 0; row < CODES; row++) {
            uneven_put(packed, &bits, uneven_code(&layout, row % 9, 0), 0, widths[i]);
        }
        code_compressor *from;
        assert_int_equal(code_compressor_new(&from, widths[i], CODES), ERR_OK);
        code_compressor_frame f = {.model = 1, .first = 5, .rows = CODES};
        code_compressor_encode(from, packed, &f);
        Fewbit__Codes codes = FEWBIT__CODES__INIT;
        codes.model = f.model;
        codes.first = f.first;
        codes.more = f.rows - 1;
        codes.sequence = f.sequence;
        codes.compressed = (ProtobufCBinaryData){f.length, (uint8_t *)(uintptr_t)f.compressed};
        codes.check = f.check;
        for (size_t k = 0; k < WIDTHS; k++) {
            code_decoder *to;
            message m = {.type = MESSAGE_CODES, .body.codes = &codes};
            assert_int_equal(code_decoder_new(&to, widths[k]), ERR_OK);
            assert_int_equal(code_decoder_take(to, &m), k == i ? ERR_OK : ERR_INPUT);
            if (k == i) {
                assert_int_equal(m.body.codes->bits.len, pack_bytes(bits));
                assert_memory_equal(m.body.codes->bits.data, packed, pack_bytes(bits));
            }
            stats_coding r;
            code_decoder_stats(to, &r);
            assert_int_equal(r.packed_bits, k == i ? bits : 0);
            code_decoder_free(to);
        }
        code_compressor_free(from);
    }
}

static void nothing_is_allocated(void **state) {
    memory_skip_if_sanitized();
    bench *b = *state;
    memory_count_start();
    for (int i = 0; i < 50; i++) {
        Fewbit__Codes codes = next_codes(b);
        put_frame(b, &codes);
        assert_int_equal(take(b, b->payload, b->length), ERR_OK);
    }
    memory_count_stop();
    assert_allocated_nothing("compressed messages");
}

#define CODED_TEST(f) cmocka_unit_test_setup_teardown(f, open_bench, close_bench)

int main(void) {
    const struct CMUnitTest tests[] = {
        CODED_TEST(coded_codes_become_packed_ones),        CODED_TEST(packed_codes_stay_as_they_are),
        CODED_TEST(other_messages_stay_as_they_are),       CODED_TEST(what_does_not_fit_is_refused_and_counted),
        CODED_TEST(every_changed_byte_of_a_frame_is_seen), CODED_TEST(a_new_connection_starts_afresh),
        cmocka_unit_test(every_width_is_decoded),          CODED_TEST(nothing_is_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
