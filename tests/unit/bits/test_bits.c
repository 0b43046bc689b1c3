/* Bits in bytes against a reference that moves one bit at a time, and the decision that makes a bit. */
#include "base/rng.h"
#include "bits/binarize.h"
#include "bits/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { OFFSETS = 64, STREAM_BYTES = (OFFSETS + PACK_CODE_BITS_MAX + 7) / 8 };

static unsigned bit_at(const uint8_t *stream, size_t i) {
    return (unsigned)stream[i / 8] >> (i % 8) & 1u;
}

static uint64_t low_bits(uint64_t value, unsigned width) {
    return width == 64 ? value : value & ((1ull << width) - 1);
}

static uint64_t naive_get(const uint8_t *stream, size_t offset, unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++) {
        value |= (uint64_t)bit_at(stream, offset + i) << i;
    }
    return value;
}

static void naive_put(uint8_t *stream, size_t offset, unsigned width, uint64_t value) {
    for (unsigned i = 0; i < width; i++) {
        size_t at = offset + i;
        stream[at / 8] = (uint8_t)(stream[at / 8] & ~(1u << (at % 8)));
        stream[at / 8] = (uint8_t)(stream[at / 8] | ((unsigned)(value >> i) & 1u) << (at % 8));
    }
}

static void fill_random(uint8_t *bytes, size_t length, uint32_t step) {
    rng r = rng_at(1, RNG_TEST, step);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)rng_u32(&r);
    }
}

/* The exact bytes that `bits` bits take, on the heap: one byte further is seen by the address sanitizer. */
static uint8_t *exact(const uint8_t *from, size_t bits) {
    uint8_t *bytes = malloc(pack_bytes(bits));
    assert_non_null(bytes);
    memcpy(bytes, from, pack_bytes(bits));
    return bytes;
}

static void put_and_get_agree_with_the_reference(void **state) {
    (void)state;
    for (unsigned width = 1; width <= PACK_CODE_BITS_MAX; width++) {
        for (size_t offset = 0; offset < OFFSETS; offset++) {
            uint8_t before[STREAM_BYTES];
            uint64_t value;
            fill_random(before, sizeof before, (uint32_t)(width * OFFSETS + offset));
            fill_random((uint8_t *)&value, sizeof value, (uint32_t)(width * OFFSETS + offset) + 100000);
            const uint64_t values[] = {value, ~value, 0, UINT64_MAX};
            for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
                uint8_t *put = exact(before, offset + width), *expected = exact(before, offset + width);
                naive_put(expected, offset, width, values[i]);
                pack_put(put, offset, width, values[i]);
                assert_memory_equal(put, expected, pack_bytes(offset + width)); /* all other bits as they were */
                assert_true(pack_get(put, offset, width) == low_bits(values[i], width));
                assert_true(pack_get(put, offset, width) == naive_get(put, offset, width));
                free(put);
                free(expected);
            }
        }
    }
}

static void the_first_bit_is_the_least_significant(void **state) {
    (void)state;
    uint8_t stream[3] = {0};
    pack_put(stream, 0, 1, 1);
    pack_put(stream, 7, 2, 3);
    pack_put(stream, 12, 4, 0x9);
    const uint8_t expected[3] = {0x81, 0x91, 0x00};
    assert_memory_equal(stream, expected, sizeof stream);
    assert_int_equal(pack_get(expected, 4, 8), 0x18);
}

/* A batch is one stream: the codes of all samples one behind the other, with nothing between. */
static void a_batch_of_codes_has_no_gaps(void **state) {
    (void)state;
    enum { SAMPLES = 37 };
    for (unsigned width = 1; width <= PACK_CODE_BITS_MAX; width++) {
        uint64_t codes[SAMPLES];
        uint8_t stream[SAMPLES * 8];
        fill_random((uint8_t *)codes, sizeof codes, width);
        memset(stream, 0xff, sizeof stream);
        for (size_t sample = SAMPLES; sample-- > 0;) { /* back to front: a put that spills over would show */
            pack_put(stream, sample * width, width, codes[sample]);
        }
        for (size_t sample = 0; sample < SAMPLES; sample++) {
            assert_true(pack_get(stream, sample * width, width) == low_bits(codes[sample], width));
        }
        for (size_t i = SAMPLES * (size_t)width; i < sizeof stream * 8; i++) {
            assert_int_equal(bit_at(stream, i), 1);
        }
    }
}

