/* The experiment files of the paper's systems say what its Table 1 says, and a file that does not fit together is
 * refused with its line and key. */
#include "data/dataset.h"
#include "experiment/derive.h"
#include "experiment/experiment.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <glob.h>

/* Table 1, in its order. Accuracies that it does not list are 0. */
static const struct {
    const char *encoder, *decoder;
    float alpha;
    uint32_t bits, portions, epochs;
    float train, soft, rounded;
} table[] = {
    {"simple-1d", "linear", 0, 4, 4, 10, 98.775f, 97.47f, 93.66f},
    {"simple-1d", "linear", 0, 4, 4, 10, 98.6f, 97.77f, 93.35f},
    {"simple-1d", "linear", 0, 4, 4, 10, 97.46f, 0, 96.56f},
    {"simple-1d", "linear", 1, 4, 4, 10, 98.83f, 97.81f, 94.24f},
    {"simple-1d", "linear", 0, 8, 3, 33, 85.668f, 50.31f, 33.6f},
    {"simple-1d", "linear", 1, 8, 3, 33, 85.746f, 50.24f, 33.4f},
    {"simple-1d", "linear", 0, 8, 3, 50, 79.738f, 0, 45.44f},
    {"conv", "linear", 1, 12, 3, 42, 97.03f, 0, 42.4f},
    {"conv", "linear", 0.5f, 12, 3, 45, 97.134f, 0, 41.79f},
    {"conv", "linear", 2, 12, 3, 41, 97.112f, 0, 49.84f},
    {"conv", "linear", 0, 12, 3, 39, 97.114f, 63.87f, 53.84f},
    {"conv", "linear", 0, 12, 3, 100, 98.446f, 0, 57.27f},
    {"conv-b", "linear", 1, 8, 3, 35, 73.008f, 64.97f, 37.51f},
    {"conv-c", "linear", 0, 12, 3, 20, 84.352f, 66.4f, 55.27f},
    {"conv-c", "linear", 1, 4, 3, 30, 88.452f, 63.54f, 43.27f},
    {"alexnet", "linear", 1, 8, 3, 100, 99.222f, 83.07f, 81.04f},
    {"alexnet", "linear", 0, 8, 3, 30, 97.506f, 82.73f, 74.81f},
    {"alexnet-small", "linear", 0, 16, 3, 100, 99.116f, 62.73f, 51.45f},
    {"resnet18", "linear", 0, 8, 3, 10, 93.8f, 80.4f, 68.11f},
    {"resnet18", "linear", 1, 8, 3, 20, 98.254f, 80.18f, 66.57f},
    {"conv-square", "square", 1, 16, 3, 50, 32.154f, 23.86f, 10.0f},
    {"conv-square", "square-b", 1, 16, 3, 50, 27.94f, 16.1f, 10.0f},
    {"conv-square-b", "square", 1, 16, 3, 41, 17.498f, 17.23f, 16.98f},
    {"conv-square-b", "square", 1, 16, 3, 100, 23.676f, 22.78f, 10.11f},
    {"conv-square-b", "square", 1, 16, 3, 100, 19.964f, 19.6f, 11.93f},
    {"conv-square-8x8", "square-8x8", 1, 64, 3, 100, 63.066f, 55.38f, 13.09f},
    {"conv-small-3", "linear", 0, 8, 4, 53, 99.316f, 59.61f, 50.99f},
    {"conv-small-3", "linear", 1, 8, 4, 5, 69.43f, 57.55f, 42.94f},
    {"conv-small-3", "linear", 0, 4, 4, 29, 98.502f, 57.92f, 46.98f},
};

enum { ROWS = sizeof table / sizeof table[0] };

static void load(const char *path, experiment *e) {
    if (experiment_load(path, e)) {
        fail_msg("%s", err_text());
    }
}

static void load_row(uint32_t row, experiment *e) {
    char pattern[64];
    glob_t found;
    snprintf(pattern, sizeof pattern, "experiments/paper/row-%02u-*.yaml", row);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    load(found.gl_pathv[0], e);
    assert_int_equal(strncmp(strrchr(found.gl_pathv[0], '/') + 1, e->name, strlen(e->name)), 0);
    globfree(&found);
}

static void assert_near(float found, float wanted) {
    assert_true(found > wanted - 1e-4f && found < wanted + 1e-4f);
}

static void assert_value(const experiment *e, const char *key, const char *wanted) {
    char text[EXPERIMENT_TEXT_MAX];
    assert_int_equal(experiment_value(e, key, text), ERR_OK);
    assert_string_equal(text, wanted);
}

