/* Which samples are kept, and in which order: by the rule, for every pattern of portions that have a sample. */
#include "decoder_server/train/alignment.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PORTIONS = 3, PATTERNS = 1 << PORTIONS, HELD_BACK = PATTERNS };

/* Each split has every pattern: twice in training, of which the second half is held back, and once in the test. */
static const alignment_rule every = {
    .portions = PORTIONS, .samples = {2 * PATTERNS, PATTERNS}, .validation = HELD_BACK};

static alignment align_every(uint32_t min_portions) {
    uint64_t have[3 * PATTERNS];
    for (uint32_t i = 0; i < 3 * PATTERNS; i++) {
        have[i] = i % PATTERNS;
    }
    alignment a;
    alignment_rule rule = every;
    rule.min_portions = min_portions;
    assert_int_equal(alignment_new(&a, &rule, have), ERR_OK);
    return a;
}

static void samples_with_enough_portions_are_kept(void **state) {
    (void)state;
    static const uint32_t with_enough[] = {8, 7, 4, 1}; /* patterns with so many portions at least */
    for (uint32_t least = 1; least <= PORTIONS; least++) {
        alignment a = align_every(least);
        assert_int_equal(a.samples[DATASET_TRAIN], with_enough[least] + 1);
        assert_int_equal(a.validation, 1);
        assert_int_equal(a.complete, 1);
        assert_int_equal(a.samples[DATASET_TEST], with_enough[least]);
        assert_int_equal(a.complete_test, 1);
        uint32_t test = a.samples[DATASET_TRAIN];
        assert_int_equal(a.numbers[test - 1], 2 * PATTERNS - 1); /* held back: the complete one */
        assert_int_equal(a.numbers[test], 3 * PATTERNS - 1);     /* the complete one comes first */
        for (uint32_t i = 0; i < test + a.samples[DATASET_TEST]; i++) {
            assert_int_equal(a.have[i], a.numbers[i] % PATTERNS);
            assert_true((uint32_t)__builtin_popcountll(a.have[i]) >= least);
            bool follows = i == 0 || i == test || i == test + 1 || a.numbers[i] > a.numbers[i - 1];
            assert_true(follows); /* as in the labels' folder */
        }
        alignment_free(&a);
    }
}

static void sixty_four_portions_fit(void **state) {
    (void)state;
    const uint64_t have[3] = {UINT64_MAX, UINT64_MAX >> 1, UINT64_MAX};
    const alignment_rule rule = {.portions = 64, .samples = {2, 1}, .min_portions = 64};
    alignment a;
    assert_int_equal(alignment_new(&a, &rule, have), ERR_OK);
    assert_int_equal(a.samples[DATASET_TRAIN], 1);
    assert_int_equal(a.complete_test, 1);
    assert_false(alignment_is_identity(&a, &rule));
    alignment_free(&a);
}

static void what_all_have_is_left_as_it_is(void **state) {
    (void)state;
    uint64_t have[30];
    for (uint32_t i = 0; i < 30; i++) {
        have[i] = 7;
    }
    alignment_rule rule = {.portions = 3, .samples = {20, 10}, .validation = 4, .min_portions = 1};
    alignment a;
    assert_int_equal(alignment_new(&a, &rule, have), ERR_OK);
    assert_true(alignment_is_identity(&a, &rule));
    assert_int_equal(alignment_check(&a, &rule, 16), ERR_OK);
    assert_int_equal(alignment_check(&a, &rule, 17), ERR_OK); /* nothing is lost: an epoch's last batch may be short */
    for (uint32_t i = 0; i < 30; i++) {
        assert_int_equal(a.numbers[i], i);
    }
    alignment_free(&a);
    have[0] = 3;
    rule.min_portions = 3;
    assert_int_equal(alignment_new(&a, &rule, have), ERR_OK);
    assert_int_equal(alignment_check(&a, &rule, 15), ERR_OK);
    assert_int_equal(alignment_check(&a, &rule, 16), ERR_INPUT);
    alignment_free(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_with_enough_portions_are_kept),
        cmocka_unit_test(sixty_four_portions_fit),
        cmocka_unit_test(what_all_have_is_left_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
