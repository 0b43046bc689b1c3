/* Streams of codes: every code comes back, in the bits that it is worth; what is not the next frame, whole, is refused.
 */
#include "tests/lib/memory.h"

#include "base/rng.h"
#include "bits/code_compressor.h"
#include "bits/code_entropy.h"
#include "bits/pack.h"

#include <math.h>
#include <string.h>

enum { ROWS = 1000, FRAMES = 20, PACKED_MAX = ROWS * 8 };

/* What the codes of a source are like. */
typedef enum kind { EVEN, SKEWED, CONSTANT, CONDITIONAL, KINDS } kind;

/* A code is drawn bit by bit; of CONDITIONAL ones, each bit is most often the one before it, but for every third. */
static uint64_t draw_code(rng *r, kind k, uint32_t bits) {
    static const uint32_t shares[] = {[EVEN] = 128, [SKEWED] = 18, [CONSTANT] = 0, [CONDITIONAL] = 13};
    uint64_t code = 0;
    for (uint32_t i = 0; i < bits; i++) {
        uint64_t bit = (rng_u32(r) & 255u) < shares[k];
        if (k == CONDITIONAL && i > 0) {
            bit ^= (code >> (i - 1) & 1) ^ (i % 3 == 0);
        }
        code |= bit << i;
    }
    return code;
}

static void draw_frame(kind k, uint32_t bits, uint32_t step, uint32_t rows, uint8_t *packed) {
    rng r = rng_at(1, RNG_TEST, step);
    memset(packed, 0, pack_bytes((size_t)rows * bits));
    for (uint32_t row = 0; row < rows; row++) {
        pack_put(packed, (size_t)row * bits, bits, draw_code(&r, k, bits));
    }
}

static double worth_of_a_code(kind k, uint32_t bits) {
    static const double shares[] = {[EVEN] = 0.5, [SKEWED] = 18 / 256.0, [CONSTANT] = 0, [CONDITIONAL] = 13 / 256.0};
    double p = shares[k];
    return p > 0 ? bits * (-p * log2(p) - (1 - p) * log2(1 - p)) : 0;
}

typedef struct ends {
    code_compressor *from, *to;
    uint32_t bits;
} ends;

static ends open_ends(uint32_t bits) {
    ends e = {.bits = bits};
    assert_int_equal(code_compressor_new(&e.from, bits, ROWS), ERR_OK);
    assert_int_equal(code_compressor_new(&e.to, bits, ROWS), ERR_OK);
    return e;
}

static void close_ends(ends *e) {
    code_compressor_free(e->from);
    code_compressor_free(e->to);
}

static code_compressor_frame encode(ends *e, uint32_t model, uint32_t rows, const uint8_t *packed) {
    code_compressor_frame f = {.model = model, .first = 7000, .rows = rows};
    code_compressor_encode(e->from, packed, &f);
    return f;
}

static void assert_arrives(ends *e, const code_compressor_frame *f, const uint8_t *packed) {
    const uint8_t *got;
    if (code_compressor_decode(e->to, f, &got)) {
        fail_msg("%s", err_text());
    }
    assert_memory_equal(got, packed, pack_bytes((size_t)f->rows * e->bits));
}

static void assert_refused(ends *e, const code_compressor_frame *f, const char *says) {
    const uint8_t *got;
    assert_int_equal(code_compressor_decode(e->to, f, &got), ERR_INPUT);
    if (!strstr(err_text(), says)) {
        fail_msg("'%s' does not say '%s'", err_text(), says);
    }
    assert_null(strchr(err_text(), '\n'));
}

static void sources_take_what_they_are_worth(void **state) {
    (void)state;
    static const uint32_t widths[] = {1, 4, 8, 12, 13, 64};
    static uint8_t packed[PACKED_MAX];
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
        for (kind k = EVEN; k < KINDS; k++) {
            ends e = open_ends(widths[w]);
            double took = 0, worth = 0, learning = 0;
            for (uint32_t i = 0; i < FRAMES; i++) {
                draw_frame(k, e.bits, i, ROWS, packed);
                code_compressor_frame f = encode(&e, 1, ROWS, packed);
                assert_arrives(&e, &f, packed);
                bool has_learned = i >= FRAMES / 2;
                took += has_learned ? (double)f.length : 0;
                worth += has_learned ? ROWS * worth_of_a_code(k, e.bits) / 8 : 0;
                learning += (double)f.length;
            }
            /* A draw differs from its source, long codes never cease to learn, and a frame ends on a whole byte. */
            bool is_long = widths[w] > 8;
            if (took > (is_long ? 1.06 : 1.02) * worth + FRAMES / 2 * (is_long ? 10 : 4)) {
                fail_msg("%u bits, kind %d: %.0f bytes for what is worth %.0f", e.bits, k, took, worth);
            }
            assert_true(learning < 1.2 * (2 * worth) + 1500);
            close_ends(&e);
        }
    }
}

