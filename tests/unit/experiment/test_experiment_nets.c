/* Nets that are lists of layers: what they become, that they train as the same nets by name do, their text, and every
 * refusal with its line. */
#include "base/rng.h"
#include "experiment/derive.h"
#include "experiment/overrides.h"
#include "experiment/serialize.h"
#include "nn/net.h"
#include "nn/shape_infer.h"
#include "tests/lib/experiments.h"

static char text[TEXT_MAX], resolved[EXPERIMENT_TEXT_MAX], again[EXPERIMENT_TEXT_MAX];

/* Quadrants of a digit, 1x14x14; seven lines. */
#define HEAD                                                                                                           \
    "name: own\ndataset: {name: mnist, partition: quadrants, portions: 4}\n"                                           \
    "optimiser: {kind: adam, learning_rate: 0.01}\ntraining: {epochs: 2, batch_size: 20, seed: 1}\n"
#define DECODER "decoder: {net: linear}\n"
#define CLASSIFIER "classifier: {net: mnist, hidden: 30}\n"
#define REST DECODER CLASSIFIER
#define ENCODER "encoder: {net: simple-1d, hidden: 20, bits: 4}\n"

static err parse(const char *whole, experiment *e) {
    int length = snprintf(text, sizeof text, "%s", whole);
    assert_true(length > 0 && (size_t)length < sizeof text);
    return parse_text(text, (size_t)length, e);
}

static void must_be(const char *whole, experiment *e) {
    if (parse(whole, e)) {
        fail_msg("%s", err_text());
    }
}

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

/* What does not fit. */

static void assert_refused(const char *whole, unsigned line, const char *demand) {
    experiment e;
    char place[32];
    snprintf(place, sizeof place, "some.yaml:%u: ", line);
    if (parse(whole, &e) != ERR_INPUT) {
        fail_msg("taken, in place of '%s'", demand);
    }
    if (strncmp(err_text(), place, strlen(place)) != 0 || !strstr(err_text(), demand)) {
        fail_msg("'%s' does not tell '%s%s'", err_text(), place, demand);
    }
}

