/* Portions missing on purpose: what is drawn, what the head sees, what comes back. */
#include "decoder_server/train/portion_dropout.h"

#include "decoder_server/train/head_trainer.h"
#include "tests/lib/experiments.h"
#include "tests/lib/uneven_codes.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 2000, PORTIONS = 4, BITS = 3, WIDTH = PORTIONS * BITS };

static codeword layout_of(uint32_t portions, uint32_t bits) {
    codeword c = codeword_empty();
    for (uint32_t k = 0; k < portions; k++) {
        codeword_append(&c, &(refinement){1, {bits}});
    }
    return c;
}

static codeword layout;
static portion_dropout some = {0.3f, 5, &layout};

static int make_layout(void **state) {
    (void)state;
    layout = layout_of(PORTIONS, BITS);
    return 0;
}

/* The share of samples that lack a portion is the rate, but for those that would lack all; portions are independent. */
static void as_many_are_missing_as_asked(void **state) {
    (void)state;
    uint64_t have[ROWS];
    portion_dropout_draw(&some, 7, NULL, ROWS, have);
    double lack[PORTIONS] = {0}, both = 0;
    for (size_t row = 0; row < ROWS; row++) {
        for (uint32_t k = 0; k < PORTIONS; k++) {
            lack[k] += !(have[row] >> k & 1);
        }
        both += (have[row] & 3) == 0;
        assert_true((have[row] & 15) != 0);
    }
    const double rate = 0.3 - 0.0081, pair = 0.09 - 0.0081; /* 0.3^4 = 0.0081 would lack all */
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_true(fabs(lack[k] / ROWS - rate) < 5 * sqrt(rate * (1 - rate) / ROWS));
    }
    assert_true(fabs(both / ROWS - pair) < 5 * sqrt(pair * (1 - pair) / ROWS));
}

static void draws_depend_on_seed_and_step(void **state) {
    (void)state;
    uint64_t have[4][ROWS];
    portion_dropout other = some;
    other.seed++;
    portion_dropout_draw(&some, 7, NULL, ROWS, have[0]);
    portion_dropout_draw(&some, 7, NULL, ROWS, have[1]);
    portion_dropout_draw(&some, 8, NULL, ROWS, have[2]);
    portion_dropout_draw(&other, 7, NULL, ROWS, have[3]);
    assert_memory_equal(have[0], have[1], sizeof have[0]);
    assert_memory_not_equal(have[0], have[2], sizeof have[0]);
    assert_memory_not_equal(have[0], have[3], sizeof have[0]);
    uint64_t fewer[10];
    portion_dropout_draw(&some, 7, NULL, 10, fewer);
    assert_memory_equal(fewer, have[0], sizeof fewer);
}

static void what_is_missing_is_unknown_and_has_no_gradient(void **state) {
    (void)state;
    const uint64_t have[2] = {5, 8}; /* portions 0 and 2; portion 3 */
    float soft[2 * WIDTH], seen[2 * WIDTH], gradient[2 * WIDTH];
    for (size_t i = 0; i < 2 * WIDTH; i++) {
        soft[i] = gradient[i] = (float)(i + 1) / 100;
    }
    portion_dropout_fill(&some, have, 2, soft, seen);
    portion_dropout_clear(&some, have, 2, gradient);
    for (size_t row = 0; row < 2; row++) {
        for (size_t k = 0; k < PORTIONS; k++) {
            for (size_t i = row * WIDTH + k * BITS; i < row * WIDTH + (k + 1) * BITS; i++) {
                bool is_here = have[row] >> k & 1;
                assert_true(seen[i] == (is_here ? soft[i] : 0.5f));
                assert_true(gradient[i] == (is_here ? soft[i] : 0));
            }
        }
    }
}

/* Portions of 1, 64, 7 and 12 bits: every bit of what is missing, and no other. */
static void uneven_portions_are_missing_as_a_whole(void **state) {
    (void)state;
    enum { BITS_OF_ALL = 1 + 64 + 7 + 12 };
    const codeword uneven = uneven_whole();
    const portion_dropout d = {0.3f, 5, &uneven};
    uint64_t have[1 << UNEVEN_PORTIONS];
    static float soft[1 << UNEVEN_PORTIONS][BITS_OF_ALL], seen[1 << UNEVEN_PORTIONS][BITS_OF_ALL];
    for (uint32_t row = 0; row < 1 << UNEVEN_PORTIONS; row++) {
        have[row] = row;
        for (uint32_t i = 0; i < BITS_OF_ALL; i++) {
            soft[row][i] = (float)(1 + row * BITS_OF_ALL + i);
        }
    }
    portion_dropout_fill(&d, have, 1 << UNEVEN_PORTIONS, soft[0], seen[0]);
    for (uint32_t row = 0; row < 1 << UNEVEN_PORTIONS; row++) {
        for (uint32_t i = 0; i < BITS_OF_ALL; i++) {
            uint32_t k = i < 1 ? 0 : i < 65 ? 1 : i < 72 ? 2 : 3;
            assert_true(seen[row][i] == (row >> k & 1 ? soft[row][i] : 0.5f));
        }
    }
    portion_dropout_clear(&d, have, 1 << UNEVEN_PORTIONS, soft[0]);
    for (uint32_t row = 0; row < 1 << UNEVEN_PORTIONS; row++) {
        for (uint32_t i = 0; i < BITS_OF_ALL; i++) {
            assert_true(soft[row][i] == (seen[row][i] == 0.5f ? 0 : seen[row][i]));
        }
    }
}

/* A step with and without the numbers of the missing portions: the same loss of classification, and no gradient on
 * them but that of the quantization term, which the encoders owe for every sample. */
