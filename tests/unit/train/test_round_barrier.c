/* The barrier of a step: nobody is waited for who has answered, and nothing goes on before all have. */
#include "decoder_server/train/round_barrier.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void all_here(round_barrier *b) {
    for (uint32_t k = 0; k < b->portions; k++) {
        assert_false(round_barrier_all_here(b));
        round_barrier_join(b, k);
    }
    assert_true(round_barrier_all_here(b));
}

/* Of any number of nodes, the last answer alone meets it, in whatever order they come. */
static void the_last_answer_meets_it(void **state) {
    (void)state;
    static const uint32_t numbers[] = {1, 2, 5, 63, 64};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        round_barrier b = {.portions = numbers[i]};
        all_here(&b);
        for (int round = 0; round < 2; round++) {
            round_barrier_await(&b, MESSAGE_SAVED);
            for (uint32_t n = 0; n < b.portions; n++) {
                uint32_t k = round ? n : b.portions - 1 - n;
                assert_true(round_barrier_awaits(&b, k, MESSAGE_SAVED));
                assert_int_equal(round_barrier_answered(&b, k), n + 1 == b.portions);
                assert_false(round_barrier_awaits(&b, k, MESSAGE_SAVED));
            }
            assert_true(round_barrier_is_met(&b));
        }
    }
}

static void another_answer_is_not_awaited(void **state) {
    (void)state;
    round_barrier b = {.portions = 2};
    all_here(&b);
    round_barrier_await(&b, MESSAGE_CODES);
    assert_false(round_barrier_awaits(&b, 0, MESSAGE_ACTIVATIONS));
    assert_true(round_barrier_awaits(&b, 0, MESSAGE_CODES));
    assert_false(round_barrier_is_met(&b));
}

/* A node that comes again has answered nothing, and owes no Ready to what its predecessor was told. */
static void who_comes_again_begins_anew(void **state) {
    (void)state;
    round_barrier b = {.portions = 3};
    all_here(&b);
    round_barrier_await(&b, MESSAGE_READY);
    b.restores[1] = 2;
    assert_false(round_barrier_answered(&b, 1));
    round_barrier_leave(&b, 1);
    assert_false(round_barrier_is_here(&b, 1) || round_barrier_all_here(&b));
    assert_true(round_barrier_is_here(&b, 0) && round_barrier_is_here(&b, 2));
    round_barrier_join(&b, 1);
    assert_int_equal(b.restores[1], 0);
    assert_true(round_barrier_all_here(&b) && round_barrier_awaits(&b, 1, MESSAGE_READY));
}

enum { SECOND = 1000000000 };

/* Whose gradients are overdue, as a mask. */
static uint64_t take_overdue(round_barrier *b) {
    uint64_t late = 0;
    for (uint32_t k = 0; k < b->portions; k++) {
        char text[PENDING_REPLIES_TEXT_MAX];
        if (pending_replies_take_overdue(&b->pending, k, SECOND, text)) {
            assert_non_null(strstr(text, message_name(MESSAGE_GRADIENTS)));
            late |= (uint64_t)1 << k;
        }
    }
    return late;
}

/* Each node that owes an answer for too long is named once; who has answered is not. */
static void who_is_overdue(void **state) {
    (void)state;
    round_barrier b = {.portions = 3};
    all_here(&b);
    pending_replies_read_clock(&b.pending, SECOND);
    round_barrier_await(&b, MESSAGE_GRADIENTS);
    round_barrier_answered(&b, 1);
    pending_replies_read_clock(&b.pending, SECOND + SECOND / 2);
    assert_int_equal(take_overdue(&b), 0);
    pending_replies_read_clock(&b.pending, 2 * (uint64_t)SECOND);
    assert_int_equal(take_overdue(&b), 1 | 4);
    assert_int_equal(take_overdue(&b), 0);
    assert_int_equal(b.pending.nodes[0].timeouts + b.pending.nodes[2].timeouts, 2);
    round_barrier_await(&b, MESSAGE_GRADIENTS);
    round_barrier_forget(&b);
    pending_replies_read_clock(&b.pending, 3 * (uint64_t)SECOND);
    assert_int_equal(take_overdue(&b), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_answer_meets_it),
        cmocka_unit_test(another_answer_is_not_awaited),
        cmocka_unit_test(who_comes_again_begins_anew),
        cmocka_unit_test(who_is_overdue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