/* Of the encoder's list, layer 1 on line 9. */
static const struct {
    const char *layer, *demand;
} no_layers[] = {
    {"dens: 4", "key encoder.net.1 is 'dens', none of dense, convolution"},
    {"dens: 4", "is dense meant?"},
    {"conv", "key encoder.net.1 is 'conv', none of dense"},
    {"dense", "key encoder.net.1 is a layer without its keys"},
    {"[relu]", "key encoder.net.1 must be one layer, as relu or {dense: 64}"},
    {"{relu: , dense: 4}", "key encoder.net.1 must be one layer"},
    {"{}", "key encoder.net.1 must be one layer"},
    {"relu: 4", "key encoder.net.1.relu takes no value"},
    {"{relu: }", "key encoder.net.1.relu takes no value"},
    {"relu: {slope: 4}", "key encoder.net.1.relu.slope is not known"},
    {"batch_norm: 4", "key encoder.net.1.batch_norm must be a section of keys"},
    {"convolution: 4", "key encoder.net.1.convolution must be a section of keys"},
    {"convolution: {kernel: 4}", "key encoder.net.1.convolution.outputs is missing"},
    {"convolution: {outputs: 4}", "key encoder.net.1.convolution.kernel is missing"},
    {"convolution: {outputs: 4, kernel: 0}", "key encoder.net.1.convolution.kernel must be from 1 to 255"},
    {"convolution: {outputs: 4, kernel: 256}", "key encoder.net.1.convolution.kernel must be from 1 to 255"},
    {"convolution: {outputs: 4, kernel: 1, stride: 0}", "key encoder.net.1.convolution.stride must be from 1 to"},
    {"convolution: {outputs: 4, kernel: 1, stride: 256}", "key encoder.net.1.convolution.stride must be from 1 to"},
    {"convolution: {outputs: 4, kernel: 1, padding: 256}", "convolution.padding must be from 0 to 255"},
    {"convolution: {outputs: 4, kernel: 1, kernel: 2}", "kernel is there twice"},
    {"convolution: {outputs: 4, kernle: 1}", "kernle is not known: is kernel meant?"},
    {"convolution: {outputs: 4, kernel: [1, 2, 3]}", "kernel has too many entries: there may be 2"},
    {"convolution: {outputs: 4, kernel: 2, dilation: 0}", "convolution.dilation must be from 1 to 255"},
    {"convolution: {outputs: 4, kernel: 2, groups: 0}", "convolution.groups must be from 1 to 65536"},
    {"max_pool: {kernel: 2, dilation: 2}", "key encoder.net.1.max_pool.dilation is not known"},
    {"max_pool: 16", "key encoder.net.1.max_pool must be from 1 to 15"},
    {"max_pool: {kernel: 2, outputs: 3}", "key encoder.net.1.max_pool.outputs is not known"},
    {"average_pool: 256", "key encoder.net.1.average_pool must be from 1 to 255"},
    {"adaptive_average_pool: 0", "key encoder.net.1.adaptive_average_pool must be from 1 to 4096"},
    {"adaptive_average_pool: []", "key encoder.net.1.adaptive_average_pool has too few entries"},
    {"upsample: [1, 2, 3]", "key encoder.net.1.upsample has too many entries: there may be 2"},
    {"upsample: 4097", "key encoder.net.1.upsample must be from 1 to 4096"},
    {"unflatten: 4", "key encoder.net.1.unflatten must be a list"},
    {"unflatten: [4]", "key encoder.net.1.unflatten has too few entries"},
    {"unflatten: [4, 0, 4]", "key encoder.net.1.unflatten must be from 1 to 1048576"},
    {"dense: 0", "key encoder.net.1.dense must be from 1 to 65536"},
    {"dense: 65537", "key encoder.net.1.dense must be from 1 to 65536"},
    {"dense: 4294967296", "key encoder.net.1.dense must be from 1 to 65536"},
    {"dense: 1.5", "key encoder.net.1.dense is '1.5', none of bits, classes"},
    {"dense: -1", "key encoder.net.1.dense is '-1', none of bits, classes"},
    {"dense: class", "key encoder.net.1.dense is 'class', none of bits, classes: is classes meant?"},
    {"dense: \"4\"", "key encoder.net.1.dense is '4', none of bits, classes"},
    {"dense: {outputs: 4, bias: yes}", "key encoder.net.1.dense.bias must be true or false"},
    {"batch_norm: {affine: 1}", "key encoder.net.1.batch_norm.affine must be true or false"},
    {"dropout: much", "key encoder.net.1.dropout must be a number"},
    {"residual: []", "key encoder.net.1.residual must be a list of layers"},
    {"residual: relu", "key encoder.net.1.residual must be a list of layers"},
    {"residual: {shortcut: [relu]}", "key encoder.net.1.residual.main is missing"},
    {"residual: {main: []}", "key encoder.net.1.residual.main must be a list of layers"},
    {"residual: {main: [relu], shortcut: relu}", "key encoder.net.1.residual.shortcut must be a list of layers"},
    {"residual: {main: [relu, dens]}", "key encoder.net.1.residual.main.1 is 'dens'"},
    {"residual: [relu, {dense: x}]", "key encoder.net.1.residual.1.dense is 'x'"},
};

static void layers_that_are_none(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof no_layers / sizeof no_layers[0]; i++) {
        char whole[2048];
        snprintf(whole, sizeof whole, HEAD REST "encoder: {bits: 4, net: [ # 7\n  relu,\n  %s,\n  {dense: bits}]}\n",
                 no_layers[i].layer);
        assert_refused(whole, 9, no_layers[i].demand);
    }
}

