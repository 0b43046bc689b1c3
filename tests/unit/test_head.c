/* The heads of requests: which are whole, and what is wrong with those that libmicrohttpd must not see. */
#include "decoder_server/http/head.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t *bytes_of(const char *text) {
    return (const uint8_t *)text;
}

static void good_heads_pass_and_have_an_end(void **state) {
    (void)state;
    static const char *const good[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "GET /v1/nodes HTTP/1.0\r\nHost: here\r\n\r\n",
        "POST /v1/classify HTTP/1.1\r\nHost: here\r\nContent-Length: 784 \r\nContent-Type: image/png\r\n\r\n",
        "GET / HTTP/1.1\nHost: here\n\n",
        "\r\n\r\nGET / HTTP/1.1\r\nA: b\r\n c\r\n\td\r\n\r\n",
        "M-SEARCH * HTTP/1.1\r\nEmpty:\r\ncontent-length:0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t length = strlen(good[i]);
        assert_true(head_is_whole(bytes_of(good[i]), length));
        assert_null(head_check(bytes_of(good[i]), length));
        for (size_t l = 0; l < length; l++) {
            assert_false(head_is_whole(bytes_of(good[i]), l));
        }
    }
}

static void a_body_behind_it_does_no_harm(void **state) {
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nA: b\r\n\r\nno head\nany more";
    assert_true(head_is_whole(bytes_of(text), sizeof text - 1));
    assert_null(head_check(bytes_of(text), sizeof text - 1));
}

static void bad_heads_are_told(void **state) {
    (void)state;
    static const struct {
        const char *text;
        unsigned status;
        const char *code;
    } bad[] = {
        {"GET /\r\n\r\n", 400, "bad_request"},
        {"GARBAGE\r\n\r\n", 400, "bad_request"},
        {" GET / HTTP/1.1\r\n\r\n", 400, "bad_request"},
        {"G\x01T / HTTP/1.1\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1 x\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/11\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/9.9\r\n\r\n", 505, "bad_version"},
        {"GET / HTTP/2.0\r\n\r\n", 505, "bad_version"},
        {"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\n: no name\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\ncontent-LENGTH: -1\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\nContent-Length: 7 84\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\nContent-Length: 0x10\r\n\r\n", 400, "bad_request"},
        {"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, "bad_request"},
        {"GET /without-an-end", 414, "head_too_long"},
        {"GET / HTTP/1.1\r\nA: without an end", 431, "head_too_long"},
        {"\r\n\r\n\r\n", 414, "head_too_long"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const head_problem *p = head_check(bytes_of(bad[i].text), strlen(bad[i].text));
        assert_non_null(p);
        assert_int_equal(p->status, bad[i].status);
        assert_string_equal(p->code, bad[i].code);
    }
}

/* Of use under AddressSanitizer: the bytes end where their memory does. */
static void nothing_is_read_beyond_the_end(void **state) {
    (void)state;
    static const char seed[] = "POST /v1/classify HTTP/1.1\r\nContent-Length: 784\r\nA: b\r\n\r\n";
    rng r = rng_at(1, 2, 3);
    for (int turn = 0; turn < 20000; turn++) {
        size_t length = rng_below(&r, sizeof seed);
        uint8_t *bytes = malloc(length + !length);
        memcpy(bytes, seed, length);
        for (uint32_t i = rng_below(&r, 4); i > 0 && length > 0; i--) {
            bytes[rng_below(&r, (uint32_t)length)] = (uint8_t)rng_below(&r, 256);
        }
        bool is_whole = head_is_whole(bytes, length);
        assert_true(head_check(bytes, length) || is_whole);
        free(bytes);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_heads_pass_and_have_an_end),
        cmocka_unit_test(a_body_behind_it_does_no_harm),
        cmocka_unit_test(bad_heads_are_told),
        cmocka_unit_test(nothing_is_read_beyond_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