static void rows_are_those_of_table_1(void **state) {
    (void)state;
    for (uint32_t row = 1; row <= ROWS; row++) {
        experiment e;
        load_row(row, &e);
        assert_int_equal(e.paper.row, row);
        assert_value(&e, "encoder.net", table[row - 1].encoder);
        assert_value(&e, "decoder.net", table[row - 1].decoder);
        assert_near(e.loss.quantization, table[row - 1].alpha);
        assert_int_equal(e.encoder.bits, table[row - 1].bits);
        assert_int_equal(e.dataset.portions, table[row - 1].portions);
        assert_int_equal(e.paper.epochs, table[row - 1].epochs);
        assert_near(e.paper.train, table[row - 1].train);
        assert_near(e.paper.soft, table[row - 1].soft);
        assert_near(e.paper.rounded, table[row - 1].rounded);
    }
}

/* "Note that unless stated otherwise, all trials included in this report used a batch size of 100, learning rate of
 * 0.001, and optimizer of Adam"; the seed is one. */
static void rows_are_trained_as_the_text_says(void **state) {
    (void)state;
    for (uint32_t row = 1; row <= ROWS; row++) {
        experiment e;
        load_row(row, &e);
        assert_int_equal(e.training.batch_size, row == 24 || row == 25 ? 50 : 100);
        assert_near(e.optimiser.learning_rate * 1000, row == 25 ? 0.1f : 1);
        assert_int_equal(e.optimiser.kind, NN_ADAM);
        assert_int_equal(e.training.seed, 1);
        assert_int_equal(e.training.precision, NN_F32);
        assert_int_equal(e.encoder.binarize, row == 3 || row == 7 ? PRESET_STRAIGHT_THROUGH : PRESET_AFTER_TRAINING);
        assert_int_equal(e.encoder.activation, row == 2 ? PRESET_RESIGMOID : PRESET_SIGMOID);
        assert_int_equal(e.encoder.batch_norm, row != 1 && row != 3 && row != 7 && row != 12);
        assert_int_equal(e.dataset.partition, row >= 27  ? PARTITION_QUADRANTS
                                              : row >= 5 ? PARTITION_PLANES
                                                         : PARTITION_SLICES);
        assert_string_equal(e.dataset.name, row >= 5 ? "cifar10" : "mnist");
        assert_value(&e, "classifier.net", row >= 5 ? "playground" : "mnist");
        assert_int_equal(e.classifier.train, row >= 5 ? PRESET_TRAIN_FROZEN : PRESET_TRAIN_JOINT);
        assert_true(experiment_step_macs(&e, 10) > 0);
    }
}

/* What the resolved text says is the same experiment, and leaves room in a node's welcome. */
static void every_file_resolves(void **state) {
    (void)state;
    glob_t found;
    assert_int_equal(glob("experiments/{paper,best,own}/*.yaml", GLOB_BRACE, NULL, &found), 0);
    assert_true(found.gl_pathc >= ROWS + 2);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        experiment e, again;
        char text[EXPERIMENT_TEXT_MAX], text_again[EXPERIMENT_TEXT_MAX];
        size_t length, length_again;
        load(found.gl_pathv[i], &e);
        assert_int_equal(experiment_serialize(&e, text, &length), ERR_OK);
        assert_int_equal(experiment_parse("resolved", text, length, &again), ERR_OK);
        assert_int_equal(experiment_serialize(&again, text_again, &length_again), ERR_OK);
        assert_int_equal(length, length_again);
        assert_memory_equal(text, text_again, length);
    }
    globfree(&found);
}

static void the_longest_texts_fit(void **state) {
    (void)state;
    experiment e, again;
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    load_row(16, &e);
    memset(e.name, '\x01', sizeof e.name - 1); /* written as \x01, four characters */
    memset(e.title, '\x01', sizeof e.title - 1);
    memset(e.classifier.weights, '\x01', sizeof e.classifier.weights - 1);
    e.dataset.mean = -1.17549435e-38f;
    e.training.seed = UINT64_MAX;
    assert_int_equal(experiment_serialize(&e, text, &length), ERR_OK);
    if (experiment_parse("resolved", text, length, &again)) {
        fail_msg("%s", err_text());
    }
    assert_string_equal(again.classifier.weights, e.classifier.weights);
    assert_string_equal(again.title, e.title);
}