/* Of the encoder's list, layer 1 on line 9, too, behind a layer that makes 8x12x12 of the portion. */
static void layers_that_do_not_fit(void **state) {
    (void)state;
    static const struct {
        const char *layer, *demand;
    } cases[] = {
        {"dense: 4", "key encoder.net.1 does not fit: layer 2 (encoder.1) needs a row, not an image (of 8x12x12)"},
        {"convolution: {outputs: 4, kernel: 13}",
         "layer 2 (encoder.1) leaves nothing: window 13x13, padding 0x0 (of 8x12x12)"},
        {"max_pool: [2, 15]", "layer 2 (encoder.1) leaves nothing: window 2x15, padding 0x0 (of 8x12x12)"},
        {"max_pool: {kernel: 2, padding: 2}", "layer 2 (encoder.1) is padded by more than half its window"},
        {"convolution: {outputs: 8, kernel: [1, 5], dilation: 3}",
         "layer 2 (encoder.1) leaves nothing: window 1x13, padding 0x0 (of 8x12x12)"},
        {"convolution: {outputs: 8, kernel: 1, groups: 3}",
         "layer 2 (encoder.1) has 3 groups, which do not divide its 8 channels and 8 outputs (of 8x12x12)"},
        {"convolution: {outputs: 6, kernel: 1, groups: 4}", "which do not divide its 8 channels and 6 outputs"},
        {"average_pool: {kernel: [3, 2], padding: [1, 2]}", "layer 2 (encoder.1) is padded by more than half"},
        {"upsample: 4096", "layer 2 (encoder.1) leaves too much (of 8x12x12)"},
        {"unflatten: [8, 12, 12]", "layer 2 (encoder.1) is an image of other size than what it is made of: 8x12x12"},
        {"dropout: 1", "layer 2 (encoder.1) has a rate outside 0 to 1"},
        {"dropout: -0.1", "layer 2 (encoder.1) has a rate outside 0 to 1"},
        {"convolution: {outputs: classes, kernel: 1}", "as many outputs as there are classes, so it is for the class"},
        {"residual: [{convolution: {outputs: 8, kernel: 3}}]",
         "key encoder.net.1 does not fit: layer 5 joins paths of different shapes, 8x10x10 and 8x12x12"},
        {"residual: {main: [relu], shortcut: [{max_pool: 2}]}",
         "key encoder.net.1 does not fit: layer 6 joins paths of different shapes, 8x12x12 and 8x6x6"},
        {"residual: [relu, flatten]", "key encoder.net.1.residual.main.1 does not fit: layer 4 (encoder.1.main.1) is "
                                      "inside a block"},
        {"residual: [{residual: [relu]}]", "key encoder.net.1.residual.main.0 does not fit: layer 3 is inside another"},
        {"residual: {main: [relu], shortcut: [relu, {max_pool: 13}]}",
         "key encoder.net.1.residual.shortcut.1 does not"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char whole[2048];
        snprintf(whole, sizeof whole,
                 HEAD REST "encoder: {bits: 4, net: [ # 7\n  {convolution: {outputs: 8, kernel: 3}},\n  {%s},\n"
                           "  flatten, {dense: bits}]}\n",
                 cases[i].layer);
        assert_refused(whole, 9, cases[i].demand);
    }
}

static void nets_that_do_not_fit(void **state) {
    (void)state;
    static const struct {
        const char *rest;
        unsigned line;
        const char *demand;
    } cases[] = {
        {REST "encoder: {net: [], bits: 4}\n", 7, "key encoder.net must be a list of layers"},
        {REST "encoder: {net: {dense: 4}, bits: 4}\n", 7, "key encoder.net must be a word or a list of layers"},
        {REST "encoder: {net: [{dense: 5}], bits: 4}\n", 7,
         "key encoder.net does not fit: makes 5 numbers of a portion of 1x14x14, not 4"},
        {REST "encoder: {net: [{dense: 9}, {residual: [{dense: 8}]}, {dense: 4}], bits: 4}\n", 7,
         "key encoder.net.1 does not fit: layer 4 joins paths of different shapes, 1x1x8 and 1x1x9"},
        {REST "encoder: {net: [{dense: 9}, {residual: [{unflatten: [1, 3, 3]}]}, {dense: 4}], bits: 4}\n", 7,
         "key encoder.net.1.residual.main.0 does not fit: layer 2 (encoder.1.main.0) is inside a block"},
        {REST "encoder: {net: [{dense: 4}], hidden: 4, bits: 4}\n", 7, "key encoder.hidden is for simple-1d"},
        {REST "encoder: {net: simple, bits: 4}\n", 7, "key encoder.net is 'simple', none of simple-1d"},
        {ENCODER DECODER "classifier: {net: [{dense: 10}]}\n", 7,
         "key classifier.net does not fit: makes 10 numbers, not one a class: give its last dense layer `classes`"},
        {ENCODER DECODER "classifier: {net: [{dense: 11}]}\n", 7, "key classifier.net does not fit: makes 11 numbers"},
        {ENCODER DECODER "classifier: {net: [{dense: classes}, relu]}\n", 7, "must end with a dense layer"},
        {ENCODER DECODER "classifier: {net: [{dense: bits}]}\n", 7,
         "key classifier.net.0 does not fit: layer 1 (classifier.0) has as many outputs as an encoder has bits"},
        {ENCODER DECODER "classifier: {net: [{dense: classes}], hidden: 4}\n", 7, "key classifier.hidden is for mnist"},
        {ENCODER CLASSIFIER "decoder: {net: [{dense: classes}]}\n", 7, "key decoder.net.0 does not fit: layer 0 (dec"},
        {ENCODER CLASSIFIER "decoder: {net: [{dense: 4},\n   {max_pool: 2}]}\n", 8,
         "key decoder.net.1 does not fit: layer 1 (decoder.1) needs an image (of 1x1x4)"},
        {ENCODER "classifier: {net: [{dense: classes}]}\ndecoder: {net: [{dense: 4}, {unflatten: [1, 2, 2]}]}\n", 6,
         "key classifier.net.0 does not fit: layer 2 (classifier.0) needs a row, not an image (of 1x2x2)"},
        {ENCODER REST "nets: [relu]\n", 8, "key nets must be a section of lists of layers"},
        {ENCODER REST "nets: {a: relu}\n", 8, "key nets.a must be a list of layers"},
        {ENCODER REST "nets: {a: [relu], a: [relu]}\n", 8, "key nets.a is there twice"},
        {ENCODER REST "nets: {a: [b], b: [relu]}\n", 8, "key nets.a.0 is 'b', none of dense"},
        {ENCODER REST "nets: {a: [a]}\n", 8, "key nets.a.0 is 'a', none of dense"},
        {ENCODER REST "nets: {relu: [relu]}\n", 8, "key nets.relu is the name of a layer, or of a net that is known"},
        {ENCODER REST "nets: {conv: [relu]}\n", 8, "key nets.conv is the name of a layer, or of a net that is known"},
        {ENCODER REST "nets: {identity: [relu]}\n", 8, "key nets.identity is the name of a layer"},
        {ENCODER REST "nets: {mlp: [relu]}\n", 8, "key nets.mlp is the name of a layer"},
        {ENCODER REST "nets: {a.b: [relu]}\n", 8, "is no name: 1 to 31"},
        {ENCODER REST "nets: {1a: [relu]}\n", 8, "is no name: 1 to 31"},
        {ENCODER REST "nets: {\"true\": [relu]}\n", 8, "is no name: 1 to 31"},
        {ENCODER REST "nets: {a1234567890123456789012345678901: [relu]}\n", 8, "is no name: 1 to 31"},
        {REST "encoder: {net: a, bits: 4}\nnets:\n  a: [relu,\n   flatten,\n   {max_pool: 2}]\n", 11,
         "key nets.a.2 does not fit: layer 1 (encoder.2) needs an image (of 1x1x196)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char whole[2048];
        snprintf(whole, sizeof whole, HEAD "%s", cases[i].rest);
        assert_refused(whole, cases[i].line, cases[i].demand);
    }
    assert_refused(
        "name: own\ndataset: {name: x}\noptimiser: {kind: adam, learning_rate: 0.01}\ntraining: {epochs: 2, "
        "batch_size: 20, seed: 1}\nencoder: {net: [{dense: bits}], bits: 3}\n" REST "portions:\n"
        "  - {name: a, shape: [10], type: f32}\n"
        "  - {name: b, shape: [2, 6], type: f32, encoder: {net: [{max_pool: 2},\n    {max_pool: [1, 2]}]}}\n",
        11, "key portions.b.encoder.net.1 does not fit: layer 2 (encoder.1) has two sides, but [channels, length] has");
}

/* Every cap, on it and one above: of layers in all, in a net, of blocks, of names. */
static void how_much_there_may_be(void **state) {
    (void)state;
    static char whole[TEXT_MAX];
    for (int above = 0; above < 2; above++) {
        experiment e;
        size_t used = (size_t)snprintf(whole, sizeof whole, HEAD REST "encoder:\n  bits: 4\n  net:\n");
        for (int i = 0; i < 127 + above; i++) {
            used += (size_t)snprintf(whole + used, sizeof whole - used, "  - relu\n");
        }
        snprintf(whole + used, sizeof whole - used, "  - dense: bits\n");
        if (above) {
            assert_refused(whole, 9 + 129, "key encoder.net.128 does not fit: layer 128 is one too many: a net has at");
        } else {
            must_be(whole, &e);
        }
        used = (size_t)snprintf(whole, sizeof whole, HEAD REST ENCODER "nets:\n");
        for (int i = 0; i < NET_LIST_BLOCKS_MAX + above; i++) {
            used += (size_t)snprintf(whole + used, sizeof whole - used, "  a%d: [%s relu]\n", i, i ? "a0, a0," : "");
        }
        if (above) {
            assert_refused(whole, 9 + NET_LIST_BLOCKS_MAX, "key nets has too many entries: there may be 16");
        } else {
            must_be(whole, &e);
        }
        used = (size_t)snprintf(whole, sizeof whole, HEAD REST ENCODER "nets:\n  a: [relu");
        for (int i = 0; i < NET_LIST_LAYERS_MAX - 1 + above; i++) {
            used += (size_t)snprintf(whole + used, sizeof whole - used, ", relu");
        }
        snprintf(whole + used, sizeof whole - used, "]\n");
        if (above) {
            assert_refused(whole, 9, "key nets.a has too many layers: all lists together may have 256");
        } else {
            must_be(whole, &e);
        }
    }
}

static void must_be_replaced(char *whole, const char *from, const char *to) {
    char *at = strstr(whole, from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
}

/* Blocks each of the one before twice: 2^15 layers, which their names end, and 2^8, of which 128 are looked at. */
static void blocks_that_grow_without_end(void **state) {
    (void)state;
    char whole[2048];
    size_t used =
        (size_t)snprintf(whole, sizeof whole, HEAD REST "encoder: {net: a15, bits: 4}\nnets:\n  a0: [relu]\n");
    for (int i = 1; i < NET_LIST_BLOCKS_MAX; i++) {
        used += (size_t)snprintf(whole + used, sizeof whole - used, "  a%d: [a%d, a%d]\n", i, i - 1, i - 1);
    }
    assert_refused(whole, 9, "key nets.a0.0 does not fit: layer 0 lies too deep");
    must_be_replaced(whole, "net: a15,", "net: a8 ,");
    assert_refused(whole, 9, "key nets.a0.0 does not fit: layer 128 is one too many: a net has at most 128 layers");
}

/* Of more weights than the machine has memory for: refused before any is taken. */
static void nets_too_large(void **state) {
    (void)state;
    experiment e;
    nn_spec spec;
    nn_net *net;
    must_be(HEAD REST "encoder: {net: [{dense: 65536}, {dense: 65536}, {dense: bits}], bits: 4}\n", &e);
    experiment_describe_encoder(&e, 0, &spec);
    nn_net_options options = {.max_rows = 1, .max_bytes = 1u << 30};
    assert_int_equal(nn_net_new(&net, &spec, &options), ERR_FULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_train_as_the_nets_they_spell),
        cmocka_unit_test(heads_train_as_the_nets_they_spell),
        cmocka_unit_test(tensors_are_named_as_in_sequential),
        cmocka_unit_test(the_first_layer_takes_an_image_or_a_row),
        cmocka_unit_test(costs_are_those_of_the_net),
        cmocka_unit_test(the_text_comes_back),
        cmocka_unit_test(layers_that_are_none),
        cmocka_unit_test(layers_that_do_not_fit),
        cmocka_unit_test(nets_that_do_not_fit),
        cmocka_unit_test(how_much_there_may_be),
        cmocka_unit_test(blocks_that_grow_without_end),
        cmocka_unit_test(nets_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
