/* Experiments that are well: what a file says is what is read, and the resolved copy says the same. */
#include "base/file.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/serialize.h"
#include "experiment/validate.h"
#include "tests/lib/experiments.h"

#include <glob.h>
#include <stdlib.h>

static char resolved[EXPERIMENT_TEXT_MAX], again[EXPERIMENT_TEXT_MAX];

static void assert_same_data(const experiment *a, const experiment *b) {
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->title, b->title);
    assert_string_equal(a->dataset.name, b->dataset.name);
    assert_int_equal(a->dataset.partition, b->dataset.partition);
    assert_int_equal(a->dataset.portions, b->dataset.portions);
    assert_true(a->dataset.mean == b->dataset.mean);
    assert_true(a->dataset.std == b->dataset.std);
    assert_int_equal(a->dataset.validation, b->dataset.validation);
    assert_int_equal(a->dataset.evaluate_test, b->dataset.evaluate_test);
}

static void assert_same_nets(const experiment *a, const experiment *b) {
    assert_int_equal(a->encoder.net, b->encoder.net);
    assert_int_equal(a->encoder.hidden, b->encoder.hidden);
    assert_int_equal(a->encoder.bits, b->encoder.bits);
    assert_true(a->augment.shift == b->augment.shift && a->augment.rotation == b->augment.rotation);
    assert_true(a->augment.scale == b->augment.scale && a->augment.shear == b->augment.shear);
    assert_int_equal(a->augment.flip, b->augment.flip);
    assert_int_equal(a->encoder.batch_norm, b->encoder.batch_norm);
    assert_int_equal(a->encoder.activation, b->encoder.activation);
    assert_int_equal(a->encoder.noise, b->encoder.noise);
    assert_true(a->encoder.temperature == b->encoder.temperature);
    assert_int_equal(a->encoder.binarize, b->encoder.binarize);
    assert_int_equal(a->decoder.net, b->decoder.net);
    assert_int_equal(a->classifier.net, b->classifier.net);
    assert_int_equal(a->classifier.hidden, b->classifier.hidden);
}

static void assert_same_training(const experiment *a, const experiment *b) {
    assert_true(a->loss.quantization == b->loss.quantization);
    assert_true(a->loss.label_smoothing == b->loss.label_smoothing);
    assert_int_equal(a->loss.class_weighting, b->loss.class_weighting);
    assert_int_equal(a->loss.class_weights_count, b->loss.class_weights_count);
    assert_memory_equal(a->loss.class_weights, b->loss.class_weights, sizeof a->loss.class_weights);
    assert_int_equal(a->optimiser.kind, b->optimiser.kind);
    assert_true(a->optimiser.learning_rate == b->optimiser.learning_rate);
    assert_true(a->optimiser.momentum == b->optimiser.momentum);
    assert_true(a->optimiser.weight_decay == b->optimiser.weight_decay);
    assert_int_equal(a->optimiser.schedule, b->optimiser.schedule);
    assert_int_equal(a->training.epochs, b->training.epochs);
    assert_int_equal(a->training.batch_size, b->training.batch_size);
    assert_true(a->training.seed == b->training.seed);
    assert_int_equal(a->training.checkpoint_every, b->training.checkpoint_every);
    assert_int_equal(a->training.evaluate_every, b->training.evaluate_every);
    assert_int_equal(a->training.evaluate_epochs, b->training.evaluate_epochs);
    assert_int_equal(a->training.early_stopping_patience, b->training.early_stopping_patience);
    assert_int_equal(a->training.keep_best, b->training.keep_best);
    assert_int_equal(a->training.precision, b->training.precision);
    assert_true(a->training.portion_dropout == b->training.portion_dropout);
    assert_true(a->training.ema_decay == b->training.ema_decay);
    assert_int_equal(a->paper.row, b->paper.row);
    assert_int_equal(a->paper.epochs, b->paper.epochs);
    assert_true(a->paper.train == b->paper.train);
    assert_true(a->paper.soft == b->paper.soft);
    assert_true(a->paper.rounded == b->paper.rounded);
}

