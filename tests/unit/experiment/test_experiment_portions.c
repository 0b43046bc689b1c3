/* Portions that are listed one by one: what each becomes, its text, its overrides, and every refusal with its line. */
#include "experiment/derive.h"
#include "experiment/serialize.h"
#include "experiment/validate.h"
#include "tests/lib/experiments.h"

static char text[TEXT_MAX], resolved[EXPERIMENT_TEXT_MAX], again[EXPERIMENT_TEXT_MAX];

/* Lines 1 to 7 are before the portions; then line 8 is "portions:", and what follows it comes from the test. */
#define HEAD                                                                                                           \
    "name: own\nclassifier: {net: mlp, hidden: 16}\noptimiser: {kind: adam, learning_rate: 0.01}\n"                    \
    "training: {epochs: 2, batch_size: 20, seed: 1}\n"
#define ENCODER "encoder: {net: simple-1d, hidden: 64, bits: 6}\n"
#define DECODER "decoder: {net: identity}\n"
#define DATASET "dataset: {name: breast}\n"
#define BEFORE HEAD ENCODER DECODER DATASET
enum { LIST_LINE = 8 };

#define THREE                                                                                                          \
    "  - name: guest\n    shape: [7]\n    type: u8\n    encoder: {bits: 3}\n"                                          \
    "  - {name: host, shape: [3, 20], type: f32, encoder: {bits: 8, hidden: 32, batch_norm: true}}\n"                  \
    "  - {name: eye.2, shape: [1, 32, 32], type: f32, encoder: {net: conv, bits: 1, binarize: straight-through}}\n"

static err parse(const char *before, const char *list, experiment *e) {
    int length = snprintf(text, sizeof text, "%sportions:\n%s", before, list);
    assert_true(length > 0 && (size_t)length < sizeof text);
    return parse_text(text, (size_t)length, e);
}

static void must_be(const char *before, const char *list, experiment *e) {
    if (parse(before, list, e)) {
        fail_msg("%s", err_text());
    }
}

static void assert_refused(const char *before, const char *list, unsigned line, const char *demand) {
    experiment e;
    char place[32];
    snprintf(place, sizeof place, "some.yaml:%u: ", line);
    if (parse(before, list, &e) != ERR_INPUT) {
        fail_msg("taken, in place of '%s'", demand);
    }
    if (strncmp(err_text(), place, strlen(place)) != 0 || !strstr(err_text(), demand)) {
        fail_msg("'%s' does not tell '%s%s'", err_text(), place, demand);
    }
}

static void each_portion_is_what_it_says(void **state) {
    (void)state;
    experiment e;
    must_be(BEFORE, THREE, &e);
    assert_true(experiment_lists_portions(&e) && !experiment_is_classifier_alone(&e));
    assert_int_equal(e.portion_count, 3);
    const experiment_portion *guest = &e.portions[0], *host = &e.portions[1], *eye = &e.portions[2];
    assert_string_equal(guest->name, "guest");
    assert_int_equal(guest->shape.type, PORTION_U8);
    assert_int_equal(guest->shape.rank, 1);
    assert_int_equal(guest->encoder.bits, 3);
    assert_int_equal(guest->encoder.hidden, 64); /* of the experiment's encoder */
    assert_int_equal(host->shape.type, PORTION_F32);
    assert_int_equal(host->shape.rank, 2);
    assert_int_equal(host->encoder.hidden, 32);
    assert_true(host->encoder.batch_norm && !guest->encoder.batch_norm);
    assert_int_equal(eye->encoder.net, PRESET_CONV);
    assert_int_equal(eye->encoder.hidden, 0); /* which this net has no use for */
    assert_int_equal(eye->encoder.binarize, PRESET_STRAIGHT_THROUGH);
    uint32_t number;
    assert_ptr_equal(experiment_find_portion(&e, "eye.2", &number), eye);
    assert_int_equal(number, 2);
    assert_null(experiment_find_portion(&e, "eye", &number));
    codeword c = experiment_codeword(&e);
    assert_int_equal(c.portions, 3);
    assert_int_equal(c.offset[1], 3);
    assert_int_equal(c.offset[2], 11);
    assert_int_equal(experiment_bits(&e), 12);
    nn_shape sample = experiment_sample_shape(&e), signal = experiment_portion_shape(&e, 1);
    assert_int_equal(sample.width, 7 + 60 + 1024);
    assert_true(signal.channels == 3 && signal.height == 1 && signal.width == 20);
    assert_int_equal(experiment_head(&e, 5).classes, 5);
    nn_spec spec;
    experiment_describe_encoder(&e, 1, &spec);
    assert_int_equal(spec.inputs, 60);
    experiment_describe_head(&e, 5, &spec);
    assert_int_equal(spec.inputs, 12);
}

