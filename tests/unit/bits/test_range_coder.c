/* The range coder: every bit comes back, whatever the source; the size is what the source is worth. */
#include "base/rng.h"
#include "bits/range_coder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { BITS = 40000 };

typedef struct source {
    double ones;      /* share of 1s in 65536ths, behind a 0 */
    double ones_more; /* and behind a 1 */
} source;

static void draw(const source *s, uint32_t step, uint8_t *bits, size_t n) {
    rng r = rng_at(1, RNG_TEST, step);
    unsigned before = 0;
    for (size_t i = 0; i < n; i++) {
        before = (rng_u32(&r) & 65535u) < (uint32_t)(before ? s->ones_more : s->ones);
        bits[i] = (uint8_t)before;
    }
}

/* On the heap and exactly as long as it is, so that a sanitizer sees a read behind it. */
static uint8_t *encode(const uint8_t *bits, size_t n, int contexts, size_t *length) {
    range_probability p[2] = {range_even(), range_even()};
    uint8_t *room = malloc(range_bytes_max(n));
    assert_non_null(room);
    range_encoder e;
    range_encoder_start(&e, room);
    for (size_t i = 0; i < n; i++) {
        range_encode(&e, &p[contexts == 2 && i > 0 ? bits[i - 1] : 0], bits[i]);
    }
    const uint8_t *coded = range_encoder_end(&e, length);
    assert_true(*length + 1 <= range_bytes_max(n));
    uint8_t *exact = malloc(*length ? *length : 1);
    assert_non_null(exact);
    memcpy(exact, coded, *length);
    free(room);
    return exact;
}

static void decode(const uint8_t *coded, size_t length, int contexts, uint8_t *bits, size_t n) {
    range_probability p[2] = {range_even(), range_even()};
    range_decoder d;
    range_decoder_start(&d, coded, length);
    for (size_t i = 0; i < n; i++) {
        bits[i] = (uint8_t)range_decode(&d, &p[contexts == 2 && i > 0 ? bits[i - 1] : 0]);
    }
}

static size_t there_and_back(const uint8_t *bits, size_t n, int contexts) {
    static uint8_t again[BITS];
    size_t length;
    uint8_t *coded = encode(bits, n, contexts, &length);
    decode(coded, length, contexts, again, n);
    assert_memory_equal(again, bits, n);
    free(coded);
    return length;
}

static double entropy(double p) {
    return p <= 0 || p >= 1 ? 0 : -p * log2(p) - (1 - p) * log2(1 - p);
}

static void every_length_comes_back(void **state) {
    (void)state;
    static uint8_t bits[BITS];
    for (uint32_t n = 0; n < 300; n++) {
        source s = {.ones = 220 * n, .ones_more = 65536 - 150 * n};
        draw(&s, n, bits, n);
        there_and_back(bits, n, 2);
    }
}

static void uneven_bits_take_their_entropy(void **state) {
    (void)state;
    static uint8_t bits[BITS];
    static const double shares[] = {32768, 26000, 13000, 6000, 2000, 600, 65000};
    for (uint32_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        source s = {shares[i], shares[i]};
        draw(&s, i, bits, BITS);
        size_t ones = 0;
        for (size_t k = 0; k < BITS; k++) {
            ones += bits[k];
        }
        double worth = BITS * entropy((double)ones / BITS) / 8;
        double took = (double)there_and_back(bits, BITS, 1);
        assert_true(took < 1.02 * worth + 8);
        assert_true(took > 0.99 * worth - 2);
    }
}

static void bits_that_depend_on_the_one_before_take_less(void **state) {
    (void)state;
    static uint8_t bits[BITS];
    source s = {.ones = 3277, .ones_more = 62259}; /* 5 % change */
    draw(&s, 9, bits, BITS);
    double worth = BITS * entropy(0.05) / 8;
    assert_true((double)there_and_back(bits, BITS, 2) < 1.04 * worth + 8); /* what was drawn varies by 2 % */
    assert_true((double)there_and_back(bits, BITS, 1) > 0.95 * BITS / 8);
}

static void bits_that_never_change_take_next_to_nothing(void **state) {
    (void)state;
    static uint8_t bits[BITS];
    for (int value = 0; value < 2; value++) {
        memset(bits, value, sizeof bits);
        assert_true(there_and_back(bits, BITS, 1) <= BITS / 8 / 1000 + 4);
    }
}

/* The worst of sources: always the bit that is least expected. */
static void the_unexpected_stays_within_the_room(void **state) {
    (void)state;
    static uint8_t bits[BITS];
    range_probability p = range_even();
    for (size_t i = 0; i < BITS; i++) {
        bits[i] = p < range_even();
        range_adapt(&p, bits[i]);
    }
    there_and_back(bits, BITS, 1);
    memset(bits, 0, sizeof bits); /* and, of a probability that is sure of 0s, nothing but 1s for a while */
    memset(bits + 20000, 1, 300);
    there_and_back(bits, BITS, 1);
}

/* A `low` close to a power of two keeps a long run of 0xFF back, which a carry turns into zeros, or does not. */
static void carries_reach_back(void **state) {
    (void)state;
    for (int carry = 0; carry < 2; carry++) {
        uint8_t room[64];
        range_encoder e;
        range_encoder_start(&e, room);
        e.low = 0x12FFFFFFu;
        e.range = RANGE_TOP;
        range_shift(&e); /* 0x12 is kept */
        for (int i = 0; i < 9; i++) {
            e.low = 0xFFFFFF00u;
            range_shift(&e);
        }
        e.low = carry ? 0x100000000u : 0xFF000000u - 1;
        size_t length;
        const uint8_t *coded = range_encoder_end(&e, &length);
        assert_int_equal(coded[0], carry ? 0x13 : 0x12);
        assert_int_equal(length, carry ? 1 : 11);
        for (size_t i = 1; i < 10 && !carry; i++) {
            assert_int_equal(coded[i], 0xFF);
        }
    }
}

static void any_bytes_decode_to_something(void **state) {
    (void)state;
    static uint8_t bits[BITS];
    for (uint32_t step = 0; step < 50; step++) {
        rng r = rng_at(1, RNG_TEST, 1000 + step);
        size_t length = rng_u32(&r) % 40;
        uint8_t *coded = malloc(length ? length : 1);
        assert_non_null(coded);
        for (size_t i = 0; i < length; i++) {
            coded[i] = (uint8_t)rng_u32(&r);
        }
        decode(coded, length, 2, bits, BITS / 10);
        free(coded);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_length_comes_back),
        cmocka_unit_test(uneven_bits_take_their_entropy),
        cmocka_unit_test(bits_that_depend_on_the_one_before_take_less),
        cmocka_unit_test(bits_that_never_change_take_next_to_nothing),
        cmocka_unit_test(the_unexpected_stays_within_the_room),
        cmocka_unit_test(carries_reach_back),
        cmocka_unit_test(any_bytes_decode_to_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