/* Written and read again it has the same values; written once more, the same bytes and the same run. */
static void assert_resolves(const experiment *e) {
    size_t length, length_again;
    experiment copy;
    assert_int_equal(experiment_serialize(e, resolved, &length), ERR_OK);
    assert_in_range(length, 1, EXPERIMENT_TEXT_MAX);
    if (parse_text(resolved, length, &copy)) {
        fail_msg("the resolved copy is refused: %s", err_text());
    }
    assert_same_data(e, &copy);
    assert_same_nets(e, &copy);
    assert_same_training(e, &copy);
    assert_int_equal(experiment_serialize(&copy, again, &length_again), ERR_OK);
    assert_int_equal(length, length_again);
    assert_memory_equal(resolved, again, length);
    bool is_same;
    assert_int_equal(experiment_compare(e, &copy, &is_same), ERR_OK);
    assert_true(is_same);
}

static void check_shipped(const char *path) {
    char stem[256];
    experiment e;
    partition s;
    uint32_t classes = 2; /* of listed portions the labels say it */
    if (experiment_load(path, &e)) {
        fail_msg("%s", err_text());
    }
    const char *file = strrchr(path, '/') + 1;
    snprintf(stem, sizeof stem, "%s%.*s", strstr(path, "/best/") ? "best-" : "", (int)strlen(file) - 5, file);
    assert_string_equal(stem, e.name);
    assert_int_equal(experiment_validate(&e, NULL), ERR_OK);
    assert_resolves(&e);
    if (!experiment_lists_portions(&e)) {
        assert_int_equal(experiment_partition(&e, &s, &classes), ERR_OK);
    }
    nn_spec encoder, head;
    for (uint32_t k = 0; k < e.portion_count; k++) {
        experiment_describe_encoder(&e, k, &encoder);
        assert_true(encoder.count > 0 || experiment_is_classifier_alone(&e));
    }
    experiment_describe_head(&e, classes, &head);
    assert_true(e.portion_count > 0 && head.count > 0 && experiment_step_macs(&e, 10) > 0);
}

static void every_shipped_file_loads(void **state) {
    (void)state;
    glob_t found; /* tests run in the repository's root */
    assert_int_equal(glob("experiments/{paper,best,own}/*.yaml", GLOB_BRACE, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        check_shipped(found.gl_pathv[i]);
    }
    assert_true(found.gl_pathc >= 30);
    globfree(&found);
}

static void every_key_is_read(void **state) {
    (void)state;
    experiment e;
    const experiment wanted = {
        .name = "whole",
        .title = "Every key",
        .dataset = {"mnist", PARTITION_SLICES, 4, 0.25f, 0.5f, 5000, false},
        .augment = {1.5f, 10, 0.1f, 0.2f, true},
        .encoder = {PRESET_SIMPLE_1D,
                    200,
                    4,
                    true,
                    PRESET_RESIGMOID,
                    PRESET_STRAIGHT_THROUGH,
                    PRESET_LOGISTIC_NOISE,
                    0.5f,
                    {0, 0}},
        .decoder = {.net = PRESET_LINEAR},
        .classifier = {.net = PRESET_MNIST, .hidden = 1000},
        .loss = {0.75f, 0.1f, EXPERIMENT_BALANCED},
        .optimiser = {NN_SGD, 0.001f, 0.5f, 0.01f, NN_ONE_CYCLE},
        .training = {10, 100, UINT64_MAX, 70, 110, 3, 6, true, NN_F32, 0.25f, 0.99f},
        .paper = {29, 50, 98.5f, 97.5f, 93.5f},
    };
    must_parse(NULL, 0, &e);
    assert_same_data(&e, &wanted);
    assert_same_nets(&e, &wanted);
    assert_same_training(&e, &wanted);
    assert_resolves(&e);
}

static void what_is_left_out_is_nothing(void **state) {
    (void)state;
    change left_out[ALL_KEYS];
    char paths[ALL_KEYS][64];
    size_t count = 0;
    for (size_t i = 0; i < ALL_KEYS; i++) {
        const experiment_key *k = &all_keys[i];
        if (k->may_be_left_out || strcmp(k->section, "paper") == 0) {
            path_of(k, paths[count], sizeof paths[count]);
            left_out[count] = (change){paths[count], NULL};
            count++;
        }
    }
    experiment e;
    const experiment wanted = {
        .name = "whole",
        .dataset = {"mnist", PARTITION_SLICES, 4, 0, 0, 0, true},
        .encoder = {PRESET_SIMPLE_1D, 200, 4, false, PRESET_SIGMOID, PRESET_AFTER_TRAINING, PRESET_NO_NOISE, 0},
        .classifier = {.net = PRESET_MNIST, .hidden = 1000},
        .optimiser = {NN_SGD, 0.001f, 0},
        .training = {.epochs = 10, .batch_size = 100, .seed = UINT64_MAX},
    };
    must_parse(left_out, count, &e);
    assert_same_data(&e, &wanted);
    assert_same_nets(&e, &wanted);
    assert_same_training(&e, &wanted);
    assert_resolves(&e);
}

/* Texts that YAML has to quote, escape or fold. */
static void titles_survive_the_resolved_copy(void **state) {
    (void)state;
    static const char *const titles[] = {
        "~",
        "null",
        "true",
        "17",
        "",
        "  leading and trailing  ",
        "colon: and # hash",
        "- dash",
        "'single' \"double\" \\ back",
        "line\nbreak\n\n\nand more\n",
        "tab\tand\rreturn",
        "\x01\x7f control",
        "\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80",
        "%percent @at `tick` &anchor *alias !tag {brace} [bracket]",
        "a long one, with  two  blanks   and   three    and    four, past eighty columns:     it must not be folded   "
        "x",
    };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        experiment e;
        must_parse(NULL, 0, &e);
        snprintf(e.title, sizeof e.title, "%s", titles[i]);
        assert_resolves(&e);
        snprintf(e.name, sizeof e.name, "%.60s", titles[i][0] ? titles[i] : "x");
        assert_resolves(&e);
    }
}

