/* A small system of four slices of MNIST's shape, and made-up samples of its second portion, in the test's folder. */
#ifndef FEWBIT_TESTS_LIB_SMALL_PORTION_H
#define FEWBIT_TESTS_LIB_SMALL_PORTION_H

#include "base/rng.h"
#include "data/portion.h"
#include "experiment/derive.h"
#include "experiment/validate.h"
#include "tests/lib/folder.h"
#include "tests/lib/portion_info.h"

enum { SMALL_WIDTH = 28, SMALL_ELEMENTS = 7 * SMALL_WIDTH, SMALL_SAMPLES = 100, SMALL_BITS = 4, SMALL_HIDDEN = 20 };

static experiment small_system = {
    .name = "small",
    .dataset = {.evaluate_test = true,
                .name = "mnist",
                .partition = PARTITION_SLICES,
                .portions = 4,
                .mean = 0.1307f,
                .std = 0.3081f},
    .encoder = {.net = PRESET_SIMPLE_1D, .hidden = SMALL_HIDDEN, .bits = SMALL_BITS, .activation = PRESET_SIGMOID},
    .classifier = {.net = PRESET_MNIST, .hidden = 10},
    .optimiser = {.kind = NN_ADAM, .learning_rate = 0.001f},
    .training = {.epochs = 1, .batch_size = 10, .seed = 1},
};

/* SMALL_SAMPLES in each split. The caller closes it. */
static inline portion *open_small_portion(void) {
    static uint8_t samples[SMALL_SAMPLES * SMALL_ELEMENTS];
    portion *data;
    portion_info info = info_of_portion((partition){PARTITION_SLICES, 4, 1, 28, 28}, 1, SMALL_SAMPLES, SMALL_SAMPLES);
    rng draws = rng_at(1, rng_stream(RNG_TEST, 0), 0);
    for (size_t i = 0; i < sizeof samples; i++) {
        samples[i] = (uint8_t)rng_u32(&draws);
    }
    assert_int_equal(experiment_fill_portions(&small_system), ERR_OK);
    assert_int_equal(experiment_validate(&small_system, NULL), ERR_OK);
    assert_int_equal(portion_write(in_folder("data"), &info, &(portion_contents){.values = {samples, samples}}),
                     ERR_OK);
    assert_int_equal(portion_open(&data, in_folder("data")), ERR_OK);
    return data;
}

#endif
