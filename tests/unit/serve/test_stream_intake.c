/* Streamed codes of portions that differ in their bits come out as they were, in whatever pieces they come. */
#include "decoder_server/serve/stream_intake.h"
#include "tests/lib/uneven_codes.h"

#include "bits/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SAMPLES = 30000, PIECE_MAX = 900, EVERY_PORTION = (1 << UNEVEN_PORTIONS) - 1 };

typedef struct bench {
    codeword layout;
    stream_intake *intake;
    uint64_t begin[UNEVEN_PORTIONS]; /* the first id, as nodes are told */
    uint64_t sent[UNEVEN_PORTIONS];
    uint64_t taken;
} bench;

static void on_send(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    bench *b = context;
    const message_body what = {.any = body};
    if (type == MESSAGE_BEGIN) {
        b->begin[portion] = what.begin->first;
    }
}

static void on_pause(void *context, uint32_t portion, bool paused) {
    (void)context, (void)portion, (void)paused;
}

static bool on_take(void *context, const assembler_sample *sample, uint64_t now_ns) {
    bench *b = context;
    (void)now_ns;
    assert_int_equal(sample->have, EVERY_PORTION);
    for (uint32_t k = 0; k < UNEVEN_PORTIONS; k++) {
        uint32_t bits = assembler_sample_bits(sample, &b->layout, k);
        assert_int_equal(bits, b->layout.portion[k].upto[0]);
        uint64_t wanted = uneven_cut(uneven_code(&b->layout, sample->id - b->begin[0], k), 0, bits);
        assert_true(sample->codes[k] == wanted);
    }
    b->taken++;
    stream_intake_answered(b->intake, sample);
    return true;
}

static bool has_room(void *context) {
    (void)context;
    return true;
}

/* The next `count` codes of a portion, in one frame. */
static void send_piece(bench *b, uint32_t portion, uint32_t count) {
    static uint8_t stream[PIECE_MAX * 8];
    size_t bits = 0;
    memset(stream, 0, sizeof stream);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t code = uneven_code(&b->layout, b->sent[portion] + i, portion);
        uneven_put(stream, &bits, code, 0, b->layout.portion[portion].upto[0]);
    }
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.first = b->begin[portion] + b->sent[portion];
    codes.more = count - 1;
    codes.bits = (ProtobufCBinaryData){pack_bytes(bits), stream};
    assert_int_equal(stream_intake_check(b->intake, portion, &codes, 0), ERR_OK);
    stream_intake_take(b->intake, portion, &codes, 0, 0);
    b->sent[portion] += count;
}

/* Some portions run ahead, so that their codes wait in the backlog. */
static void stream_all(bench *b, rng *r) {
    uint64_t next_ns;
    for (uint32_t left = EVERY_PORTION; left;) {
        uint32_t portion = rng_below(r, UNEVEN_PORTIONS), rest = (uint32_t)(SAMPLES - b->sent[portion]);
        uint32_t count = 1 + rng_below(r, PIECE_MAX);
        if (rest > 0) {
            send_piece(b, portion, count < rest ? count : rest);
        }
        left &= b->sent[portion] == SAMPLES ? ~(1u << portion) : UINT32_MAX;
        while (stream_intake_poll(b->intake, EVERY_PORTION, 0, &next_ns)) {
        }
    }
}

static void check_layout(codeword layout) {
    bench b = {.layout = layout};
    const engine_host host = {.send = on_send, .pause = on_pause, .context = &b};
    const stream_intake_events events = {on_take, has_room, &b};
    const stream_intake_config config = {
        .streams = {.portions = UNEVEN_PORTIONS}, .deadline_ns = 1000000000, .layout = &b.layout, .acks = false};
    rng r = rng_at(1, RNG_TEST, layout.stages);
    assert_int_equal(stream_intake_new(&b.intake, &config, &events, &host), ERR_OK);
    for (uint32_t k = 0; k < UNEVEN_PORTIONS; k++) {
        Fewbit__Ready ready = FEWBIT__READY__INIT;
        ready.stream = FEWBIT__STREAM__STREAM_NEW;
        assert_int_equal(stream_intake_ready(b.intake, k, &ready, 0), ERR_OK);
    }
    stream_all(&b, &r);
    assert_int_equal(b.taken, SAMPLES);
    stream_intake_free(b.intake);
}

static void codes_sent_whole_come_out_as_they_were(void **state) {
    (void)state;
    check_layout(uneven_whole());
}

static void of_codes_in_stages_the_first_comes_out(void **state) {
    (void)state;
    check_layout(uneven_staged());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_sent_whole_come_out_as_they_were),
        cmocka_unit_test(of_codes_in_stages_the_first_comes_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