/* A node learns its numbers from the resolved copy alone: they must be the server's. */
static void numbers_survive_the_resolved_copy(void **state) {
    (void)state;
    const change rates[] = {
        {"optimiser.learning_rate", "0.001"},
        {"optimiser.learning_rate", "1e-3"},
        {"optimiser.learning_rate", "3.00001e-05"},
        {"optimiser.learning_rate", "0.333333"},
        {"dataset.mean", "-9.99999"},
        {"dataset.std", "0.000101"},
        {"loss.quantization", "999999"},
        {"paper.train", "98.775"},
        {"optimiser.learning_rate", "0.00123456789"},
        {"loss.quantization", "16777215"},
        {"dataset.mean", "0.13066047740239478"},
    };
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        experiment e;
        if (parse_changed(&rates[i], 1, &e) == ERR_OK) { /* more digits than the copy keeps may be refused */
            assert_resolves(&e);
        } else {
            assert_true(i >= 8);
            assert_non_null(strstr(err_text(), rates[i].path));
        }
    }
}

static void every_value_makes_another(void **state) {
    (void)state;
    static experiment all[ALL_KEYS + 1];
    size_t count = 0;
    bool is_same;
    must_parse(NULL, 0, &all[count++]);
    for (size_t i = 0; i < ALL_KEYS; i++) {
        char path[64];
        path_of(&all_keys[i], path, sizeof path);
        change to = {path, all_keys[i].other};
        if (!to.value) {
            continue;
        }
        must_parse(&to, 1, &all[count]);
        assert_resolves(&all[count]);
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(experiment_compare(&all[k], &all[count], &is_same), ERR_OK);
            if (is_same) {
                fail_msg("%s: %s does not make another", path, to.value);
            }
        }
        count++;
    }
    experiment e;
    const change kind[] = {{"optimiser.kind", "adam"}, {"optimiser.momentum", "0"}, {"optimiser.weight_decay", "0"}};
    must_parse(kind, 3, &e);
    assert_int_equal(experiment_compare(&all[0], &e, &is_same), ERR_OK);
    assert_false(is_same);
}

static void a_text_of_the_largest_size_is_read(void **state) {
    (void)state;
    static char text[TEXT_MAX];
    size_t length = compose(text, NULL, 0, NULL);
    memset(text + length, '#', EXPERIMENT_TEXT_MAX - length); /* a comment without an end */
    experiment e;
    if (parse_text(text, EXPERIMENT_TEXT_MAX, &e)) {
        fail_msg("%s", err_text());
    }
    assert_resolves(&e);
}

