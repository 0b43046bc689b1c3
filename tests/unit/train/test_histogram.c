/* The histogram of soft outputs, against counts made by hand. */
#include "decoder_server/train/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void assert_bin(float value, size_t bin) {
    histogram h = {.bits = 1};
    histogram_add(&h, &value, 1, 1);
    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        if (h.bins[i] != (i == bin)) {
            fail_msg("%.9g: bin %zu has %d", (double)value, i, (int)h.bins[i]);
        }
    }
}

static void every_value_has_its_bin(void **state) {
    (void)state;
    assert_bin(0.0f, 0);
    assert_bin(1e-38f, 0);
    assert_bin(0x1p-149f, 0);
    assert_bin(0.0499f, 0);
    assert_bin(0.0501f, 1);
    assert_bin(0.5f, 10);
    assert_bin(0.49999997f, 9);
    assert_bin(0.75f, 15);
    assert_bin(0.74999994f, 14);
    assert_bin(0.9499f, 18);
    assert_bin(0.9501f, 19);
    assert_bin(0x1.fffffep-1f, 19);
    assert_bin(1.0f, 19);
    for (size_t bin = 0; bin < HISTOGRAM_BINS; bin++) {
        assert_bin((float)(((double)bin + 0.5) / HISTOGRAM_BINS), bin);
    }
}

static void ones_are_what_is_sent(void **state) {
    (void)state;
    const float soft[] = {0.5f, 0.50000006f, 0.0f, 1.0f, 0.4f, 0.6f, 0.5f, 1.0f};
    histogram h = {.bits = 4};
    histogram_add(&h, soft, 2, 4);
    assert_int_equal(h.samples, 2);
    const uint64_t ones[] = {0, 2, 0, 2}; /* 0.5 is a 0, as in the hard decision */
    assert_memory_equal(h.ones, ones, sizeof ones);
    for (size_t bit = 4; bit < PACK_CODE_BITS_MAX; bit++) {
        assert_int_equal(h.ones[bit], 0);
    }
}

static void distance_is_to_the_nearer_bit(void **state) {
    (void)state;
    histogram h = {.bits = 2};
    assert_true(histogram_distance(&h) == 0);
    const float soft[] = {0.25f, 0.75f, 0.5f, 0.0f, 1.0f, 0.875f};
    histogram_add(&h, soft, 3, 2);
    assert_true(histogram_distance(&h) == (0.25 + 0.25 + 0.5 + 0 + 0 + 0.125) / 6);
}

/* Columns of one portion among others, and batches one after another, count as all at once. */
static void strides_and_batches_add_up(void **state) {
    (void)state;
    enum { ROWS = 57, BITS = 3, WIDTH = 8, FIRST = 4 };
    float wide[ROWS * WIDTH], own[ROWS * BITS];
    for (size_t i = 0; i < COUNT(wide); i++) {
        wide[i] = (float)(i * 37 % 101) / 100.0f;
    }
    for (size_t row = 0; row < ROWS; row++) {
        memcpy(own + row * BITS, wide + row * WIDTH + FIRST, BITS * sizeof(float));
    }
    histogram parts = {.bits = BITS}, whole = {.bits = BITS};
    histogram_add(&parts, wide + FIRST, 40, WIDTH);
    histogram_add(&parts, wide + 40 * WIDTH + FIRST, ROWS - 40, WIDTH);
    histogram_add(&whole, own, ROWS, BITS);
    assert_memory_equal(&parts, &whole, sizeof whole);
    uint64_t sum = 0;
    for (size_t i = 0; i < HISTOGRAM_BINS; i++) {
        sum += whole.bins[i];
    }
    assert_int_equal(sum, ROWS * BITS);
    assert_int_equal(whole.samples, ROWS);
}

static void json_is_compact(void **state) {
    (void)state;
    const float soft[] = {0.0f, 1.0f, 0.25f, 0.75f};
    histogram h[2] = {{.bits = 2}, {.bits = 1}};
    histogram_add(&h[0], soft, 2, 2);
    histogram_add(&h[1], soft + 1, 1, 1);
    json_t *list = histogram_list(h, 2);
    char *text = json_dumps(list, JSON_COMPACT);
    assert_string_equal(text, "[{\"bins\":[1,0,0,0,0,1,0,0,0,0,0,0,0,0,0,1,0,0,0,1],\"ones\":[0,2],\"distance\":0.125},"
                              "{\"bins\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1],\"ones\":[1],\"distance\":0.0}]");
    free(text);
    json_decref(list);
    list = histogram_list(h, 0);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_has_its_bin),
        cmocka_unit_test(ones_are_what_is_sent),
        cmocka_unit_test(distance_is_to_the_nearer_bit),
        cmocka_unit_test(strides_and_batches_add_up),
        cmocka_unit_test(json_is_compact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
