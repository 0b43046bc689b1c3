/* The JSON writer: strings, numbers and times by themselves, and a whole text as jansson reads it. */
#include "base/json_writer.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char memory[4096];

static const char *string(const char *raw) {
    dynbuf b = dynbuf_over(memory, sizeof memory);
    json_writer w = json_writer_make(&b);
    json_writer_string(&w, NULL, raw);
    assert_false(b.has_failed);
    return memory;
}

static void strings_are_escaped(void **state) {
    (void)state;
    assert_string_equal(string(""), "\"\"");
    assert_string_equal(string("seven"), "\"seven\"");
    assert_string_equal(string("a\"b\\c"), "\"a\\\"b\\\\c\"");
    assert_string_equal(string("\n\t\x01\x7f"), "\"\\u000a\\u0009\\u0001\\u007f\"");
    assert_string_equal(string("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f"),
                        "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x9f\"");
    assert_string_equal(string("\xff x"), "\"? x\"");            /* never in UTF-8 */
    assert_string_equal(string("\xc0\xaf"), "\"??\"");           /* overlong */
    assert_string_equal(string("\xed\xa0\x80"), "\"???\"");      /* a surrogate */
    assert_string_equal(string("\xf4\x90\x80\x80"), "\"????\""); /* beyond U+10FFFF */
    assert_string_equal(string("cut \xe2\x82"), "\"cut ??\"");   /* ends within a character */
    assert_string_equal(string(NULL), "null");
}

static const char *number(uint64_t value) {
    dynbuf b = dynbuf_over(memory, sizeof memory);
    json_writer w = json_writer_make(&b);
    json_writer_uint(&w, NULL, value);
    return memory;
}

static const char *fixed(double value, unsigned places) {
    dynbuf b = dynbuf_over(memory, sizeof memory);
    json_writer w = json_writer_make(&b);
    json_writer_fixed(&w, NULL, value, places);
    return memory;
}

static void numbers_are_exact(void **state) {
    (void)state;
    char expected[32];
    for (uint64_t value = 0; value < 100000; value++) {
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)value);
        assert_string_equal(number(value), expected);
    }
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) {
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)(power * 10 - 1));
        assert_string_equal(number(power * 10 - 1), expected);
    }
    assert_string_equal(number(UINT64_MAX), "18446744073709551615");
}

static void fractions_are_rounded(void **state) {
    (void)state;
    assert_string_equal(fixed(0, 3), "0.000");
    assert_string_equal(fixed(1, 9), "1.000000000");
    assert_string_equal(fixed(0.999999999, 9), "0.999999999");
    assert_string_equal(fixed(0.0005, 3), "0.001");
    assert_string_equal(fixed(12.3456, 3), "12.346");
    assert_string_equal(fixed(0.05, 1), "0.1");
    assert_string_equal(fixed(-1, 3), "0.000");
    assert_string_equal(fixed((double)NAN, 3), "0.000");
    assert_string_equal(fixed((double)INFINITY, 9), "0.000000000");
    for (int i = 0; i < 10000; i++) {
        double value = (double)i / 9999;
        char expected[32];
        snprintf(expected, sizeof expected, "%.9f", value);
        assert_true(fabs(strtod(fixed(value, 9), NULL) - strtod(expected, NULL)) < 1.1e-9);
    }
}

static void times_are_utc(void **state) {
    (void)state;
    dynbuf b = dynbuf_over(memory, sizeof memory);
    json_writer w = json_writer_make(&b);
    json_writer_time(&w, NULL, 0);
    json_writer_time(&w, NULL, 1769860800123);
    assert_string_equal(memory, "null,\"2026-01-31T12:00:00.123Z\"");
}

static void commas_stand_between(void **state) {
    (void)state;
    dynbuf b = dynbuf_make(1 << 16);
    json_writer w = json_writer_make(&b);
    json_writer_object(&w, NULL);
    json_writer_array(&w, "empty");
    json_writer_end_array(&w);
    json_writer_object(&w, "nothing");
    json_writer_end_object(&w);
    json_writer_array(&w, "list");
    json_writer_uint(&w, NULL, 1);
    json_writer_array(&w, NULL);
    json_writer_null(&w, NULL);
    json_writer_bool(&w, NULL, true);
    json_writer_end_array(&w);
    json_writer_bits(&w, NULL, 0x8000000000000005, 64);
    json_writer_bits(&w, NULL, 5, 0);
    json_writer_end_array(&w);
    json_writer_real(&w, "real", 0.1);
    json_writer_real(&w, "none", (double)NAN);
    json_writer_word(&w, "word", "ready");
    json_writer_string(&w, "text", "a\"b");
    json_writer_bool(&w, "no", false);
    json_writer_end_object(&w);
    assert_string_equal(b.bytes,
                        "{\"empty\":[],\"nothing\":{},\"list\":[1,[null,true],\"10100000000000000000000000000000"
                        "00000000000000000000000000000001\",\"\"],\"real\":0.1,\"none\":null,\"word\":\"ready\","
                        "\"text\":\"a\\\"b\",\"no\":false}");
    json_t *read = json_loads(b.bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(read);
    json_decref(read);
    dynbuf_free(&b);
}

/* Into every room that is too small: it is said, nothing is written beyond it. */
static void a_full_buffer_says_so(void **state) {
    (void)state;
    for (size_t room = 1; room < 40; room++) {
        memset(memory, 'x', sizeof memory);
        dynbuf b = dynbuf_over(memory, room);
        json_writer w = json_writer_make(&b);
        json_writer_object(&w, NULL);
        json_writer_uint(&w, "number", 12345678);
        json_writer_word(&w, "word", "ready");
        json_writer_end_object(&w);
        assert_true(b.has_failed || strcmp(memory, "{\"number\":12345678,\"word\":\"ready\"}") == 0);
        assert_true(room >= 34 || b.has_failed);
        assert_int_equal(memory[room], 'x');
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_escaped),   cmocka_unit_test(numbers_are_exact),
        cmocka_unit_test(fractions_are_rounded), cmocka_unit_test(times_are_utc),
        cmocka_unit_test(commas_stand_between),  cmocka_unit_test(a_full_buffer_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