/* The longest resolved copy there can be: every text full of characters that need escapes, every number at its
 * longest. It must fit, or a run would fail with an experiment that was accepted. */
static void the_longest_resolved_copy_fits(void **state) {
    (void)state;
    experiment e;
    must_parse(NULL, 0, &e);
    memset(e.name, '\x01', sizeof e.name - 1);
    memset(e.title, '\x7f', sizeof e.title - 1);
    e.dataset.mean = e.dataset.std = e.loss.quantization = -1.17549e-38f;
    e.paper.train = e.paper.soft = e.paper.rounded = -1.17549e-38f;
    size_t length;
    assert_int_equal(experiment_serialize(&e, resolved, &length), ERR_OK);
    assert_in_range(length, 1200, EXPERIMENT_TEXT_MAX);
    must_parse(NULL, 0, &e);
    memset(e.name, '\x01', sizeof e.name - 1);
    memset(e.title, '\x7f', sizeof e.title - 1);
    assert_resolves(&e);
}

static void nets_follow_from_it(void **state) {
    (void)state;
    const change partitions[][3] = {
        {{"dataset.partition", "slices"}, {"dataset.portions", "7"}, {"augment.flip", "true"}},
        {{"dataset.partition", "quadrants"}, {"dataset.portions", "4"}, {"augment.flip", "false"}}};
    for (size_t i = 0; i < 2; i++) {
        experiment e;
        partition s;
        uint32_t classes;
        nn_spec encoder, head;
        must_parse(partitions[i], 3, &e);
        assert_int_equal(experiment_partition(&e, &s, &classes), ERR_OK);
        assert_int_equal(classes, 10);
        experiment_describe_encoder(&e, 0, &encoder);
        experiment_describe_head(&e, classes, &head);
        assert_int_equal(encoder.inputs, i == 0 ? 112 : 196);
        assert_int_equal(encoder.layers[0].outputs, 200);
        assert_int_equal(encoder.layers[2].outputs, 4);
        assert_int_equal(head.inputs, i == 0 ? 28 : 16);
        assert_int_equal(head.layers[0].outputs, 784);
        assert_int_equal(head.layers[1].outputs, 1000);
        assert_int_equal(head.layers[3].outputs, 10);
    }
}

/* Four encoders of 8,080,000 and a head of 241,963,200: see test_nn_net. */
static void the_sums_follow_from_it(void **state) {
    (void)state;
    experiment e;
    must_parse(NULL, 0, &e);
    assert_true(experiment_step_macs(&e, 10) == 274283200);
    assert_int_equal(experiment_train_samples(&e, 60000), 55000);
    experiment plain = e;
    for (uint32_t k = 0; k < plain.portion_count; k++) {
        plain.portions[k].encoder.batch_norm = false;
    }
    for (uint32_t samples = 1; samples < 1000; samples++) { /* a batch norm cannot do with one sample */
        uint32_t full = samples / 100, left = samples % 100;
        assert_int_equal(experiment_steps(&plain, samples), full + (left > 0));
        assert_int_equal(experiment_steps(&e, samples), full + (left > 1 || samples == 1));
    }
    nn_optimiser o = experiment_optimiser(&e, 1000);
    assert_int_equal(o.kind, NN_SGD);
    assert_int_equal(o.step, 0);
    assert_true(o.learning_rate == 0.001f && o.momentum == 0.5f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shipped_file_loads),
        cmocka_unit_test(every_key_is_read),
        cmocka_unit_test(what_is_left_out_is_nothing),
        cmocka_unit_test(titles_survive_the_resolved_copy),
        cmocka_unit_test(numbers_survive_the_resolved_copy),
        cmocka_unit_test(every_value_makes_another),
        cmocka_unit_test(a_text_of_the_largest_size_is_read),
        cmocka_unit_test(the_longest_resolved_copy_fits),
        cmocka_unit_test(nets_follow_from_it),
        cmocka_unit_test(the_sums_follow_from_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
