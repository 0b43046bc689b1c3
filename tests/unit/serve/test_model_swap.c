/* The swap of models as a state machine: when nodes switch, when a swap is given up, and what ends the model before. */
#include "base/rng.h"
#include "decoder_server/serve/model_swap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { NODES = 3, ALL = 7, STEP = 600, UNTIL = 1000, GRACE = 500 };

static model_swap begun(uint64_t step) {
    model_swap s = {.numbers = {STEP}};
    model_swap_begin(&s, step, UNTIL);
    for (uint32_t k = 0; k < NODES; k++) {
        model_swap_asked(&s, k);
    }
    return s;
}

static model_swap_action poll_at(model_swap *s, uint64_t awaited, bool has_ended, uint64_t now_ns) {
    return model_swap_poll(s, awaited, has_ended, now_ns, now_ns + GRACE);
}

static void all_switch_once_all_are_prepared(void **state) {
    (void)state;
    model_swap s = begun(STEP + 1);
    uint8_t model;
    for (uint32_t k = 0; k < NODES; k++) {
        assert_int_equal(poll_at(&s, ALL, false, 1), MODEL_SWAP_WAIT);
        assert_false(model_swap_find(&s, STEP + 1, &model));
        assert_true(model_swap_prepared(&s, k, STEP + 1, 10 * k, false));
    }
    assert_int_equal(s.first, 20); /* behind what the one furthest ahead has streamed */
    assert_int_equal(poll_at(&s, ALL, false, 1), MODEL_SWAP_SWITCH);
    assert_true(model_swap_find(&s, STEP + 1, &model));
    assert_int_equal(model, s.active);
    assert_true(model_swap_find(&s, STEP, &model)); /* until it has ended */
    assert_int_equal(model, model_swap_other(&s));
}

static void nobody_waits_for_who_does_not_take_part(void **state) {
    (void)state;
    model_swap s = begun(STEP + 1);
    assert_true(model_swap_prepared(&s, 1, STEP + 1, 0, false));
    assert_int_equal(poll_at(&s, 6, false, 1), MODEL_SWAP_WAIT);
    assert_int_equal(poll_at(&s, 2, false, 1), MODEL_SWAP_SWITCH);
    s = begun(STEP + 1);
    assert_int_equal(poll_at(&s, 0, false, 1), MODEL_SWAP_SWITCH);
}

static void who_is_asked_again_has_to_say_so_again(void **state) {
    (void)state;
    model_swap s = begun(STEP + 1);
    for (uint32_t k = 0; k < NODES; k++) {
        assert_true(model_swap_prepared(&s, k, STEP + 1, 0, false));
    }
    model_swap_forget(&s, 2);
    model_swap_asked(&s, 2); /* another connection */
    assert_int_equal(poll_at(&s, ALL, false, 1), MODEL_SWAP_WAIT);
    assert_true(model_swap_prepared(&s, 2, STEP + 1, 0, false));
    assert_int_equal(poll_at(&s, ALL, false, 1), MODEL_SWAP_SWITCH);
}

static void a_swap_is_given_up_in_time(void **state) {
    (void)state;
    uint8_t model;
    model_swap s = begun(STEP + 1);
    assert_int_equal(model_swap_next_ns(&s), UNTIL);
    assert_int_equal(poll_at(&s, ALL, false, UNTIL - 1), MODEL_SWAP_WAIT);
    assert_int_equal(poll_at(&s, ALL, false, UNTIL), MODEL_SWAP_GIVE_UP);
    assert_int_equal(poll_at(&s, ALL, false, UNTIL), MODEL_SWAP_WAIT);
    assert_int_equal(model_swap_next_ns(&s), UINT64_MAX);
    assert_false(model_swap_find(&s, STEP + 1, &model));
    model_swap_begin(&s, STEP + 2, 2 * UNTIL); /* answers to the one before do not count */
    for (uint32_t k = 0; k < NODES; k++) {
        model_swap_asked(&s, k);
        assert_false(model_swap_prepared(&s, k, STEP + 1, 0, false));
        assert_true(model_swap_prepared(&s, k, STEP + 2, 0, k == 0));
    }
    assert_int_equal(poll_at(&s, ALL, false, UNTIL), MODEL_SWAP_WAIT); /* the first one has failed */
    assert_int_equal(poll_at(&s, ALL & ~1, false, UNTIL), MODEL_SWAP_SWITCH);
}

