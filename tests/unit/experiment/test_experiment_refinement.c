/* The keys of bits in stages: each error names file, line and key. */
#include "experiment/derive.h"
#include "tests/lib/experiments.h"

static char text[TEXT_MAX];

/* Each case's last change brings the key that must be named, on the line behind. */
static void rounds_that_do_not_fit(void **state) {
    (void)state;
    static const char sum[] = "key encoder.refinement must be numbers above 0 that add up to encoder.bits",
                      rising[] = "key training.confidence_thresholds must be numbers from 0 to 1.1 in rising order",
                      each[] = "key loss.refinement_weights must have an entry for each of encoder.refinement",
                      weights[] = "key loss.refinement_weights must be from 0 to 1000, not all 0";
    static const char bits[] = "encoder.bits", loss[] = "loss.quantization", epochs[] = "training.epochs";
    static const char two[] = "6\n  refinement: [2, 4]";
    const struct {
        change changes[2];
        const char *demand;
    } cases[] = {
        {{{bits, "6\n  refinement: [2, 3]"}}, sum},
        {{{bits, "6\n  refinement: [6, 0]"}}, sum},
        {{{bits, "6\n  refinement: [4294967295, 7]"}}, sum},
        {{{bits, "6\n  refinement: [2, -2]"}}, "refinement"},
        {{{bits, "9\n  refinement: [1, 1, 1, 1, 1, 1, 1, 1, 1]"}}, "refinement"},
        {{{bits, two}, {loss, "0\n  refinement_weights: [1]"}}, each},
        {{{bits, two}, {loss, "0\n  refinement_weights: [1, 1, 1]"}}, each},
        {{{loss, "0\n  refinement_weights: [1]"}}, each},
        {{{bits, two}, {loss, "0\n  refinement_weights: [0, 0]"}}, weights},
        {{{bits, two}, {loss, "0\n  refinement_weights: [1, -1]"}}, weights},
        {{{bits, two}, {loss, "0\n  refinement_weights: [1, 1001]"}}, weights},
        {{{bits, two}, {epochs, "2\n  confidence_thresholds: [0.5, 0.4]"}}, rising},
        {{{bits, two}, {epochs, "2\n  confidence_thresholds: [1.2]"}}, rising},
        {{{bits, two}, {epochs, "2\n  confidence_thresholds: [-0.1]"}}, rising},
        {{{epochs, "2\n  confidence_thresholds: [0.5]"}},
         "key training.confidence_thresholds needs encoder.refinement"},
    };
    experiment e;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned line = 0;
        char place[32];
        size_t count = cases[i].changes[1].path ? 2 : 1, length = compose(text, cases[i].changes, count, &line);
        assert_int_equal(parse_text(text, length, &e), ERR_INPUT);
        snprintf(place, sizeof place, "some.yaml:%u: ", line + (unsigned)count); /* compose counts keys, not lines */
        if (!strstr(err_text(), place) || !strstr(err_text(), cases[i].demand)) {
            fail_msg("'%s' does not tell %s'%s'", err_text(), place, cases[i].demand);
        }
    }
    const change good[] = {
        {bits, two}, {loss, "0\n  refinement_weights: [0, 1]"}, {epochs, "2\n  confidence_thresholds: [0, 0.5, 1.1]"}};
    must_parse(good, 3, &e);
    assert_int_equal(experiment_refinement(&e, 0).count, 2);
    codeword c = experiment_codeword(&e);
    assert_int_equal(c.portions, e.dataset.portions);
    assert_int_equal(c.stages, 2);
    for (uint32_t p = 0; p < c.portions; p++) {
        assert_int_equal(c.offset[p], 6 * p);
        assert_int_equal(c.portion[p].upto[0], 2);
        assert_int_equal(c.portion[p].upto[1], 6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(rounds_that_do_not_fit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
