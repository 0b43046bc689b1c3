/* Class weights: what balanced is, what a list must fit, and that a step's loss goes by them. */
#include "decoder_server/train/class_weights.h"
#include "decoder_server/train/head_trainer.h"
#include "experiment/derive.h"
#include "experiment/serialize.h"
#include "nn/loss.h"
#include "tests/lib/experiments.h"

#include <math.h>

static void balanced_makes_classes_count_alike(void **state) {
    (void)state;
    const experiment e = {.loss = {.class_weighting = EXPERIMENT_BALANCED}};
    const uint8_t labels[12] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 3, 3, 3};
    float weights[4], sums[4] = {0};
    assert_true(class_weights_of(&e, labels, 12, 4, weights));
    assert_true(weights[0] == 0.5f && weights[1] == 1 && weights[2] == 0 && weights[3] == 1);
    assert_true(class_weights_of(&e, labels, 9, 2, weights));
    for (size_t i = 0; i < 9; i++) {
        sums[labels[i]] += weights[labels[i]];
    }
    assert_true(fabsf(sums[0] - 4.5f) < 1e-6f && fabsf(sums[1] - 4.5f) < 1e-6f);
}

static void a_list_goes_before_and_none_leaves_them(void **state) {
    (void)state;
    const experiment listed = {.loss = {.class_weights = {2, 0.5f}, .class_weights_count = 2}}, none = {.name = ""};
    const uint8_t labels[2] = {0, 1};
    float weights[2] = {7, 8};
    assert_false(class_weights_of(&none, labels, 2, 2, weights));
    assert_true(weights[0] == 7 && weights[1] == 8);
    assert_true(class_weights_of(&listed, labels, 2, 2, weights));
    assert_true(weights[0] == 2 && weights[1] == 0.5f);
    assert_int_equal(class_weights_check(&none, 3), ERR_OK);
    assert_int_equal(class_weights_check(&listed, 2), ERR_OK);
    for (uint32_t classes = 3; classes <= DATASET_CLASSES_MAX; classes += 97) {
        assert_int_equal(class_weights_check(&listed, classes), ERR_INPUT);
        assert_non_null(strstr(err_text(), "loss.class_weights lists 2 weights"));
    }
}

/* A list comes back from the resolved text as it was, and so does a word; an empty list is none. */
static void the_resolved_text_has_word_or_list(void **state) {
    (void)state;
    static char text[TEXT_MAX], resolved[EXPERIMENT_TEXT_MAX];
    static const char *const forms[][2] = {{"balanced", "  class_weights: balanced\n"},
                                           {"none", "  class_weights: none\n"},
                                           {"[]", "  class_weights: none\n"},
                                           {"[0.001, 1000, 2.5]", "  class_weights: [0.00100000005, 1000, 2.5]\n"}};
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        const change changes[] = {{"loss.class_weights", forms[i][0]}};
        experiment e, again;
        size_t length = compose(text, changes, 1, NULL);
        assert_int_equal(parse_text(text, length, &e), ERR_OK);
        assert_int_equal(experiment_serialize(&e, resolved, &length), ERR_OK);
        assert_non_null(memmem(resolved, length, forms[i][1], strlen(forms[i][1])));
        assert_int_equal(parse_text(resolved, length, &again), ERR_OK);
        assert_int_equal(again.loss.class_weights_count, e.loss.class_weights_count);
        assert_memory_equal(again.loss.class_weights, e.loss.class_weights, sizeof e.loss.class_weights);
        assert_int_equal(again.loss.class_weighting, e.loss.class_weighting);
    }
}

/* A step's loss is the weighted one of the head's logits, and its gradient another than without. */
static void a_step_goes_by_them(void **state) {
    (void)state;
    enum { ROWS = 6, INPUTS = 4, CLASSES = 10 };
    experiment e = {
        .dataset = {.evaluate_test = true, .name = "mnist", .partition = PARTITION_SLICES, .portions = 2},
        .encoder = {.net = PRESET_SIMPLE_1D, .hidden = 4, .bits = 2},
        .classifier = {.net = PRESET_MNIST, .hidden = 8},
        .optimiser = {.kind = NN_ADAM, .learning_rate = 0.001f},
        .loss = {.label_smoothing = 0.1f},
        .training = {.epochs = 1, .batch_size = ROWS},
    };
    const uint8_t labels[ROWS] = {0, 0, 9, 4, 4, 0};
    const float weights[CLASSES] = {0.25f, 1, 1, 1, 4, 1, 1, 1, 1, 2};
    float soft[ROWS * INPUTS], plain[ROWS * INPUTS];
    for (size_t i = 0; i < ROWS * INPUTS; i++) {
        soft[i] = (float)(i * 5 % 7) / 7;
    }
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    head_trainer *s;
    double loss = 0, before = 0;
    size_t correct = 0;
    assert_int_equal(head_trainer_new(&s, &e, 10, ROWS, ROWS, NULL), ERR_OK);
    head_trainer_init(s, 1);
    memcpy(plain, head_trainer_train(s, soft, NULL, labels, ROWS, &before, &correct), sizeof plain);
    head_trainer_weigh_classes(s, weights);
    const float *gradient = head_trainer_train(s, soft, NULL, labels, ROWS, &loss, &correct);
    assert_true(memcmp(gradient, plain, sizeof plain) != 0);
    const float *logits = nn_net_forward(head_trainer_net(s), soft, ROWS, NN_TRAIN);
    assert_true(before == loss_cross_entropy(logits, labels, ROWS, CLASSES, 0.1f, NULL, &correct));
    assert_true(loss == loss_weighted_cross_entropy(logits, labels, ROWS, CLASSES, 0.1f, weights, NULL, &correct));
    assert_true(loss != before);
    head_trainer_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balanced_makes_classes_count_alike),
        cmocka_unit_test(a_list_goes_before_and_none_leaves_them),
        cmocka_unit_test(the_resolved_text_has_word_or_list),
        cmocka_unit_test(a_step_goes_by_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