static void weights_lie_beside_the_file(void **state) {
    (void)state;
    experiment e;
    char path[256];
    load_row(5, &e);
    assert_int_equal(experiment_weights_path(&e, "experiments/paper/row-05.yaml", path, sizeof path), ERR_OK);
    assert_string_equal(path, "experiments/paper/../../runs/classifier-cifar10");
    assert_int_equal(experiment_weights_path(&e, "row-05.yaml", path, sizeof path), ERR_OK);
    assert_string_equal(path, "../../runs/classifier-cifar10");
    strcpy(e.classifier.weights, "/there/w.safetensors");
    assert_int_equal(experiment_weights_path(&e, "experiments/paper/row-05.yaml", path, sizeof path), ERR_OK);
    assert_string_equal(path, "/there/w.safetensors");
    assert_int_equal(experiment_weights_path(&e, "experiments/paper/row-05.yaml", path, 8), ERR_INPUT);
}

static void the_classifier_alone(void **state) {
    (void)state;
    experiment e;
    load("experiments/own/classifier-cifar10.yaml", &e);
    assert_true(experiment_is_classifier_alone(&e));
    partition s;
    uint32_t classes;
    assert_int_equal(experiment_partition(&e, &s, &classes), ERR_OK);
    nn_spec encoder, head;
    experiment_describe_encoder(&e, 0, &encoder);
    experiment_describe_head(&e, classes, &head);
    assert_int_equal(encoder.count, 0);
    assert_int_equal(head.inputs, 3072);
    assert_int_equal(head.layers[0].kind, NN_IMAGE);
    load_row(5, &e);
    assert_false(experiment_is_classifier_alone(&e));
}

/* Refusals. */

/* Row `row`'s resolved text with `from` replaced by `to`. */
static size_t changed(uint32_t row, const char *from, const char *to, char text[EXPERIMENT_TEXT_MAX + 256]) {
    experiment e;
    if (row == 0) {
        load("experiments/own/classifier-cifar10.yaml", &e);
    } else {
        load_row(row, &e);
    }
    char before[EXPERIMENT_TEXT_MAX + 1];
    size_t length;
    assert_int_equal(experiment_serialize(&e, before, &length), ERR_OK);
    before[length] = '\0';
    const char *at = strstr(before, from);
    if (!at) {
        fail_msg("row %u has no '%s':\n%s", row, from, before);
        return 0;
    }
    return (size_t)snprintf(text, EXPERIMENT_TEXT_MAX + 256, "%.*s%s%s", (int)(at - before), before, to,
                            at + strlen(from));
}

static unsigned line_in(const char *text, const char *at) {
    unsigned line = 1;
    for (; text < at; text++) {
        line += *text == '\n';
    }
    return line;
}