static void frames_of_any_length_come_back(void **state) {
    (void)state;
    static uint8_t packed[PACKED_MAX];
    ends e = open_ends(5);
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t rows = 1 + i * 37 % ROWS;
        draw_frame((kind)(i % KINDS), e.bits, i, rows, packed);
        code_compressor_frame f = encode(&e, 1, rows, packed);
        assert_int_equal(f.sequence, i + 1);
        assert_arrives(&e, &f, packed);
    }
    close_ends(&e);
}

static void a_new_link_and_a_new_model_start_afresh(void **state) {
    (void)state;
    static uint8_t packed[PACKED_MAX];
    ends e = open_ends(4);
    draw_frame(SKEWED, e.bits, 0, ROWS, packed);
    size_t first_length = 0;
    for (uint32_t i = 0; i < 6; i++) {
        if (i == 4) {
            code_compressor_reset(e.from); /* the other end learns it from the number */
        }
        code_compressor_frame f = encode(&e, i < 2 ? 1 : 2, ROWS, packed);
        assert_int_equal(f.sequence, 1 + i % 2);
        first_length = i == 0 ? f.length : first_length;
        assert_true(i % 2 == 0 ? f.length == first_length : f.length < first_length);
        assert_arrives(&e, &f, packed);
    }
    close_ends(&e);
}

/* Three frames made; the first arrives. */
static void three_frames(ends *e, code_compressor_frame f[3], uint8_t *packed) {
    static uint8_t kept[3][PACKED_MAX];
    *e = open_ends(4);
    draw_frame(CONDITIONAL, e->bits, 3, 50, packed);
    for (int i = 0; i < 3; i++) {
        f[i] = encode(e, 9, 50, packed);
        memcpy(kept[i], f[i].compressed, f[i].length);
        f[i].compressed = kept[i];
    }
    assert_arrives(e, &f[0], packed);
}

static void what_is_not_next_is_refused(void **state) {
    (void)state;
    static uint8_t packed[PACKED_MAX];
    ends e;
    code_compressor_frame f[3];
    three_frames(&e, f, packed);
    assert_refused(&e, &f[2], "frame 3 of model 9 came where frame 2 was due"); /* one is missing */
    assert_refused(&e, &f[1], "frame 2 of model 9 came where frame 1 was due"); /* it is over */
    assert_arrives(&e, &f[0], packed);                                          /* until it starts afresh */
    assert_arrives(&e, &f[1], packed);
    assert_refused(&e, &f[1], "came where frame 3 was due"); /* twice */
    close_ends(&e);
    three_frames(&e, f, packed);
    code_compressor_frame other = f[1];
    other.model = 8;
    assert_refused(&e, &other, "of model 8");
    other = f[0];
    other.sequence = 0;
    assert_refused(&e, &other, "frame 0");
    close_ends(&e);
}

/* An end that learned something else, from a frame that is good in itself. */
static void a_desynchronised_end_is_seen(void **state) {
    (void)state;
    static uint8_t packed[PACKED_MAX], others[PACKED_MAX];
    ends e;
    code_compressor_frame f[3];
    three_frames(&e, f, packed);
    ends other = open_ends(4);
    draw_frame(SKEWED, 4, 8, 50, others);
    code_compressor_frame first = encode(&other, 9, 50, others);
    assert_arrives(&e, &first, others);
    assert_refused(&e, &f[1], "checksum");
    close_ends(&other);
    close_ends(&e);
}

