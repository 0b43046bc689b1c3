/* The backlog: what comes out is what went in, in its order, for each node alone; and it has an end. */
#include "base/rng.h"
#include "decoder_server/serve/backlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { PORTIONS = 3, FRAMES = 20000, LENGTH_MAX = 900 };

/* Bits of frame `n`, and how many bytes they are. */
static size_t make_bits(uint64_t n, uint8_t bits[LENGTH_MAX]) {
    size_t length = 1 + n * 7919 % LENGTH_MAX;
    for (size_t i = 0; i < length; i++) {
        bits[i] = (uint8_t)(n * 31 + i);
    }
    return length;
}

static void add(backlog *b, uint32_t portion, uint64_t n) {
    uint8_t bits[LENGTH_MAX];
    size_t length = make_bits(n, bits);
    const backlog_codes codes = {.first = n,
                                 .count = 8 * length,
                                 .bits = bits,
                                 .length = length,
                                 .connection = (uint32_t)(n / 3),
                                 .model = (uint8_t)(n % 2)};
    assert_int_equal(backlog_add(b, portion, &codes), ERR_OK);
}

static void assert_first(const backlog *b, uint32_t portion, uint64_t n, uint64_t done) {
    uint8_t bits[LENGTH_MAX];
    size_t length = make_bits(n, bits);
    backlog_codes got;
    assert_true(backlog_first(b, portion, &got));
    assert_int_equal(got.first, n);
    assert_int_equal(got.count, 8 * length);
    assert_int_equal(got.done, done);
    assert_int_equal(got.connection, n / 3);
    assert_int_equal(got.model, n % 2);
    assert_int_equal(got.length, length);
    assert_memory_equal(got.bits, bits, length);
}

/* Frames n of a portion are those with n % PORTIONS of it, from `out` to `in`; `done` of the first one. */
typedef struct line {
    uint64_t in, out, done;
} line;

static void go_on(backlog *b, line *l, uint32_t portion, uint64_t done) {
    backlog_codes first;
    assert_first(b, portion, l->out, l->done);
    assert_true(backlog_first(b, portion, &first));
    l->done = l->done + done < first.count ? l->done + done : first.count;
    backlog_set_done(b, portion, l->done);
    if (l->done == first.count) {
        l->out += PORTIONS;
        l->done = 0;
    }
}

static bool has_model(const line lines[PORTIONS], uint8_t model) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        for (uint64_t n = lines[k].out; n < lines[k].in; n += PORTIONS) {
            if (n % 2 == model) {
                return true;
            }
        }
    }
    return false;
}

static void what_went_in_comes_out(void **state) {
    (void)state;
    backlog *b;
    rng r = rng_at(9, 1, 0);
    line lines[PORTIONS] = {{0, 0, 0}, {1, 1, 0}, {2, 2, 0}};
    assert_int_equal(backlog_new(&b, PORTIONS), ERR_OK);
    for (uint32_t step = 0; step < 2 * FRAMES; step++) {
        uint32_t k = rng_below(&r, PORTIONS);
        line *l = &lines[k];
        bool adds = step / 500 % 2 ? rng_below(&r, 3) > 0 : rng_below(&r, 3) == 0;
        backlog_codes first;
        if (adds) {
            add(b, k, l->in);
            l->in += PORTIONS;
        } else if (l->out < l->in) {
            go_on(b, l, k, rng_below(&r, 8 * LENGTH_MAX));
        }
        assert_int_equal(backlog_first(b, k, &first), l->out < l->in);
        assert_int_equal(backlog_bytes(b, k) > 0, l->out < l->in);
        assert_int_equal(backlog_has_model(b, step % 2), has_model(lines, step % 2));
    }
    assert_true(lines[0].out > 1000);
    backlog_free(b);
}

static void a_backlog_has_an_end(void **state) {
    (void)state;
    enum { LARGE = 4 << 20 };
    backlog *b;
    uint8_t *bits = calloc(1, LARGE);
    backlog_codes codes = {.count = LARGE, .bits = bits, .length = LARGE}, first;
    assert_int_equal(backlog_new(&b, PORTIONS), ERR_OK);
    for (codes.first = 0; backlog_bytes(b, 1) < BACKLOG_BYTES_MAX; codes.first++) {
        assert_int_equal(backlog_add(b, 1, &codes), ERR_OK);
    }
    assert_int_equal(backlog_add(b, 1, &codes), ERR_FULL);
    assert_int_equal(backlog_add(b, 2, &codes), ERR_OK); /* each node has its own */
    backlog_set_done(b, 1, codes.count);
    assert_true(backlog_first(b, 1, &first));
    assert_int_equal(first.first, 1);
    assert_int_equal(backlog_add(b, 1, &codes), ERR_OK);
    backlog_free(b);
    free(bits);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_went_in_comes_out),
                                       cmocka_unit_test(a_backlog_has_an_end)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
