/* Nets that are lists of layers: what they become, that they train as the same nets by name do, what they cost, and
 * their text. */
#include "base/rng.h"
#include "experiment/derive.h"
#include "experiment/serialize.h"
#include "nn/net.h"
#include "nn/shape_infer.h"
#include "tests/lib/listed_nets.h"

static char resolved[EXPERIMENT_TEXT_MAX + 1], again[EXPERIMENT_TEXT_MAX];

/* Whether two descriptions make the same net: layers, tensors, initial weights, and weights after some steps. */

enum { ROWS = 6, STEPS = 4 };

static nn_net *trained(const nn_spec *spec) {
    static float x[ROWS * 3072], dy[ROWS * 1024];
    nn_net *net;
    nn_net_options options = {.max_rows = ROWS, .training = true, .input_gradient = true};
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.01f, .steps = STEPS};
    if (nn_net_new(&net, spec, &options)) {
        fail_msg("%s", err_text());
    }
    assert_true(nn_net_inputs(net) <= 3072 && nn_net_outputs(net) <= 1024);
    nn_net_init(net, 5, 6);
    rng draws = rng_at(1, 2, 0);
    for (uint32_t step = 0; step < STEPS; step++) {
        for (size_t i = 0; i < sizeof x / sizeof x[0]; i++) {
            x[i] = rng_normal(&draws);
        }
        for (size_t i = 0; i < sizeof dy / sizeof dy[0]; i++) {
            dy[i] = rng_normal(&draws);
        }
        nn_net_set_step(net, 3, 4, step);
        nn_net_forward(net, x, ROWS, NN_TRAIN);
        nn_net_backward(net, dy);
        nn_optimiser_begin(&o);
        nn_net_update(net, &o);
    }
    return net;
}

static void assert_same_net(const nn_spec *one, const nn_spec *other) {
    nn_net *a = trained(one), *b = trained(other);
    assert_int_equal(nn_net_tensor_count(a), nn_net_tensor_count(b));
    for (size_t i = 0; i < nn_net_tensor_count(a); i++) {
        const nn_tensor *t = nn_net_tensor(a, i), *u = nn_net_tensor(b, i);
        assert_string_equal(t->name, u->name);
        assert_int_equal(t->count, u->count);
        assert_memory_equal(t->value, u->value, t->count * sizeof(float));
    }
    nn_net_free(a);
    nn_net_free(b);
}

#define TUTORIAL                                                                                                       \
    "{convolution: {outputs: 6, kernel: 5}}, {max_pool: 2}, relu, {convolution: {outputs: 16, kernel: 5}}, "           \
    "{max_pool: 2}, relu, flatten"