static void a_step_does_not_see_what_is_missing(void **state) {
    (void)state;
    experiment e;
    const change changes[] = {{"training.portion_dropout", "0.5"}, {"encoder.batch_norm", NULL}};
    must_parse(changes, 2, &e);
    for (int with_quantization = 0; with_quantization < 2; with_quantization++) {
        e.loss.quantization = (float)with_quantization;
        const size_t rows = e.training.batch_size, bits = e.encoder.bits, width = e.dataset.portions * bits;
        float *soft = malloc(rows * width * sizeof *soft), *changed = malloc(rows * width * sizeof *changed);
        uint8_t *labels = malloc(rows);
        uint64_t *have = malloc(rows * sizeof *have);
        const codeword of_e = layout_of(e.dataset.portions, e.encoder.bits);
        const portion_dropout m = {0.5f, e.training.seed, &of_e};
        portion_dropout_draw(&m, 3, NULL, rows, have);
        for (size_t i = 0; i < rows * width; i++) {
            bool is_here = have[i / width] >> (i % width / bits) & 1;
            soft[i] = 0.1f + 0.8f * (float)(i * 7919 % 101) / 100;
            changed[i] = is_here ? soft[i] : 1 - soft[i]; /* as far from its bit as before */
        }
        for (size_t row = 0; row < rows; row++) {
            labels[row] = (uint8_t)(row % 10);
        }
        head_trainer *s;
        assert_int_equal(head_trainer_new(&s, &e, 10, rows, 1000, NULL), ERR_OK);
        head_trainer_init(s, 1);
        head_trainer_set_number(s, 3);
        double loss, again;
        size_t correct = 0, kept = 0;
        const float *gradient = head_trainer_train(s, soft, NULL, labels, rows, &loss, &correct);
        for (size_t i = 0; i < rows * width; i++) {
            bool is_here = have[i / width] >> (i % width / bits) & 1;
            double owed = with_quantization ? 2.0 * ((double)soft[i] - (soft[i] > 0.5f)) / (double)(rows * width) : 0;
            assert_true(is_here || fabs((double)gradient[i] - owed) < 1e-9);
            kept += is_here && fabs((double)gradient[i] - owed) > 1e-9;
        }
        assert_true(kept > rows * width / 4);
        head_trainer_train(s, changed, NULL, labels, rows, &again, &correct);
        assert_true(fabs(loss - again) < 1e-6);
        head_trainer_set_number(s, 4);
        head_trainer_train(s, soft, NULL, labels, rows, &again, &correct);
        assert_true(fabs(loss - again) > 1e-4); /* others are missing now */
        head_trainer_free(s);
        free(soft);
        free(changed);
        free(labels);
        free(have);
    }
}

/* Portions that a sample does not have, with dropout of those that it has and without: the head sees none of their
 * numbers, and there is no gradient on them, not even that of the quantization term. */
static void a_step_does_not_see_what_a_sample_lacks(void **state) {
    (void)state;
    enum { LACKING = 40 };
    experiment e;
    const change changes[] = {{"encoder.batch_norm", NULL}};
    must_parse(changes, 1, &e);
    e.dataset.missing = EXPERIMENT_MISSING_TRAIN;
    e.loss.quantization = 1;
    for (int with_dropout = 0; with_dropout < 2; with_dropout++) {
        e.training.portion_dropout = with_dropout ? 0.5f : 0;
        const size_t bits = e.encoder.bits, width = e.dataset.portions * bits;
        float *soft = malloc(2 * LACKING * width * sizeof *soft), *changed = soft + LACKING * width;
        uint8_t labels[LACKING];
        uint64_t have[LACKING];
        for (size_t row = 0; row < LACKING; row++) {
            labels[row] = (uint8_t)(row % 10);
            have[row] = 1 + row % ((1u << e.dataset.portions) - 1); /* every pattern but none */
        }
        for (size_t i = 0; i < LACKING * width; i++) {
            bool is_here = have[i / width] >> (i % width / bits) & 1;
            soft[i] = 0.1f + 0.8f * (float)(i * 7919 % 101) / 100;
            changed[i] = is_here ? soft[i] : 0.3f;
        }
        head_trainer *s;
        assert_int_equal(head_trainer_new(&s, &e, 10, LACKING, 1000, NULL), ERR_OK);
        head_trainer_init(s, 1);
        head_trainer_set_number(s, 3);
        double loss, again;
        size_t correct = 0, kept = 0;
        const float *gradient = head_trainer_train(s, soft, have, labels, LACKING, &loss, &correct);
        for (size_t i = 0; i < LACKING * width; i++) {
            bool is_here = have[i / width] >> (i % width / bits) & 1;
            assert_true(is_here || gradient[i] == 0);
            kept += is_here && gradient[i] != 0;
        }
        assert_true(kept > LACKING * width / 4);
        head_trainer_train(s, changed, have, labels, LACKING, &again, &correct);
        assert_true(loss == again);
        head_trainer_train(s, soft, NULL, labels, LACKING, &again, &correct);
        assert_true(fabs(loss - again) > 1e-4);
        head_trainer_free(s);
        free(soft);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_are_missing_as_asked),
        cmocka_unit_test(draws_depend_on_seed_and_step),
        cmocka_unit_test(what_is_missing_is_unknown_and_has_no_gradient),
        cmocka_unit_test(uneven_portions_are_missing_as_a_whole),
        cmocka_unit_test(a_step_does_not_see_what_is_missing),
        cmocka_unit_test(a_step_does_not_see_what_a_sample_lacks),
    };
    return cmocka_run_group_tests(tests, make_layout, NULL);
}
