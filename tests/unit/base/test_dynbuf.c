/* The growable buffer: what was added is there, up to the cap and no further, and memory is kept. */
#include "base/dynbuf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX = 1 << 20 };

/* Pieces of all lengths, also those that make it grow, and that fill it to the last byte. */
static void pieces_follow_each_other(void **state) {
    (void)state;
    static char model[MAX];
    dynbuf b = dynbuf_make(MAX);
    uint64_t draw = 1;
    while (b.length < MAX - 1) {
        draw = draw * 6364136223846793005u + 1442695040888963407u;
        size_t left = MAX - 1 - b.length, length = (draw >> 33) % 5000;
        length = length < left ? length : left;
        memset(model + b.length, (int)(draw >> 56), length);
        dynbuf_add(&b, model + b.length, length);
        assert_false(b.has_failed);
        assert_int_equal(b.bytes ? b.bytes[b.length] : 0, 0);
    }
    assert_memory_equal(b.bytes, model, MAX - 1);
    dynbuf_add(&b, "", 0);
    assert_false(b.has_failed);
    dynbuf_add(&b, "x", 1);
    assert_true(b.has_failed);
    assert_int_equal(b.length, MAX - 1);
    assert_int_equal(dynbuf_check(&b, "a test"), ERR_MEMORY);
    dynbuf_free(&b);
    assert_int_equal(b.max, MAX);
}

static void failure_stays_until_a_reset(void **state) {
    (void)state;
    dynbuf b = dynbuf_make(8);
    dynbuf_add_text(&b, "1234567");
    assert_false(b.has_failed);
    dynbuf_reset(&b);
    dynbuf_add_text(&b, "12345678");
    assert_true(b.has_failed);
    dynbuf_add_text(&b, "1");
    dynbuf_printf(&b, "%d", 1);
    assert_null(dynbuf_room(&b, 0));
    assert_int_equal(b.length, 0);
    dynbuf_reset(&b);
    dynbuf_printf(&b, "%s", "1234567");
    assert_string_equal(b.bytes, "1234567");
    dynbuf_printf(&b, "%d", 8);
    assert_true(b.has_failed);
    assert_string_equal(b.bytes, "1234567");
    dynbuf_free(&b);
}

static void memory_is_used_again(void **state) {
    (void)state;
    dynbuf b = dynbuf_make(MAX);
    dynbuf_printf(&b, "%*d", 10000, 7);
    const char *before = b.bytes;
    size_t capacity = b.capacity;
    for (int i = 0; i < 10; i++) {
        dynbuf_reset(&b);
        dynbuf_printf(&b, "%*d", 10000, i);
        assert_ptr_equal(b.bytes, before);
        assert_int_equal(b.capacity, capacity);
        assert_int_equal(b.bytes[9999], '0' + i);
    }
    dynbuf_free(&b);
}

static void fixed_memory_never_grows(void **state) {
    (void)state;
    char memory[9];
    memory[8] = 'x';
    dynbuf b = dynbuf_over(memory, 8);
    assert_string_equal(b.bytes, "");
    dynbuf_printf(&b, "%d", 1234567);
    assert_false(b.has_failed);
    assert_string_equal(memory, "1234567");
    dynbuf_add(&b, "8", 1);
    assert_true(b.has_failed);
    assert_string_equal(memory, "1234567");
    assert_int_equal(memory[8], 'x');
}

static void the_first_bytes_can_go(void **state) {
    (void)state;
    dynbuf b = dynbuf_make(MAX);
    dynbuf_drop(&b, 0);
    dynbuf_add_text(&b, "abcdef");
    dynbuf_drop(&b, 2);
    assert_string_equal(b.bytes, "cdef");
    dynbuf_drop(&b, 4);
    assert_string_equal(b.bytes, "");
    dynbuf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_follow_each_other), cmocka_unit_test(failure_stays_until_a_reset),
        cmocka_unit_test(memory_is_used_again),     cmocka_unit_test(fixed_memory_never_grows),
        cmocka_unit_test(the_first_bytes_can_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