/* The resolved text names every key of each, and says the same again. */
static void the_text_comes_back(void **state) {
    (void)state;
    experiment e, other;
    size_t length, length_again;
    bool is_same;
    must_be(BEFORE, THREE, &e);
    assert_int_equal(experiment_serialize(&e, resolved, &length), ERR_OK);
    if (parse_text(resolved, length, &other)) {
        fail_msg("%s\n%.*s", err_text(), (int)length, resolved);
    }
    assert_memory_equal(e.portions, other.portions, sizeof e.portions);
    assert_int_equal(experiment_serialize(&other, again, &length_again), ERR_OK);
    assert_int_equal(length, length_again);
    assert_memory_equal(resolved, again, length);
    other.portions[1].shape.dims[0] = 4;
    assert_int_equal(experiment_compare(&e, &other, &is_same), ERR_OK);
    assert_false(is_same);
}

/* 64 portions with all there is to say of them fit the resolved text. */
static void the_most_portions_fit(void **state) {
    (void)state;
    static char list[TEXT_MAX];
    experiment e;
    size_t used = 0, length;
    for (int k = 0; k < 65; k++) {
        used += (size_t)snprintf(list + used, sizeof list - used,
                                 "  - {name: a-name-of-thirty-one-bytes-_%02d, shape: [1, 1, 1048576], type: f32, "
                                 "encoder: {bits: 64, refinement: [1, 1, 1, 1, 1, 1, 1, 57], temperature: 0.123456789, "
                                 "activation: resigmoid, binarize: straight-through, noise: logistic}}\n",
                                 k);
        if (k == 63) {
            must_be(BEFORE, list, &e);
            assert_int_equal(e.portion_count, 64);
            assert_int_equal(experiment_serialize(&e, resolved, &length), ERR_OK);
            assert_int_equal(parse_text(resolved, length, &e), ERR_OK);
        }
    }
    assert_refused(BEFORE, list, LIST_LINE, "key portions has too many entries: there may be 64");
}

static void overrides_are_of_one_or_of_all(void **state) {
    (void)state;
    experiment e;
    char value[EXPERIMENT_TEXT_MAX];
    must_be(BEFORE, THREE, &e);
    const experiment_override all[] = {{"encoder.bits", "5"}, {"portions.host.encoder.bits", "7"}};
    assert_int_equal(experiment_apply_overrides(&e, "some.yaml", all, 1), ERR_OK);
    assert_int_equal(experiment_bits(&e), 15);
    assert_int_equal(experiment_apply_overrides(&e, "some.yaml", all, 2), ERR_OK);
    assert_int_equal(experiment_bits(&e), 17);
    assert_int_equal(e.portions[2].encoder.bits, 5);
    const experiment_override inside = {"portions.eye.2.encoder.bits", "9"};
    assert_int_equal(experiment_apply_overrides(&e, "some.yaml", &inside, 1), ERR_OK);
    assert_int_equal(e.portions[2].encoder.bits, 9);
    assert_int_equal(experiment_value(&e, "portions.host.shape", value), ERR_OK);
    assert_string_equal(value, "[3, 20]");
    static const char *const none[] = {"portions",          "portions.host",     "portions.nobody.encoder.bits",
                                       "dataset.partition", "portions.host.foo", "dataset.portions"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        const experiment_override o = {none[i], "1"};
        assert_int_equal(experiment_value(&e, none[i], value), ERR_USAGE);
        assert_int_equal(experiment_apply_overrides(&e, "some.yaml", &o, 1), ERR_INPUT);
    }
}