static void lists_train_as_the_nets_they_spell(void **state) {
    (void)state;
    static const struct {
        const char *set, *list, *by_name;
    } cases[] = {
        {"mnist, partition: quadrants, portions: 4", "[{dense: 20}, relu, {dense: 4}], bits: 4",
         "simple-1d, hidden: 20, bits: 4"},
        {"mnist, partition: slices, portions: 7", "[{dense: {outputs: 20}}, relu, {dense: bits}], bits: 5",
         "simple-1d, hidden: 20, bits: 5"},
        {"cifar10, partition: planes, portions: 3",
         "[" TUTORIAL ", {dense: 120}, relu, {dense: 84}, relu, {dense: bits}], bits: 12, batch_norm: true",
         "conv, bits: 12, batch_norm: true"},
        {"cifar10, partition: planes, portions: 3",
         "[" TUTORIAL ", {dense: bits}, relu], bits: 8, activation: resigmoid, binarize: straight-through",
         "conv-b, bits: 8, activation: resigmoid, binarize: straight-through"},
        {"cifar10, partition: planes, portions: 3",
         "[{convolution: {outputs: 6, kernel: 5}}, {max_pool: {kernel: 2, stride: 2}}, relu, "
         "{convolution: {outputs: 16, kernel: 5}}, relu, {convolution: {outputs: 1, kernel: 3, stride: 1, padding: 0}}]"
         ", bits: 64, batch_norm: true, noise: logistic",
         "conv-square-8x8, bits: 64, batch_norm: true, noise: logistic"},
        {"mnist, partition: quadrants, portions: 4",
         "[{convolution: {outputs: 16, kernel: 3, padding: 1}}, batch_norm, relu, "
         "{convolution: {outputs: 32, kernel: 3, padding: 1}}, batch_norm, relu, {max_pool: 2}, "
         "{convolution: {outputs: 64, kernel: 3, padding: 1}}, batch_norm, relu, {max_pool: 2}, flatten, "
         "{dense: 30}, batch_norm, relu, {dense: bits}], bits: 6",
         "conv-norm, hidden: 30, bits: 6"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nn_spec spec[2];
        for (size_t k = 0; k < 2; k++) {
            static char whole[4096];
            experiment e;
            snprintf(whole, sizeof whole,
                     "name: own\noptimiser: {kind: adam, learning_rate: 0.01}\ntraining: {epochs: 2, batch_size: 20, "
                     "seed: 1}\n" REST "dataset: {name: %s}\nencoder: {net: %s}\n",
                     cases[i].set, k ? cases[i].by_name : cases[i].list);
            must_be(whole, &e);
            experiment_describe_encoder(&e, 1, &spec[k]);
        }
        assert_same_net(&spec[0], &spec[1]);
    }
}

static void heads_train_as_the_nets_they_spell(void **state) {
    (void)state;
    static const struct {
        const char *list, *by_name;
    } cases[] = {
        {"decoder: {net: [{dense: 784}]}\nclassifier: {net: [{dense: 30}, relu, {dense: classes}]}\n", REST},
        {"decoder: {net: identity}\nclassifier: {net: [{dense: 30}, batch_norm, relu, {dense: classes}]}\n",
         "decoder: {net: identity}\nclassifier: {net: mlp, hidden: 30}\n"},
        {"decoder: {net: linear}\nclassifier: {net: [{dense: 30}, batch_norm, relu, {dense: classes}]}\n",
         "decoder: {net: linear}\nclassifier: {net: mlp, hidden: 30}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        nn_spec spec[2];
        for (size_t k = 0; k < 2; k++) {
            static char whole[4096];
            experiment e;
            snprintf(whole, sizeof whole, HEAD ENCODER "%s", k ? cases[i].by_name : cases[i].list);
            must_be(whole, &e);
            experiment_describe_head(&e, 10, &spec[k]);
        }
        assert_same_net(&spec[0], &spec[1]);
    }
}

/* Names and shapes. */

#define NESTED                                                                                                         \
    "nets:\n  block: [{convolution: {outputs: 8, kernel: 3, padding: 1, bias: false}}, batch_norm, relu]\n"            \
    "  two: [block, block, {max_pool: 2}]\n"                                                                           \
    "encoder:\n  bits: 6\n  net:\n    - two\n    - residual: [block, {convolution: {outputs: 8, kernel: 3, padding: "  \
    "1}}]\n    - relu\n    - residual:\n        main: [two]\n        shortcut: [{average_pool: 2}, {batch_norm: "      \
    "{affine: false}}]\n    - {adaptive_average_pool: [2, 1]}\n    - flatten\n    - {dropout: 0.25}\n"                 \
    "    - residual: [{dense: 16}, sigmoid]\n    - {dense: {outputs: bits, bias: false}}\n"

/* What a description is said to cost, before a net is made of it. */
static void assert_costs(const nn_spec *spec, nn_net *net, double macs) {
    nn_layer_cost costs[NN_LAYERS_MAX];
    size_t said = 0, there = 0;
    double work = 0;
    assert_int_equal(nn_spec_costs(spec, costs), ERR_OK);
    for (size_t i = 0; i < spec->count; i++) {
        said += costs[i].parameters;
        work += costs[i].macs;
    }
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        there += t->is_parameter ? t->count : 0;
    }
    assert_int_equal(said, there);
    assert_true(work == macs);
}

static void costs_are_those_of_the_net(void **state) {
    (void)state;
    static const struct {
        const char *list;
        double macs;
    } cases[] = {
        {"{dense: 20}, relu, {dense: {outputs: bits, bias: false}}", 196 * 20 + 20 * 4},
        {"{convolution: {outputs: 8, kernel: [3, 1], groups: 1}}, layer_norm, {convolution: {outputs: 16, kernel: 3, "
         "groups: 8, bias: false}}, batch_norm, {adaptive_average_pool: 1}, flatten, {dense: 4}",
         8 * 12 * 14 * 3 + 16 * 10 * 12 * 9 + 16 * 4},
        {"{residual: {main: [{dense: 7}, layer_norm], shortcut: [{dense: 7}, {layer_norm: {affine: false}}]}}, "
         "batch_norm, {dense: 4}",
         196 * 7 * 2 + 7 * 4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char whole[1024];
        experiment e;
        nn_spec spec;
        snprintf(whole, sizeof whole, HEAD REST "encoder: {net: [%s], bits: 4}\n", cases[i].list);
        must_be(whole, &e);
        experiment_describe_encoder(&e, 0, &spec);
        nn_net *net = trained(&spec);
        assert_costs(&spec, net, cases[i].macs);
        nn_net_free(net);
    }
}

static void assert_tensors(const nn_spec *spec, const char *const *names, size_t count) {
    nn_net *net = trained(spec);
    assert_int_equal(nn_net_tensor_count(net), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(nn_net_tensor(net, i)->name, names[i]);
    }
    nn_net_free(net);
}

#define NORMED(name) name ".0.weight", name ".1.weight", name ".1.bias", name ".1.running_mean", name ".1.running_var"

static void tensors_are_named_as_in_sequential(void **state) {
    (void)state;
    static const char *const names[] = {NORMED("encoder.0.0"),
                                        NORMED("encoder.0.1"),
                                        NORMED("encoder.1.main.0"),
                                        "encoder.1.main.1.weight",
                                        "encoder.1.main.1.bias",
                                        NORMED("encoder.3.main.0.0"),
                                        NORMED("encoder.3.main.0.1"),
                                        "encoder.3.shortcut.1.running_mean",
                                        "encoder.3.shortcut.1.running_var",
                                        "encoder.7.main.0.weight",
                                        "encoder.7.main.0.bias",
                                        "encoder.8.weight"};
    experiment e;
    nn_spec spec;
    must_be(HEAD NESTED REST, &e);
    experiment_describe_encoder(&e, 0, &spec);
    assert_tensors(&spec, names, sizeof names / sizeof names[0]);
    must_be(HEAD "encoder: {net: [relu, {dense: 4}], bits: 4, batch_norm: true}\n" REST, &e);
    experiment_describe_encoder(&e, 0, &spec);
    static const char *const rest[] = {"encoder.1.weight", "encoder.1.bias",         "encoder.2.weight",
                                       "encoder.2.bias",   "encoder.2.running_mean", "encoder.2.running_var"};
    assert_tensors(&spec, rest, sizeof rest / sizeof rest[0]);
}

/* What each kind of first layer makes of a portion: an image, or its row. */
static void the_first_layer_takes_an_image_or_a_row(void **state) {
    (void)state;
    static const struct {
        const char *list;
        nn_kind first;
    } cases[] = {
        {"{dense: 4}", NN_DENSE},
        {"relu, {dropout: 0.5}, {dense: 4}", NN_RELU},
        {"flatten, batch_norm, {dense: 4}", NN_BATCH_NORM},
        {"{residual: [{dense: 196}]}, {dense: 4}", NN_RESIDUAL},
        {"{unflatten: [49, 2, 2]}, {max_pool: 2}, flatten, {dense: 4}", NN_IMAGE},
        {"batch_norm, flatten, {dense: 4}", NN_IMAGE},
        {"relu, {average_pool: 2}, flatten, {dense: 4}", NN_IMAGE},
        {"{upsample: 4}, flatten, {dense: 4}", NN_IMAGE},
        {"{adaptive_average_pool: 2}", NN_IMAGE},
        {"{residual: [{convolution: {outputs: 1, kernel: 1}}]}, {adaptive_average_pool: 2}", NN_IMAGE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char whole[1024];
        experiment e;
        nn_spec spec;
        snprintf(whole, sizeof whole, HEAD REST "encoder: {net: [%s], bits: 4}\n", cases[i].list);
        must_be(whole, &e);
        experiment_describe_encoder(&e, 0, &spec);
        assert_int_equal(spec.layers[0].kind, cases[i].first);
        nn_net_free(trained(&spec)); /* its passes reach nothing that is not there */
    }
}

/* The text. */

static void assert_resolves(const experiment *e) {
    size_t length, length_again;
    experiment back;
    assert_int_equal(experiment_serialize(e, resolved, &length), ERR_OK);
    if (parse_text(resolved, length, &back)) {
        fail_msg("%s\n%.*s", err_text(), (int)length, resolved);
    }
    assert_memory_equal(&back.nets, &e->nets, sizeof back.nets);
    assert_memory_equal(&back.encoder, &e->encoder, sizeof back.encoder);
    assert_memory_equal(back.portions, e->portions, sizeof back.portions);
    assert_int_equal(experiment_serialize(&back, again, &length_again), ERR_OK);
    assert_int_equal(length, length_again);
    assert_memory_equal(resolved, again, length);
    resolved[length] = '\0';
}

#define PORTIONS                                                                                                       \
    "name: own\ndataset: {name: x}\noptimiser: {kind: adam, learning_rate: 0.01}\ntraining: {epochs: 2, batch_size: "  \
    "20, seed: 1}\nnets: {wide: [{dense: 9}, relu, {dense: bits}]}\n"                                                  \
    "classifier: {net: [{dense: 7}, relu, {dense: classes}]}\ndecoder: {net: [{dense: 12}, relu]}\n"                   \
    "encoder: {net: [{dense: {outputs: 5, bias: false}}, relu, {dense: bits}], bits: 3}\nportions:\n"                  \
    "  - {name: a, shape: [10], type: f32}\n"                                                                          \
    "  - {name: b, shape: [2, 6], type: f32, encoder: {net: wide}}\n"                                                  \
    "  - {name: c, shape: [2, 6, 6], type: u8, encoder: {net: [{max_pool: 3}, flatten, {dense: 2}], bits: 2}}\n"       \
    "  - {name: d, shape: [4], type: f32, encoder: {net: simple-1d, hidden: 3}}\n"

static const char *value_of(const experiment *e, const char *key) {
    assert_int_equal(experiment_value(e, key, again), ERR_OK);
    return again;
}

static void the_text_comes_back(void **state) {
    (void)state;
    experiment e;
    must_be(HEAD NESTED REST, &e);
    assert_resolves(&e);
    assert_non_null(strstr(resolved, "\n  two: [block, block, {max_pool: 2}]\n"));
    must_be(PORTIONS, &e);
    assert_resolves(&e);
    assert_string_equal(value_of(&e, "portions.a.encoder.net"),
                        "[{dense: {outputs: 5, bias: false}}, relu, {dense: bits}]");
    assert_string_equal(value_of(&e, "portions.b.encoder.net"), "wide");
    assert_string_equal(value_of(&e, "portions.c.encoder.net"), "[{max_pool: 3}, flatten, {dense: 2}]");
    assert_string_equal(value_of(&e, "portions.d.encoder.net"), "simple-1d");
    assert_string_equal(value_of(&e, "classifier.net"), "[{dense: 7}, relu, {dense: classes}]");
    const experiment_override changes[] = {{"portions.a.encoder.net", "wide"},
                                           {"portions.c.encoder.net", "simple-1d"},
                                           {"portions.c.encoder.hidden", "8"}};
    assert_int_equal(experiment_apply_overrides(&e, "here", changes, 3), ERR_OK);
    assert_string_equal(value_of(&e, "portions.a.encoder.net"), "wide");
    assert_string_equal(value_of(&e, "portions.c.encoder.net"), "simple-1d");
    assert_resolves(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_train_as_the_nets_they_spell), cmocka_unit_test(heads_train_as_the_nets_they_spell),
        cmocka_unit_test(tensors_are_named_as_in_sequential), cmocka_unit_test(the_first_layer_takes_an_image_or_a_row),
        cmocka_unit_test(costs_are_those_of_the_net),         cmocka_unit_test(the_text_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
