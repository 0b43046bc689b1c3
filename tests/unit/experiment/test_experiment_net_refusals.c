/* Nets that are lists of layers and do not fit: every refusal with its line, and every cap. */
#include "experiment/derive.h"
#include "nn/net.h"
#include "tests/lib/listed_nets.h"

static void assert_refused(const char *whole, unsigned line, const char *demand) {
    experiment e;
    char place[32];
    snprintf(place, sizeof place, "some.yaml:%u: ", line);
    if (parse_whole(whole, &e) != ERR_INPUT) {
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
        {"residual: [{residual: [{residual: [{max_pool: 5}]}]}]",
         "key encoder.net.1.residual.main.0.residual.main.0 does not fit: layer 7 joins paths of different shapes"},
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

static const struct {
    const char *rest;
    unsigned line;
    const char *demand;
} misfits[] = {
    {REST "encoder: {net: [d, {dense: 4}], bits: 4}\nnets:\n  a: [{residual: [relu]}]\n  b: [{residual: [a]}]\n"
          "  c: [{residual: [b]}]\n  d: [{residual: [c]}]\n  e: [{residual: [d]}]\n",
     0, NULL},
    {REST "encoder: {net: [e, {dense: 4}], bits: 4}\nnets:\n  a: [{residual: [relu]}]\n  b: [{residual: [a]}]\n"
          "  c: [{residual: [b]}]\n  d: [{residual: [c]}]\n  e: [{residual: [d]}]\n",
     9, "key nets.a.0 does not fit: layer 4 is inside too many other blocks"},
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

static void nets_that_do_not_fit(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        char whole[2048];
        experiment e;
        snprintf(whole, sizeof whole, HEAD "%s", misfits[i].rest);
        if (misfits[i].demand) {
            assert_refused(whole, misfits[i].line, misfits[i].demand);
        } else {
            must_be(whole, &e);
        }
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
            assert_refused(whole, 9 + 129, "key encoder.net.128 does not fit: layer 128 (encoder.128) is one too many");
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
        (size_t)snprintf(whole, sizeof whole, HEAD REST "encoder: {net: a15, bits: 4}\nnets:\n  a0: [batch_norm]\n");
    for (int i = 1; i < NET_LIST_BLOCKS_MAX; i++) {
        used += (size_t)snprintf(whole + used, sizeof whole - used, "  a%d: [a%d, a%d]\n", i, i - 1, i - 1);
    }
    assert_refused(whole, 9, "key nets.a0.0 does not fit: layer 1 lies too deep");
    must_be_replaced(whole, "net: a15,", "net: a8 ,");
    assert_refused(whole, 9, "key nets.a0.0 does not fit: layer 128 (encoder.0.1.1.1.1.1.1.1.0) is one too many");
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
        cmocka_unit_test(layers_that_are_none),         cmocka_unit_test(layers_that_do_not_fit),
        cmocka_unit_test(nets_that_do_not_fit),         cmocka_unit_test(how_much_there_may_be),
        cmocka_unit_test(blocks_that_grow_without_end), cmocka_unit_test(nets_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