/* One portion may be named as another's section is. */
static void a_key_finds_its_portion_among_names_that_go_on_after_a_dot(void **state) {
    (void)state;
    static const char *const orders[] = {"  - {name: a, shape: [7], type: u8, encoder: {bits: 3}}\n"
                                         "  - {name: a.encoder, shape: [7], type: u8, encoder: {bits: 4}}\n",
                                         "  - {name: a.encoder, shape: [7], type: u8, encoder: {bits: 4}}\n"
                                         "  - {name: a, shape: [7], type: u8, encoder: {bits: 3}}\n"};
    for (size_t i = 0; i < 2; i++) {
        experiment e;
        char value[EXPERIMENT_TEXT_MAX];
        must_be(BEFORE, orders[i], &e);
        assert_int_equal(experiment_value(&e, "portions.a.encoder.bits", value), ERR_OK);
        assert_string_equal(value, "3");
        assert_int_equal(experiment_value(&e, "portions.a.encoder.encoder.bits", value), ERR_OK);
        assert_string_equal(value, "4");
        const experiment_override one = {"portions.a.encoder.bits", "9"};
        assert_int_equal(experiment_apply_overrides(&e, "some.yaml", &one, 1), ERR_OK);
        assert_int_equal(e.portions[i].encoder.bits, 9);
        assert_int_equal(e.portions[1 - i].encoder.bits, 4);
    }
    assert_refused(BEFORE,
                   "  - {name: a.encoder, shape: [7], type: u8}\n"
                   "  - name: a\n    shape: [7]\n    type: u8\n    encoder: {bits: 65}\n",
                   LIST_LINE + 5, "key portions.a.encoder.bits must be from 1 to 64");
}

/* As in the file itself: what the top level says of `hidden` is not for nets that have none. */
static void an_override_of_hidden_passes_by_nets_that_have_none(void **state) {
    (void)state;
    experiment e;
    must_be(BEFORE, THREE, &e);
    const experiment_override hidden[] = {{"encoder.hidden", "33"}, {"portions.eye.2.encoder.net", "conv-norm"}};
    assert_int_equal(experiment_apply_overrides(&e, "some.yaml", hidden, 1), ERR_OK);
    assert_int_equal(e.portions[0].encoder.hidden, 33);
    assert_int_equal(e.portions[1].encoder.hidden, 33);
    assert_int_equal(e.portions[2].encoder.hidden, 0);
    assert_int_equal(experiment_apply_overrides(&e, "some.yaml", hidden, 2), ERR_OK);
    assert_int_equal(e.portions[2].encoder.hidden, 33);
}