static void wrong_values_name_line_and_key(void **state) {
    (void)state;
    static const struct {
        uint32_t row; /* 0: the classifier alone */
        const char *from, *to, *key, *reason;
    } wrong[] = {
        {11, "net: conv\n  hidden: 0", "net: conv\n  hidden: 84", "encoder.hidden",
         "is for simple-1d and conv-norm only"},
        {5, "hidden: 200", "hidden: 0", "encoder.hidden", "must be from 1 to 65536"},
        {5, "bits: 8", "bits: 0", "encoder.bits", "must be from 1 to 64"},
        {5, "bits: 8", "bits: 65", "encoder.bits", "must be from 1 to 64"},
        {5, "net: linear", "net: none", "decoder.net", "is for encoder.net none only"},
        {5, "net: playground\n  hidden: 0", "net: playground\n  hidden: 3", "classifier.hidden",
         "is for mnist and mlp only"},
        {1, "hidden: 1000", "hidden: 0", "classifier.hidden", "must be from 1 to 65536"},
        {1, "train: joint", "train: frozen", "classifier.train", "needs classifier.weights"},
        {5, "train: frozen", "train: joint", "classifier.weights", "needs classifier.train frozen or fine-tune"},
        {1, "net: mnist", "net: playground", "classifier.hidden", "is for mnist and mlp only"},
        {21, "bits: 16", "bits: 15", "encoder.net", "makes 9 numbers of a portion of 1x32x32, not 15"},
        {21, "bits: 16", "bits: 25", "decoder.net", "makes 3x40x40 of 3 x 25 bits, a sample has 3x32x32"},
        {26, "net: square-8x8", "net: square", "decoder.net", "a sample has 3x32x32"},
        {1, "net: simple-1d\n  hidden: 200", "net: conv\n  hidden: 0", "encoder.net",
         "layer 4 (encoder.3) leaves nothing: window 5x5, padding 0x0 (of 6x1x12)"},
        {11, "partition: planes", "partition: quadrants", "dataset.partition", "does not fit"},
        {0, "bits: 0", "bits: 8", "encoder.net", "takes no other key"},
        {0, "net: none\n  hidden: 0\n  bits: 0", "net: conv\n  hidden: 0\n  bits: 8", "decoder.net",
         "none is for encoder.net none only"},
        {0, "decoder:\n  net: none", "decoder:\n  net: linear", "decoder.net", "must be none where encoder.net is"},
        {0, "portions: 1", "portions: 2", "dataset.portions", "must be 1 where encoder.net is none"},
        {0, "quantization: 0", "quantization: 1", "loss.quantization", "must be 0 where encoder.net is none"},
        {0, "train: joint", "train: frozen", "classifier.train", "leaves nothing to train"},
        {0, "name: cifar10", "name: mnist", "classifier.net", "(classifier.features.24)"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[EXPERIMENT_TEXT_MAX + 256], start[96], section[32];
        size_t length = changed(wrong[i].row, wrong[i].from, wrong[i].to, text);
        experiment e;
        assert_int_equal(experiment_parse("file", text, length, &e), ERR_INPUT);
        snprintf(section, sizeof section, "\n%.*s:", (int)strcspn(wrong[i].key, "."), wrong[i].key);
        char *at = strstr(text, section);
        assert_non_null(at);
        snprintf(section, sizeof section, "\n  %s:", strchr(wrong[i].key, '.') + 1);
        at = strstr(at, section);
        assert_non_null(at);
        snprintf(start, sizeof start, "file:%u: key %s ", line_in(text, at + 1), wrong[i].key);
        if (strncmp(err_text(), start, strlen(start)) != 0 || !strstr(err_text(), wrong[i].reason)) {
            fail_msg("'%s' does not begin '%s' or does not say '%s'", err_text(), start, wrong[i].reason);
        }
    }
}

/* Every word of a key, and that what is written of it says it again. */
static void words_mean_what_they_say(void **state) {
    (void)state;
    static const struct {
        const char *from, *to;
        preset_classifier_training train;
        nn_precision precision;
        float alpha;
    } words[] = {
        {"train: frozen", "train: fine-tune", PRESET_TRAIN_FINE_TUNE, NN_F32, 1},
        {"train: frozen", "train: frozen", PRESET_TRAIN_FROZEN, NN_F32, 1},
        {"precision: f32", "precision: bf16", PRESET_TRAIN_FROZEN, NN_BF16, 1},
        {"quantization: 1", "quantization: 0.5", PRESET_TRAIN_FROZEN, NN_F32, 0.5f},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        char text[EXPERIMENT_TEXT_MAX + 256], again[EXPERIMENT_TEXT_MAX];
        size_t length = changed(8, words[i].from, words[i].to, text), length_again;
        experiment e;
        if (experiment_parse("file", text, length, &e)) {
            fail_msg("%s", err_text());
        }
        assert_int_equal(e.classifier.train, words[i].train);
        assert_int_equal(e.training.precision, words[i].precision);
        assert_near(e.loss.quantization, words[i].alpha);
        assert_int_equal(experiment_serialize(&e, again, &length_again), ERR_OK);
        assert_int_equal(length, length_again);
        assert_memory_equal(text, again, length);
    }
}

static void unknown_words_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *reason;
    } wrong[] = {
        {"net: conv\n", "net: convolution\n", "key encoder.net is 'convolution', none of simple-1d, conv, conv-b"},
        {"net: conv\n", "net: conv-nrom\n", "residual: is conv-norm meant?"},
        {"net: linear", "net: cubic",
         "key decoder.net is 'cubic', none of linear, square, square-b, square-8x8, none, identity"},
        {"net: linear", "net: liner", "identity: is linear meant?"},
        {"train: frozen", "train: never", "key classifier.train is 'never', none of joint, frozen, fine-tune"},
        {"precision: f32", "precision: f16", "none of f32, bf16: is bf16 meant?"},
        {"weights:", "weight:", "classifier.weight is not known: is weights meant?"},
        {"precision: f32", "hidden: 3",
         "training.hidden is not known here: there is encoder.hidden, classifier.hidden"},
        {"precision: f32", "title: x", "training.title is not known here: there is title"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[EXPERIMENT_TEXT_MAX + 256];
        size_t length = changed(11, wrong[i].from, wrong[i].to, text);
        experiment e;
        assert_int_equal(experiment_parse("file", text, length, &e), ERR_INPUT);
        if (!strstr(err_text(), wrong[i].reason)) {
            fail_msg("'%s' does not say '%s'", err_text(), wrong[i].reason);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_table_1),
        cmocka_unit_test(rows_are_trained_as_the_text_says),
        cmocka_unit_test(every_file_resolves),
        cmocka_unit_test(the_longest_texts_fit),
        cmocka_unit_test(weights_lie_beside_the_file),
        cmocka_unit_test(the_classifier_alone),
        cmocka_unit_test(wrong_values_name_line_and_key),
        cmocka_unit_test(words_mean_what_they_say),
        cmocka_unit_test(unknown_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
