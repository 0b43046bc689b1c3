/* The layout of a codeword, against sums taken portion by portion. */
#include "base/rng.h"
#include "bits/codeword.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { CASES = 300 };

/* `count` stages of 1 to 64 bits in all. */
static refinement random_refinement(rng *r, uint32_t count) {
    refinement made = {.count = count};
    uint32_t upto = 0;
    for (uint32_t stage = 0; stage < count; stage++) {
        uint32_t left = 64 - upto - (count - stage - 1);
        upto += 1 + rng_below(r, left);
        made.upto[stage] = upto;
    }
    return made;
}

static void portions_lie_side_by_side(void **state) {
    (void)state;
    rng r = rng_at(1, RNG_TEST, 1);
    for (uint32_t i = 0; i < CASES; i++) {
        uint32_t portions = i < 2 ? (i ? CODEWORD_PORTIONS_MAX : 1) : 1 + rng_below(&r, CODEWORD_PORTIONS_MAX);
        uint32_t stages = 1 + rng_below(&r, REFINEMENT_STAGES_MAX), bits = 0, upto[REFINEMENT_STAGES_MAX] = {0};
        codeword c = codeword_empty();
        for (uint32_t p = 0; p < portions; p++) {
            refinement portion = random_refinement(&r, stages);
            codeword_append(&c, &portion);
            assert_int_equal(c.offset[p], bits);
            assert_int_equal(codeword_portion_bits(&c, p), portion.upto[stages - 1]);
            assert_int_equal(codeword_unasked_bits(&c, p), portion.upto[0]);
            bits += portion.upto[stages - 1];
            for (uint32_t stage = 0; stage < stages; stage++) {
                upto[stage] += portion.upto[stage];
            }
        }
        assert_int_equal(c.portions, portions);
        assert_int_equal(c.stages, stages);
        assert_int_equal(codeword_bits(&c), bits);
        codeword whole = codeword_whole(&c);
        assert_int_equal(whole.stages, 1);
        assert_int_equal(codeword_bits(&whole), bits);
        for (uint32_t stage = 0; stage < stages; stage++) {
            assert_int_equal(codeword_stage_bits(&c, stage), upto[stage]);
        }
        for (uint32_t p = 0; p < portions; p++) {
            assert_int_equal(whole.offset[p], c.offset[p]);
            assert_int_equal(whole.portion[p].upto[0], c.portion[p].upto[stages - 1]);
        }
    }
}

static codeword two(refinement first, refinement second) {
    codeword c = codeword_empty();
    codeword_append(&c, &first);
    codeword_append(&c, &second);
    return c;
}

static void what_differs_is_not_equal(void **state) {
    (void)state;
    refinement small = {2, {1, 4}}, large = {2, {30, 64}};
    codeword base = two(small, large), other = two(large, small), inner = two((refinement){2, {2, 4}}, large),
             whole = codeword_whole(&base), longer = base, same = two(small, large);
    codeword_append(&longer, &small);
    assert_true(codeword_equal(&base, &same));
    same.portion[2].upto[0] = 9; /* beyond its portions */
    assert_true(codeword_equal(&base, &same));
    const codeword *others[] = {&other, &inner, &whole, &longer};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(codeword_equal(&base, others[i]));
        assert_false(codeword_equal(others[i], &base));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(portions_lie_side_by_side),
        cmocka_unit_test(what_differs_is_not_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
