/* Experiments with nets that are lists of layers, for tests. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_LIB_LISTED_NETS_H
#define FEWBIT_TESTS_LIB_LISTED_NETS_H

#include "tests/lib/experiments.h"

/* Quadrants of a digit, 1x14x14; four lines. */
#define HEAD                                                                                                           \
    "name: own\ndataset: {name: mnist, partition: quadrants, portions: 4}\n"                                           \
    "optimiser: {kind: adam, learning_rate: 0.01}\ntraining: {epochs: 2, batch_size: 20, seed: 1}\n"
#define DECODER "decoder: {net: linear}\n"
#define CLASSIFIER "classifier: {net: mnist, hidden: 30}\n"
#define REST DECODER CLASSIFIER
#define ENCODER "encoder: {net: simple-1d, hidden: 20, bits: 4}\n"

static inline err parse_whole(const char *whole, experiment *e) {
    static char text[TEXT_MAX];
    int length = snprintf(text, sizeof text, "%s", whole);
    assert_true(length > 0 && (size_t)length < sizeof text);
    return parse_text(text, (size_t)length, e);
}

static inline void must_be(const char *whole, experiment *e) {
    if (parse_whole(whole, e)) {
        fail_msg("%s", err_text());
    }
}

#endif