static void the_decision_is_that_of_rounding_half_to_even(void **state) {
    (void)state;
    const float above = nextafterf(0.5f, 1.0f), below = nextafterf(0.5f, 0.0f);
    const struct {
        float soft;
        unsigned bit;
    } cases[] = {{0.5f, 0},  {above, 1},    {below, 0},     {0.0f, 0},  {-0.0f, 0}, {1.0f, 1},
                 {-3.0f, 0}, {INFINITY, 1}, {-INFINITY, 0}, {1e30f, 1}, {NAN, 0},   {-NAN, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(binarize_bit(cases[i].soft), cases[i].bit);
        assert_true(binarize(cases[i].soft) == (float)cases[i].bit);
        uint8_t packed = 0xff;
        pack_soft(&cases[i].soft, 1, &packed);
        assert_int_equal(packed, cases[i].bit);
        assert_int_equal(pack_code(&cases[i].soft, 1), cases[i].bit);
    }
}

static void soft_outputs_survive_packing(void **state) {
    (void)state;
    enum { N_MAX = 200 };
    rng r = rng_at(2, RNG_TEST, 0);
    for (size_t n = 0; n <= N_MAX; n++) {
        float *soft = malloc((n + 1) * sizeof *soft), *back = malloc((n + 1) * sizeof *back);
        uint8_t *packed = malloc(pack_bytes(n) + 1);
        assert_true(soft && back && packed);
        for (size_t i = 0; i < n; i++) {
            soft[i] = rng_float(&r);
        }
        memset(packed, 0xff, pack_bytes(n) + 1);
        back[n] = -1.0f;
        pack_soft(soft, n, packed);
        pack_unpack_soft(packed, n, back);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(bit_at(packed, i), soft[i] > 0.5f);
            assert_true(back[i] == (soft[i] > 0.5f ? 1.0f : 0.0f));
        }
        for (size_t i = n; i < pack_bytes(n) * 8; i++) {
            assert_int_equal(bit_at(packed, i), 0); /* the unused bits of the last byte */
        }
        assert_int_equal(packed[pack_bytes(n)], 0xff);
        assert_true(back[n] == -1.0f);
        assert_true(pack_tail_is_clear(packed, n));
        for (unsigned width = 1; width <= n && width <= PACK_CODE_BITS_MAX; width++) {
            size_t at = n - width;
            assert_true(pack_code(soft + at, width) == pack_get(packed, at, width));
        }
        free(soft);
        free(back);
        free(packed);
    }
}

static void tails_are_checked_bit_by_bit(void **state) {
    (void)state;
    for (size_t n = 0; n <= 24; n++) {
        uint8_t ones[4];
        memset(ones, 0xff, sizeof ones);
        assert_int_equal(pack_tail_is_clear(ones, n), n % 8 == 0);
        for (size_t set = 0; set < pack_bytes(n) * 8; set++) {
            uint8_t stream[3] = {0};
            naive_put(stream, set, 1, 1);
            uint8_t *bytes = exact(stream, n);
            assert_int_equal(pack_tail_is_clear(bytes, n), set < n);
            free(bytes);
        }
    }
}

static void bytes_are_counted_up(void **state) {
    (void)state;
    for (size_t bits = 0; bits <= 130; bits++) {
        assert_int_equal(pack_bytes(bits), bits / 8 + (bits % 8 > 0));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(put_and_get_agree_with_the_reference),
        cmocka_unit_test(the_first_bit_is_the_least_significant),
        cmocka_unit_test(a_batch_of_codes_has_no_gaps),
        cmocka_unit_test(the_decision_is_that_of_rounding_half_to_even),
        cmocka_unit_test(soft_outputs_survive_packing),
        cmocka_unit_test(tails_are_checked_bit_by_bit),
        cmocka_unit_test(bytes_are_counted_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