/* The portions of a partition are as if they were listed. */
static void a_partition_fills_them(void **state) {
    (void)state;
    static const struct {
        change changes[3];
        uint32_t count, rank, dims[3];
    } cases[] = {
        {{{"dataset.partition", "slices"}, {"dataset.portions", "7"}}, 7, 3, {1, 4, 28}},
        {{{"dataset.partition", "slices"}, {"dataset.portions", "56"}, {"augment.flip", "false"}}, 56, 1, {14}},
        {{{"dataset.partition", "quadrants"}, {"dataset.portions", "4"}, {"augment.flip", "false"}}, 4, 3, {1, 14, 14}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        experiment e;
        bool has_shear = strcmp(cases[i].changes[1].value, "56") == 0; /* no rectangles: nothing may be distorted */
        size_t length = compose(text, cases[i].changes, cases[i].changes[2].path ? 3 : 2, NULL);
        if (has_shear) {
            const change flat[] = {{"dataset.portions", "56"}, {"augment.shift", "0"}, {"augment.rotation", "0"},
                                   {"augment.scale", "0"},     {"augment.shear", "0"}, {"augment.flip", "false"}};
            length = compose(text, flat, 6, NULL);
        }
        if (parse_text(text, length, &e)) {
            fail_msg("%s", err_text());
        }
        assert_int_equal(e.portion_count, cases[i].count);
        for (uint32_t k = 0; k < e.portion_count; k++) {
            char name[11];
            snprintf(name, sizeof name, "%u", k);
            assert_string_equal(e.portions[k].name, name);
            assert_int_equal(e.portions[k].shape.rank, cases[i].rank);
            assert_memory_equal(e.portions[k].shape.dims, cases[i].dims, cases[i].rank * sizeof(uint32_t));
            assert_memory_equal(&e.portions[k].encoder, &e.encoder, sizeof e.encoder);
        }
    }
}

#define ONE(keys) "  - {name: a, " keys "}\n"
#define TWO(keys) ONE("shape: [4], type: u8") "  - {name: b, " keys "}\n"

static void portions_that_do_not_fit(void **state) {
    (void)state;
    static const struct {
        const char *list;
        unsigned behind; /* lines after "portions:" */
        const char *demand;
    } cases[] = {
        {"", 0, "key portions must be a list of sections"},
        {"  name: a\n", 0, "key portions must be a list of sections"},
        {"  []\n", 0, "key portions lists no portion"},
        {"  - a\n", 1, "must be a list of sections"},
        {"  - {shape: [4], type: u8}\n", 1, "key portions.name is missing"},
        {ONE("type: u8"), 1, "key portions.a.shape is missing"},
        {ONE("shape: [4]"), 1, "key portions.a.type is missing"},
        {ONE("shape: [4], type: u9"), 1, "key portions.a.type is 'u9', none of u8, f32: is u8 meant?"},
        {ONE("shape: [4], type: f64"), 1, "key portions.a.type is 'f64', none of u8, f32"},
        {ONE("shape: [], type: u8"), 1, "key portions.a.shape does not fit: a portion has 1 to 3 dimensions, not 0"},
        {ONE("shape: 4, type: u8"), 1, "key portions.a.shape must be a list"},
        {ONE("shape: [1, 2, 3, 4], type: u8"), 1, "key portions.a.shape has too many entries: there may be 3"},
        {ONE("shape: [4, 0], type: u8"), 1, "key portions.a.shape does not fit: dimension 1 of a portion is 0"},
        {ONE("shape: [-4], type: u8"), 1, "key portions.a.shape must be a whole number"},
        {ONE("shape: [1025, 1024], type: u8"), 1, "key portions.a.shape does not fit: a portion has more than 1048576"},
        {ONE("shape: [4294967295, 4294967295, 4294967295], type: u8"), 1, "key portions.a.shape does not fit"},
        {TWO("shape: [4], type: u8, bits: 4"), 2, "key portions.b.bits is not known"},
        {TWO("shape: [4], type: u8, encoder: {bit: 4}"), 2, "key portions.b.encoder.bit is not known: is bits meant?"},
        {TWO("shape: [4], type: u8, encoder: 4"), 2, "key portions.b.encoder must be a section of keys"},
        {TWO("shape: [4], type: u8, encoder: {bits: 0}"), 2, "key portions.b.encoder.bits must be from 1 to 64"},
        {TWO("shape: [4], type: u8, encoder: {bits: 65}"), 2, "key portions.b.encoder.bits must be from 1 to 64"},
        {TWO("shape: [4], type: u8, encoder: {bits: x}"), 2, "key portions.b.encoder.bits must be a whole number"},
        {TWO("shape: [4], type: u8, encoder: {hidden: 0}"), 2, "key portions.b.encoder.hidden must be from 1 to 65536"},
        {TWO("shape: [4], type: u8, encoder: {net: none}"), 2,
         "key portions.b.encoder.net none is not for one portion"},
        {TWO("shape: [4], type: u8, encoder: {net: conv, hidden: 3}"), 2, "key portions.b.encoder.hidden is for"},
        {TWO("shape: [4], type: u8, encoder: {net: conv}"), 2, "key portions.b.encoder.net does not fit"},
        {TWO("shape: [4], type: u8, encoder: {net: conv-square, bits: 9}"), 2, "key portions.b.encoder.net does not"},
        {TWO("shape: [4], type: u8, encoder: {refinement: [2, 4]}"), 2,
         "key portions.b.encoder.refinement has 2 stages, portion a 1: all need as many"},
        {TWO("shape: [4], type: u8, encoder: {refinement: [2, 3]}"), 2,
         "key portions.b.encoder.refinement must be numbers above 0 that add up to encoder.bits"},
        {TWO("shape: [4], type: u8, encoder: {temperature: 2}"), 2, "key portions.b.encoder.temperature must be from"},
        {ONE("shape: [4], type: u8") ONE("shape: [5], type: u8"), 2, "key portions.a is there twice"},
        {ONE("shape: [4], type: u8, type: u8"), 1, "key portions.a.type is there twice: on line 9 before"},
        {"  - {name: 17, shape: [4], type: u8}\n", 1, "name must be text: put it in quotes"},
        {"  - {name: , shape: [4], type: u8}\n", 1, "name has no value"},
        {"  - {name: \"\", shape: [4], type: u8}\n", 1, "name must not be empty"},
        {"  - {name: a b, shape: [4], type: u8}\n", 1, "key portions.name must be 1 to 31 of"},
        {"  - {name: ../a, shape: [4], type: u8}\n", 1, "key portions.name must be 1 to 31 of"},
        {"  - {name: .a, shape: [4], type: u8}\n", 1, "key portions.name must be 1 to 31 of"},
        {"  - {name: \"\\u00e9\", shape: [4], type: u8}\n", 1, "key portions.name must be 1 to 31 of"},
        {"  - {name: a123456789012345678901234567890x, shape: [4], type: u8}\n", 1, "more than the 31 allowed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(BEFORE, cases[i].list, LIST_LINE + cases[i].behind, cases[i].demand);
    }
    experiment e;
    must_be(BEFORE,
            "  - {name: a123456789012345678901234567890, shape: [4], type: u8}\n  - {name: \"17\", shape: [1], "
            "type: f32}\n",
            &e);
}

/* Where the keys beside the list do not go with it. */
static void keys_that_need_a_partition(void **state) {
    (void)state;
    static const struct {
        const char *before;
        unsigned line;
        const char *demand;
    } cases[] = {
        {HEAD ENCODER DECODER "dataset: {name: x, partition: slices}\n", 7, "key dataset.partition does not go with"},
        {HEAD ENCODER DECODER "dataset: {name: x, portions: 2}\n", 7, "key dataset.portions does not go with portions"},
        {HEAD "encoder: {net: none}\ndecoder: {net: none}\n" DATASET, 5,
         "key encoder.net none needs dataset.partition"},
        {HEAD ENCODER "decoder: {net: square}\n" DATASET, 6,
         "key decoder.net must be linear, identity or a list of layers where"},
        {HEAD ENCODER "decoder: {net: none}\n" DATASET, 6,
         "key decoder.net must be linear, identity or a list of layers where"},
        {BEFORE "augment: {shift: 1}\n", 8, "key augment needs dataset.partition"},
        {BEFORE "tta: {flip: true}\n", 8, "key tta needs dataset.partition"},
        {BEFORE "tta: {shift: 1}\n", 8, "key tta needs dataset.partition"},
        {HEAD ENCODER DECODER "dataset: {name: x, min_portions: 2}\n", 7, "key dataset.min_portions needs"},
        {HEAD ENCODER DECODER "dataset: {name: x, missing: train, min_portions: 2}\n", 7,
         "key dataset.min_portions must be at most the number of portions"},
        {HEAD ENCODER DECODER "dataset: {name: x, missing: leave}\n", 7, "key dataset.missing is 'leave', none of"},
        {HEAD ENCODER DECODER "dataset: {name: x, align: hashes}\n", 7, "is 'hashes', none of hash, psi"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(cases[i].before, ONE("shape: [4], type: u8"), cases[i].line, cases[i].demand);
    }
    experiment e;
    size_t length = (size_t)snprintf(text, sizeof text, "%s", BEFORE);
    assert_int_equal(parse_text(text, length, &e), ERR_INPUT); /* neither form */
    assert_non_null(strstr(err_text(), "some.yaml:7: key dataset.partition is missing, and so is portions"));
    must_be(HEAD ENCODER "decoder: {net: linear}\n"
                         "dataset: {name: x, missing: train, align: psi, validation: 5, evaluate_test: false}\n",
            ONE("shape: [4], type: u8"), &e);
    nn_spec spec;
    experiment_describe_head(&e, 2, &spec);
    assert_int_equal(spec.layers[0].outputs, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_portion_is_what_it_says),
        cmocka_unit_test(the_text_comes_back),
        cmocka_unit_test(the_most_portions_fit),
        cmocka_unit_test(overrides_are_of_one_or_of_all),
        cmocka_unit_test(a_partition_fills_them),
        cmocka_unit_test(portions_that_do_not_fit),
        cmocka_unit_test(keys_that_need_a_partition),
        cmocka_unit_test(a_key_finds_its_portion_among_names_that_go_on_after_a_dot),
        cmocka_unit_test(an_override_of_hidden_passes_by_nets_that_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
