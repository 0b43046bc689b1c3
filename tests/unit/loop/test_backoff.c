/* Backoff: how long to wait before the next try. */
#include "base/clock.h"
#include "loop/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void backoff_doubles_within_its_bounds(void **state) {
    (void)state;
    static const uint32_t spans[] = {100, 200, 400, 800, 1000, 1000, 1000};
    backoff b;
    for (uint64_t seed = 0; seed < 200; seed++) {
        backoff_init(&b, 100, 1000, seed);
        for (size_t i = 0; i < sizeof spans / sizeof spans[0]; i++) {
            assert_in_range(backoff_next_ms(&b), spans[i] / 2, spans[i]);
        }
        backoff_reset(&b);
        assert_in_range(backoff_next_ms(&b), 50, 100);
        assert_in_range(backoff_next_ms(&b), 100, 200);
    }
    backoff_init(&b, 1, UINT32_MAX, 1);
    for (int i = 0; i < 100; i++) {
        assert_in_range(backoff_next_ms(&b), 1, UINT32_MAX);
    }
    assert_in_range(backoff_next_ms(&b), UINT32_MAX / 2, UINT32_MAX);
}

static void backoff_takes_another_limit(void **state) {
    (void)state;
    backoff b;
    backoff_init(&b, 100, 5000, 1);
    for (int i = 0; i < 10; i++) {
        backoff_next_ms(&b);
    }
    assert_in_range(backoff_next_ms(&b), 2500, 5000);
    backoff_limit(&b, 500);
    assert_in_range(backoff_next_ms(&b), 250, 500);
    assert_in_range(backoff_next_ms(&b), 250, 500);
    backoff_limit(&b, 5000);
    assert_in_range(backoff_next_ms(&b), 250, 500);
    assert_in_range(backoff_next_ms(&b), 500, 1000);
}

/* Of 1000 clients that lose their server at once, every tenth of the span gets about a tenth. */
static void backoff_spreads_clients_evenly(void **state) {
    (void)state;
    enum { CLIENTS = 1000, TENTHS = 10 };
    int counts[2][TENTHS] = {{0}};
    for (uint64_t seed = 0; seed < CLIENTS; seed++) {
        backoff b;
        backoff_init(&b, 2000, 2000, seed);
        for (int attempt = 0; attempt < 2; attempt++) {
            uint32_t wait = backoff_next_ms(&b) - 1000;
            counts[attempt][wait < 1000 ? wait / 100 : TENTHS - 1]++;
        }
    }
    for (int attempt = 0; attempt < 2; attempt++) {
        for (int i = 0; i < TENTHS; i++) {
            assert_in_range(counts[attempt][i], 60, 140);
        }
    }
}

static void backoff_waits_differ_from_try_to_try(void **state) {
    (void)state;
    backoff b;
    backoff_init(&b, 1u << 30, 1u << 30, 7);
    uint32_t first = backoff_next_ms(&b), second = backoff_next_ms(&b);
    backoff_reset(&b);
    uint32_t third = backoff_next_ms(&b);
    assert_true(first != second && second != third && first != third);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backoff_doubles_within_its_bounds),
        cmocka_unit_test(backoff_takes_another_limit),
        cmocka_unit_test(backoff_spreads_clients_evenly),
        cmocka_unit_test(backoff_waits_differ_from_try_to_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
