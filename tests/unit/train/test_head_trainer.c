/* The server's half of a step, where portions differ in their bits: what lies in which columns, and its gradient. */
#include "decoder_server/train/head_trainer.h"

#include "base/rng.h"
#include "bits/binarize.h"
#include "experiment/derive.h"
#include "experiment/load.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 6, BITS = 3 + 8 + 1, CLASSES = 3 };

static const char text[] = "name: own\n"
                           "dataset: {name: parts}\n"
                           "portions:\n"
                           "  - {name: guest, shape: [7], type: u8, encoder: {bits: 3}}\n"
                           "  - {name: host, shape: [3, 20], type: f32, encoder: {bits: 8}}\n"
                           "  - {name: eye, shape: [1, 6, 5], type: u8, encoder: {bits: 1}}\n"
                           "encoder: {net: simple-1d, hidden: 4}\n"
                           "decoder: {net: linear}\n"
                           "classifier: {net: mnist, hidden: 16}\n"
                           "loss: {quantization: 0.75}\n"
                           "optimiser: {kind: sgd, learning_rate: 0.1}\n"
                           "training: {epochs: 1, batch_size: 6, seed: 1}\n";

static experiment e;
static head_trainer *trainer;
static float soft[ROWS][BITS];
static uint8_t truth[ROWS];

static int make_trainer(void **state) {
    (void)state;
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    assert_int_equal(head_trainer_new(&trainer, &e, CLASSES, ROWS, 100, NULL), ERR_OK);
    head_trainer_init(trainer, 1);
    rng draws = rng_at(1, rng_stream(RNG_TEST, 0), 0);
    for (size_t row = 0; row < ROWS; row++) {
        truth[row] = (uint8_t)(row % CLASSES);
        for (size_t i = 0; i < BITS; i++) {
            soft[row][i] = 0.1f + 0.35f * rng_float(&draws); /* at some distance from where a bit turns over */
        }
    }
    return 0;
}

static int drop_trainer(void **state) {
    (void)state;
    head_trainer_free(trainer);
    return 0;
}

static double loss_of(const float *inputs, float gradient[ROWS * BITS]) {
    double loss;
    size_t correct = 0;
    head_trainer_set_number(trainer, 0);
    const float *got = head_trainer_train(trainer, inputs, NULL, truth, ROWS, &loss, &correct);
    if (gradient) {
        memcpy(gradient, got, ROWS * BITS * sizeof *got);
    }
    return loss;
}

static void portions_lie_side_by_side(void **state) {
    (void)state;
    static const uint32_t bits[] = {3, 8, 1}, from[] = {0, 3, 11};
    assert_int_equal(head_trainer_inputs(trainer), BITS);
    float inputs[ROWS * BITS], one[ROWS * 8], back[ROWS * 8];
    for (size_t i = 0; i < ROWS * BITS; i++) {
        inputs[i] = -1;
    }
    for (uint32_t k = 0; k < 3; k++) {
        for (size_t i = 0; i < ROWS * bits[k]; i++) {
            one[i] = (float)(100 * k + i);
        }
        head_trainer_place(trainer, k, one, ROWS, inputs);
        head_trainer_take(trainer, k, inputs, ROWS, back);
        assert_memory_equal(one, back, ROWS * bits[k] * sizeof *one);
    }
    for (size_t row = 0; row < ROWS; row++) {
        for (uint32_t k = 0; k < 3; k++) {
            for (uint32_t b = 0; b < bits[k]; b++) {
                assert_true(inputs[row * BITS + from[k] + b] == (float)(100 * k + row * bits[k] + b));
            }
        }
    }
}

/* Each column's gradient is what the loss changes by, the quantization term with it. */
static void the_gradient_is_that_of_the_loss(void **state) {
    (void)state;
    float gradient[ROWS * BITS], inputs[ROWS * BITS];
    const float step = 1.0f / 512; /* few ReLUs turn on the way */
    memcpy(inputs, soft, sizeof soft);
    loss_of(inputs, gradient);
    double most = 0;
    for (size_t i = 0; i < ROWS * BITS; i++) {
        float was = inputs[i];
        inputs[i] = was + step;
        double above = loss_of(inputs, NULL);
        inputs[i] = was - step;
        double below = loss_of(inputs, NULL);
        inputs[i] = was;
        double slope = (above - below) / (2 * (double)step);
        if (fabs(slope - (double)gradient[i]) > 2e-4) {
            fail_msg("row %zu, bit %zu: %g, not %g", i / BITS, i % BITS, (double)gradient[i], slope);
        }
        most = fmax(most, fabs(slope));
    }
    assert_true(most > 1e-2);
}

/* The mean over the portions of each one's mean: a portion of one bit weighs as much as one of eight. */
static void the_quantization_term_weighs_portions_alike(void **state) {
    (void)state;
    static const uint32_t bits[] = {3, 8, 1};
    float inputs[ROWS * BITS], rounded[ROWS * BITS], gradient[ROWS * BITS];
    memcpy(inputs, soft, sizeof soft);
    double wanted = 0;
    for (size_t row = 0; row < ROWS; row++) {
        for (uint32_t k = 0, at = 0; k < 3; at += bits[k++]) {
            for (uint32_t b = 0; b < bits[k]; b++) {
                double d = (double)(soft[row][at + b] - binarize(soft[row][at + b]));
                wanted += d * d / bits[k] / 3 / ROWS;
                rounded[row * BITS + at + b] = soft[row][at + b];
            }
        }
    }
    e.loss.quantization = 0;
    head_trainer *plain;
    assert_int_equal(head_trainer_new(&plain, &e, CLASSES, ROWS, 100, NULL), ERR_OK);
    head_trainer_init(plain, 1);
    double without, with = loss_of(inputs, gradient);
    size_t correct = 0;
    head_trainer_train(plain, rounded, NULL, truth, ROWS, &without, &correct);
    assert_true(fabs(with - without - 0.75 * wanted) < 1e-6);
    head_trainer_free(plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(portions_lie_side_by_side),
        cmocka_unit_test(the_gradient_is_that_of_the_loss),
        cmocka_unit_test(the_quantization_term_weighs_portions_alike),
    };
    return cmocka_run_group_tests(tests, make_trainer, drop_trainer);
}