static void every_changed_byte_is_seen(void **state) {
    (void)state;
    static uint8_t packed[PACKED_MAX];
    ends e;
    code_compressor_frame f[3];
    three_frames(&e, f, packed);
    uint8_t changed[PACKED_MAX];
    for (size_t at = 0; at < f[1].length; at++) {
        for (int by = 1; by < 256; by++) {
            memcpy(changed, f[1].compressed, f[1].length);
            changed[at] ^= (uint8_t)by;
            code_compressor_frame bad = f[1];
            bad.compressed = changed;
            assert_refused(&e, &bad, "checksum");
            assert_arrives(&e, &f[0], packed);
        }
    }
    for (size_t length = 0; length < f[1].length; length++) {
        code_compressor_frame cut = f[1];
        cut.length = length;
        assert_refused(&e, &cut, "checksum");
        assert_arrives(&e, &f[0], packed);
    }
    close_ends(&e);
}

static void what_else_a_frame_says_is_checked(void **state) {
    (void)state;
    static uint8_t packed[PACKED_MAX];
    ends e;
    code_compressor_frame f[3];
    three_frames(&e, f, packed);
    code_compressor_frame bad = f[0];
    bad.first++;
    assert_refused(&e, &bad, "checksum");
    bad = f[0];
    bad.model++;
    assert_refused(&e, &bad, "checksum");
    bad = f[0];
    bad.rows++;
    assert_refused(&e, &bad, "checksum");
    bad.rows = ROWS + 1;
    assert_refused(&e, &bad, "a compressed frame of 1001 codes: it must have 1 to 1000");
    bad.rows = 0;
    assert_refused(&e, &bad, "a compressed frame of 0 codes");
    bad = f[0];
    bad.length = 1 << 20;
    assert_refused(&e, &bad, "more than 50 codes can take");
    close_ends(&e);
}

static void nothing_is_allocated(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    static uint8_t packed[PACKED_MAX];
    ends e = open_ends(12);
    memory_count_start();
    for (uint32_t i = 0; i < FRAMES; i++) {
        draw_frame(SKEWED, e.bits, i, ROWS, packed);
        code_compressor_frame f = encode(&e, 1 + i / 10, ROWS, packed);
        assert_arrives(&e, &f, packed);
    }
    memory_count_stop();
    assert_allocated_nothing("compressed frames");
    close_ends(&e);
}

/* Tallies. */

static void entropies_are_those_of_the_frequencies(void **state) {
    (void)state;
    code_entropy t;
    assert_int_equal(code_entropy_init(&t, 2), ERR_OK);
    assert_true(code_entropy_by_bit(&t) == 0 && code_entropy_by_code(&t) == 0);
    const uint8_t packed[] = {0xE4, 0x00}; /* 00 01 10 11 and four times 00 */
    code_entropy_add(&t, packed, 8);
    double p = 2.0 / 8, bit = -p * log2(p) - (1 - p) * log2(1 - p);
    assert_true(fabs(code_entropy_by_bit(&t) - 2 * bit) < 1e-9);
    double code = -5.0 / 8 * log2(5.0 / 8) + 3 * 3.0 / 8;
    assert_true(fabs(code_entropy_by_code(&t) - code) < 1e-9);
    code_entropy_clear(&t);
    assert_true(t.samples == 0 && code_entropy_by_code(&t) == 0);
    code_entropy_free(&t);
}

static void long_codes_are_tallied_bit_by_bit(void **state) {
    (void)state;
    code_entropy t;
    assert_int_equal(code_entropy_init(&t, 64), ERR_OK);
    uint8_t packed[16];
    memset(packed, 0x0F, 8);
    memset(packed + 8, 0x3C, 8); /* of every byte, two bits are always the same and the others differ: 4 of 8 */
    code_entropy_add(&t, packed, 2);
    assert_true(fabs(code_entropy_by_bit(&t) - 32) < 1e-9);
    assert_true(code_entropy_by_code(&t) == code_entropy_by_bit(&t));
    code_entropy_free(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sources_take_what_they_are_worth),
        cmocka_unit_test(frames_of_any_length_come_back),
        cmocka_unit_test(a_new_link_and_a_new_model_start_afresh),
        cmocka_unit_test(what_is_not_next_is_refused),
        cmocka_unit_test(a_desynchronised_end_is_seen),
        cmocka_unit_test(every_changed_byte_is_seen),
        cmocka_unit_test(what_else_a_frame_says_is_checked),
        cmocka_unit_test(nothing_is_allocated),
        cmocka_unit_test(entropies_are_those_of_the_frequencies),
        cmocka_unit_test(long_codes_are_tallied_bit_by_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