static void the_model_before_ends_with_its_last_sample(void **state) {
    (void)state;
    uint8_t model;
    for (int is_late = 0; is_late < 2; is_late++) {
        model_swap s = begun(STEP + 1);
        assert_int_equal(poll_at(&s, 0, false, 1), MODEL_SWAP_SWITCH);
        assert_int_equal(model_swap_next_ns(&s), 1 + GRACE);
        assert_int_equal(poll_at(&s, 0, false, GRACE), MODEL_SWAP_WAIT);
        assert_int_equal(poll_at(&s, 0, !is_late, 1 + GRACE), MODEL_SWAP_TELL_OVER);
        assert_int_equal(model_swap_next_ns(&s), UINT64_MAX);
        assert_int_equal(poll_at(&s, 0, false, 9 * GRACE), MODEL_SWAP_WAIT);
        assert_int_equal(s.gone, 0);
        assert_int_equal(poll_at(&s, 0, true, 9 * GRACE), MODEL_SWAP_RELEASE);
        assert_int_equal(s.gone, STEP);
        assert_false(model_swap_find(&s, STEP, &model));
        assert_int_equal(poll_at(&s, 0, true, 9 * GRACE), MODEL_SWAP_WAIT);
    }
}

static void numbers_are_not_used_twice(void **state) {
    (void)state;
    model_swap s = begun(STEP); /* of another run, with the same step */
    assert_int_equal(s.numbers[1], STEP + 1);
    assert_int_equal(poll_at(&s, 0, true, 1), MODEL_SWAP_SWITCH);
    assert_int_equal(poll_at(&s, 0, true, 1), MODEL_SWAP_TELL_OVER);
    assert_int_equal(poll_at(&s, 0, true, 1), MODEL_SWAP_RELEASE);
    model_swap_begin(&s, STEP, UNTIL); /* that of the model that went last is on its way still */
    assert_int_equal(s.numbers[0], STEP + 2);
    model_swap_begin(&s, (uint64_t)1 << 32, UNTIL); /* 0 is none */
    assert_int_equal(s.numbers[0], 1);
}

/* Whatever happens in whatever order: nobody switches unprepared, and each model that is left goes once. */
static void any_order_of_events_holds_the_rules(void **state) {
    (void)state;
    rng r = rng_at(5, 1, 0);
    model_swap s = {.numbers = {STEP}};
    uint64_t taking_part = ALL, step = STEP;
    uint32_t switches = 0, releases = 0, given_up = 0;
    for (uint64_t now_ns = 0; now_ns < 200000; now_ns++) {
        uint32_t k = rng_below(&r, NODES);
        switch (rng_below(&r, 8)) {
        case 0:
            taking_part ^= (uint64_t)1 << k;
            model_swap_forget(&s, k);
            if (s.stage == MODEL_SWAP_PREPARING && taking_part >> k & 1) {
                model_swap_asked(&s, k);
            }
            break;
        case 1:
            if (s.stage == MODEL_SWAP_NONE) {
                model_swap_begin(&s, ++step, now_ns + 40);
                for (uint32_t i = 0; i < NODES; i++) {
                    model_swap_asked(&s, i);
                }
            }
            break;
        default:
            if (s.asked[k] > 0) {
                model_swap_prepared(&s, k, s.numbers[model_swap_other(&s)], now_ns, rng_below(&r, 4) == 0);
            }
        }
        uint64_t unprepared = taking_part & ~s.prepared;
        model_swap_action action = poll_at(&s, taking_part, rng_below(&r, 16) == 0, now_ns);
        assert_true(action != MODEL_SWAP_SWITCH || unprepared == 0);
        assert_true(action != MODEL_SWAP_GIVE_UP || unprepared != 0);
        switches += action == MODEL_SWAP_SWITCH;
        given_up += action == MODEL_SWAP_GIVE_UP;
        releases += action == MODEL_SWAP_RELEASE;
        assert_int_equal(switches - releases, s.stage == MODEL_SWAP_ENDING);
    }
    assert_true(switches > 1000 && given_up > 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_switch_once_all_are_prepared),
        cmocka_unit_test(nobody_waits_for_who_does_not_take_part),
        cmocka_unit_test(who_is_asked_again_has_to_say_so_again),
        cmocka_unit_test(a_swap_is_given_up_in_time),
        cmocka_unit_test(the_model_before_ends_with_its_last_sample),
        cmocka_unit_test(numbers_are_not_used_twice),
        cmocka_unit_test(any_order_of_events_holds_the_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
