/* Presets: what every layer of the paper's nets puts out, how many parameters they have, and what is refused. Sizes are
 * the paper's; numbers of parameters PyTorch's (AlexNet and ResNet-18 with one channel in, outputs as many as bits). */
#include "nn/net.h"
#include "nn/presets/presets.h"
#include "nn/shape_infer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const nn_shape plane = {1, 32, 32}, quadrant = {3, 16, 16}, run = {1, 1, 196}, image = {3, 32, 32};

static const char *const kind_names[] = {
    [NN_DENSE] = "dense",
    [NN_RELU] = "relu",
    [NN_BATCH_NORM] = "norm",
    [NN_SIGMOID] = "sigmoid",
    [NN_RESIGMOID] = "resigmoid",
    [NN_NOISE] = "noise",
    [NN_BINARIZE] = "quantize",
    [NN_IMAGE] = "image",
    [NN_FLATTEN] = "flatten",
    [NN_CONVOLUTION] = "conv",
    [NN_MAX_POOL] = "pool",
    [NN_AVERAGE_POOL] = "average",
    [NN_ADAPTIVE_AVERAGE_POOL] = "adaptive",
    [NN_UPSAMPLE] = "upsample",
    [NN_DROPOUT] = "dropout",
    [NN_RESIDUAL] = "residual",
    [NN_SHORTCUT] = "shortcut",
    [NN_JOIN] = "join",
};

/* A description as text: a word a layer, and its shape where that is not the one before. A flat row's is one
 * number. */
static const char *told(const nn_spec *spec) {
    static char text[4096];
    nn_shape shapes[NN_LAYERS_MAX], before = {0, 0, 0};
    if (shape_infer(spec, shapes)) {
        fail_msg("%s", err_text());
    }
    size_t used = 0;
    for (size_t i = 0; i < spec->count; i++) {
        nn_shape s = shapes[i];
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s", i ? " " : "", kind_names[spec->layers[i].kind]);
        if (memcmp(&s, &before, sizeof s) != 0) {
            const char *format = s.channels == 1 && s.height == 1 ? " %3$u" : " %1$ux%2$ux%3$u";
            used += (size_t)snprintf(text + used, sizeof text - used, format, s.channels, s.height, s.width);
        }
        before = s;
    }
    return text;
}

/* Parameters and buffers, as nn_net_new makes them for a single row. */
static void count_tensors(const nn_spec *spec, size_t *parameters, size_t *buffers) {
    nn_net *net;
    nn_net_options options = {.max_rows = 1};
    *parameters = *buffers = 0;
    if (nn_net_new(&net, spec, &options)) {
        fail_msg("%s", err_text());
    }
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        *(t->is_parameter ? parameters : buffers) += t->count;
    }
    nn_net_free(net);
}

static void assert_net(const nn_spec *spec, const char *layers, size_t parameters, size_t buffers) {
    size_t found_parameters, found_buffers;
    assert_string_equal(told(spec), layers);
    count_tensors(spec, &found_parameters, &found_buffers);
    assert_int_equal(found_parameters, parameters);
    assert_int_equal(found_buffers, buffers);
}

static void assert_encoder(const preset_encoder *e, nn_shape portion, const char *layers, size_t parameters,
                           size_t buffers) {
    nn_spec spec;
    memset(&spec, 0xff, sizeof spec);
    preset_describe_encoder(e, NULL, portion, &spec);
    assert_int_equal(spec.inputs, nn_shape_elements(portion));
    assert_net(&spec, layers, parameters, buffers);
    preset_fault fault;
    if (preset_check_encoder(e, NULL, portion, &fault)) {
        fail_msg("%s", err_text());
    }
}

static void simple_1d(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_SIMPLE_1D, .hidden = 200, .bits = 4};
    assert_encoder(&e, run, "dense 200 relu dense 4 sigmoid", 40204, 0);
    e.batch_norm = true;
    e.activation = PRESET_RESIGMOID;
    assert_encoder(&e, run, "dense 200 relu dense 4 norm sigmoid resigmoid resigmoid resigmoid", 40212, 8);
    e = (preset_encoder){.net = PRESET_SIMPLE_1D, .hidden = 200, .bits = 8, .binarize = PRESET_STRAIGHT_THROUGH};
    assert_encoder(&e, plane, "dense 200 relu dense 8 sigmoid quantize", 206608, 0);
    e.batch_norm = true;
    e.binarize = PRESET_AFTER_TRAINING;
    assert_encoder(&e, plane, "dense 200 relu dense 8 norm sigmoid", 206624, 16);
    e.temperature = 0.5f;
    assert_encoder(&e, plane, "dense 200 relu dense 8 norm noise sigmoid", 206608, 16);
    e.noise = PRESET_LOGISTIC_NOISE;
    e.temperature = 0;
    assert_encoder(&e, plane, "dense 200 relu dense 8 norm noise sigmoid", 206624, 16);
}

#define TUTORIAL                                                                                                       \
    "image 1x32x32 conv 6x28x28 pool 6x14x14 relu conv 16x10x10 pool 16x5x5 relu "                                     \
    "flatten 400 "

static void convolutions_and_dense(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_CONV, .bits = 12, .batch_norm = true};
    assert_encoder(&e, plane, TUTORIAL "dense 120 relu dense 84 relu dense 12 norm sigmoid", 61900, 24);
    e.batch_norm = false;
    assert_encoder(&e, plane, TUTORIAL "dense 120 relu dense 84 relu dense 12 sigmoid", 61876, 0);
    e = (preset_encoder){.net = PRESET_CONV_B, .bits = 8, .batch_norm = true};
    assert_encoder(&e, plane, TUTORIAL "dense 8 relu norm sigmoid", 5796, 16);
    e = (preset_encoder){.net = PRESET_CONV_C, .bits = 12, .batch_norm = true};
    assert_encoder(&e, plane, TUTORIAL "dense 84 relu dense 12 norm sigmoid", 37300, 24);
    e.bits = 4;
    assert_encoder(&e, plane, TUTORIAL "dense 84 relu dense 4 norm sigmoid", 36604, 8);
}

static void quadrants(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_CONV_SMALL_3, .bits = 8, .batch_norm = true};
    const char *layers = "image 3x16x16 conv 6x16x16 relu conv 16x16x16 relu flatten 4096 dense 120 relu dense 84 relu "
                         "dense 8 norm sigmoid";
    assert_encoder(&e, quadrant, layers, 503548, 16);
}

static void alexnet(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_ALEXNET, .bits = 8, .batch_norm = true};
    assert_encoder(&e, plane,
                   "image 1x32x32 upsample 1x224x224 conv 64x55x55 relu pool 64x27x27 conv 192x27x27 relu "
                   "pool 192x13x13 conv 384x13x13 relu conv 256x13x13 relu conv relu pool 256x6x6 flatten 9216 "
                   "dropout dense 4096 relu dropout dense relu dense 8 norm sigmoid",
                   57021128 + 16, 16);
    e = (preset_encoder){.net = PRESET_ALEXNET_SMALL, .bits = 16, .batch_norm = true};
    assert_encoder(&e, plane,
                   "image 1x32x32 conv 64x7x7 relu pool 64x3x3 conv 192x3x3 relu pool 192x1x1 adaptive 192x6x6 "
                   "flatten 6912 dropout dense 4096 relu dense 16 norm sigmoid",
                   28696432, 32);
}

#define BLOCK "residual conv norm relu conv norm shortcut join relu "
#define HALVING(size, entry)                                                                                           \
    "residual conv " size " norm relu conv norm shortcut " entry " conv " size " norm join relu " BLOCK

static void resnet18(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_RESNET18, .bits = 8, .batch_norm = true};
    assert_encoder(&e, plane,
                   "image 1x32x32 upsample 1x224x224 conv 64x112x112 norm relu pool 64x56x56 " BLOCK BLOCK HALVING(
                       "128x28x28", "64x56x56") HALVING("256x14x14", "128x28x28")
                       HALVING("512x7x7", "256x14x14") "adaptive 512x1x1 flatten 512 dense 8 norm sigmoid",
                   11174344 + 16, 9616);
    nn_spec spec;
    preset_describe_encoder(&e, NULL, plane, &spec);
    for (size_t i = 0; i < spec.count; i++) {
        assert_int_equal(spec.layers[i].init_fan_out, spec.layers[i].kind == NN_CONVOLUTION);
    }
}

/* 16 and 32 channels, pooled, 64, pooled; of a quadrant and of a half of a digit. */
static void convolutions_with_batch_norm(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_CONV_NORM, .hidden = 128, .bits = 4, .batch_norm = true};
    e.binarize = PRESET_STRAIGHT_THROUGH;
    assert_encoder(&e, (nn_shape){1, 14, 14},
                   "image 1x14x14 conv 16x14x14 norm relu conv 32x14x14 norm relu pool 32x7x7 conv 64x7x7 norm relu "
                   "pool 64x3x3 flatten 576 dense 128 norm relu dense 4 norm sigmoid quantize",
                   98148 + 8, 480 + 8);
    e.batch_norm = false;
    e.bits = 6;
    assert_encoder(&e, (nn_shape){1, 14, 28},
                   "image 1x14x28 conv 16x14x28 norm relu conv 32x14x28 norm relu pool 32x7x14 conv 64x7x14 norm relu "
                   "pool 64x3x7 flatten 1344 dense 128 norm relu dense 6 sigmoid quantize",
                   196710, 480);
}

#define STAGE(size, entry) "residual conv " size " norm relu conv norm shortcut " entry " conv " size " norm join relu "

static void residual(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_RESIDUAL, .bits = 8, .batch_norm = true, .binarize = PRESET_STRAIGHT_THROUGH};
    assert_encoder(&e, plane,
                   "image 1x32x32 conv 32x32x32 norm relu " STAGE("64x16x16", "32x32x32")
                       STAGE("128x8x8", "64x16x16") "conv 256x4x4 norm relu adaptive 256x1x1 flatten 256 dense 8 norm "
                                                    "sigmoid quantize",
                   585704 + 16, 1744);
    nn_spec spec;
    preset_describe_encoder(&e, NULL, plane, &spec);
    double macs = nn_spec_step_macs(&spec, 1, false) / 3;
    assert_true(macs > 33e6 && macs < 35e6);
    assert_int_equal(preset_check_encoder(&e, NULL, quadrant, &(preset_fault){0}), ERR_OK);
}

static void squares(void **state) {
    (void)state;
    preset_encoder e = {.net = PRESET_CONV_SQUARE, .bits = 16, .batch_norm = true};
    assert_encoder(&e, plane,
                   "image 1x32x32 conv 6x28x28 pool 6x14x14 relu conv 3x12x12 pool 3x6x6 relu conv 1x4x4 norm "
                   "flatten 16 sigmoid",
                   351, 2);
    e.net = PRESET_CONV_SQUARE_B;
    assert_encoder(&e, plane,
                   "image 1x32x32 conv 6x28x28 pool 6x14x14 relu conv 16x12x12 pool 16x6x6 relu conv 1x4x4 norm "
                   "flatten 16 sigmoid",
                   1183, 2);
    e.net = PRESET_CONV_SQUARE_8X8;
    e.bits = 64;
    assert_encoder(&e, plane,
                   "image 1x32x32 conv 6x28x28 pool 6x14x14 relu conv 16x10x10 relu conv 1x8x8 norm flatten 64 "
                   "sigmoid",
                   2719, 2);
}

/* "seven minus the square root of the encoded bit size", up to 6x6. */
static void squares_of_every_side(void **state) {
    (void)state;
    for (uint32_t side = 1; side <= 8; side++) {
        preset_encoder e = {.net = PRESET_CONV_SQUARE, .bits = side * side, .batch_norm = true};
        nn_spec spec;
        preset_describe_encoder(&e, NULL, plane, &spec);
        assert_int_equal(spec.layers[7].kind, NN_CONVOLUTION);
        assert_int_equal(spec.layers[7].kernel, side < 7 ? 7 - side : 0);
        assert_int_equal(preset_check_encoder(&e, NULL, plane, &(preset_fault){0}), side < 7 ? ERR_OK : ERR_INPUT);
    }
}

/* Heads. */

#define PLAYGROUND                                                                                                     \
    "conv 128x32x32 norm relu conv norm relu pool 128x16x16 conv 256x16x16 norm relu conv norm relu pool 256x8x8 "     \
    "conv 512x8x8 norm relu conv norm relu pool 512x4x4 conv 1024x2x2 norm relu pool 1024x1x1 flatten 1024 dense 10"

enum { PLAYGROUND_PARAMETERS = 9306250, PLAYGROUND_BUFFERS = 5632 };

static const preset_head head_of_planes = {
    .decoder = PRESET_LINEAR,
    .classifier = PRESET_PLAYGROUND,
    .classes = 10,
    .portions = 3,
    .bits = 3 * 8,
    .sample = {3, 32, 32},
};

static void assert_head(const preset_head *h, const char *layers, size_t parameters, size_t buffers) {
    nn_spec spec;
    memset(&spec, 0xff, sizeof spec);
    preset_describe_head(h, &spec);
    assert_int_equal(spec.inputs, h->decoder == PRESET_NO_DECODER ? nn_shape_elements(h->sample) : h->bits);
    assert_net(&spec, layers, parameters, buffers);
    preset_fault fault;
    if (preset_check_head(h, &fault)) {
        fail_msg("%s: %s", fault.part, err_text());
    }
}

static void linear_heads(void **state) {
    (void)state;
    preset_head h = head_of_planes;
    assert_head(&h, "dense 3072 image 3x32x32 " PLAYGROUND, 76800 + PLAYGROUND_PARAMETERS, PLAYGROUND_BUFFERS);
    h.bits = 4 * 8;
    assert_head(&h, "dense 3072 image 3x32x32 " PLAYGROUND, 101376 + PLAYGROUND_PARAMETERS, PLAYGROUND_BUFFERS);
    h = (preset_head){.hidden = 1000, .classes = 10, .portions = 4, .bits = 16, .sample = {1, 28, 28}};
    assert_head(&h, "dense 784 dense 1000 relu dense 10", 13328 + 795010, 0);
    h.decoder = PRESET_NO_DECODER;
    assert_head(&h, "dense 1000 relu dense 10", 795010, 0);
}

/* The classifier reads the bits themselves, whatever the sample's shape. */
static void heads_without_a_decoder(void **state) {
    (void)state;
    preset_head h = head_of_planes;
    h.decoder = PRESET_IDENTITY;
    h.classifier = PRESET_MLP;
    h.hidden = 512;
    assert_head(&h, "dense 512 norm relu dense 10", 24 * 512 + 512 + 1024 + 5130, 1024);
    h.classifier = PRESET_MNIST;
    assert_head(&h, "dense 512 relu dense 10", 24 * 512 + 512 + 5130, 0);
    h.decoder = PRESET_LINEAR;
    h.classifier = PRESET_MLP;
    h.sample = (nn_shape){1, 28, 28};
    assert_head(&h, "dense 784 dense 512 norm relu dense 10", 25 * 784 + 785 * 512 + 1024 + 5130, 1024);
    h.decoder = PRESET_IDENTITY;
    h.classifier = PRESET_PLAYGROUND;
    preset_fault fault;
    assert_int_equal(preset_check_head(&h, &fault), ERR_INPUT);
    assert_string_equal(fault.part, "classifier");
}

static void square_heads(void **state) {
    (void)state;
    preset_head h = head_of_planes;
    h.decoder = PRESET_SQUARE;
    h.bits = 3 * 16;
    assert_head(&h,
                "image 3x4x4 upsample 3x8x8 conv 6x10x10 relu upsample 6x20x20 conv 12x22x22 relu upsample 12x44x44 "
                "conv 6x38x38 relu conv 3x32x32 relu " PLAYGROUND,
                6399 + PLAYGROUND_PARAMETERS, PLAYGROUND_BUFFERS);
    h.decoder = PRESET_SQUARE_B;
    assert_head(&h, "image 3x4x4 upsample 3x32x32 conv " PLAYGROUND, 228 + PLAYGROUND_PARAMETERS, PLAYGROUND_BUFFERS);
    h.classifier = PRESET_MNIST;
    h.hidden = 100;
    assert_head(&h, "image 3x4x4 upsample 3x32x32 conv flatten 3072 dense 100 relu dense 10", 228 + 308310, 0);
    h = head_of_planes;
    h.decoder = PRESET_SQUARE_8X8;
    h.bits = 3 * 64;
    assert_head(&h, "image 3x8x8 upsample 3x32x32 conv 6x32x32 relu conv 16x32x32 relu conv 3x32x32 relu " PLAYGROUND,
                4075 + PLAYGROUND_PARAMETERS, PLAYGROUND_BUFFERS);
}

static void the_classifier_alone(void **state) {
    (void)state;
    preset_head h = head_of_planes;
    h.decoder = PRESET_NO_DECODER;
    h.portions = 1;
    h.bits = 0;
    assert_head(&h, "image 3x32x32 " PLAYGROUND, PLAYGROUND_PARAMETERS, PLAYGROUND_BUFFERS);
    const preset_encoder e = {.net = PRESET_NO_ENCODER};
    nn_spec spec;
    preset_describe_encoder(&e, NULL, image, &spec);
    assert_int_equal(spec.count, 0);
    assert_int_equal(spec.inputs, 3072);
    assert_int_equal(preset_check_encoder(&e, NULL, image, &(preset_fault){0}), ERR_OK);
}

/* A classifier that is frozen has every layer fixed, and nothing of the decoder; others have none. */
static void what_is_fixed(void **state) {
    (void)state;
    const preset_decoder_net decoders[] = {PRESET_LINEAR, PRESET_SQUARE};
    for (int training = PRESET_TRAIN_JOINT; training <= PRESET_TRAIN_FINE_TUNE; training++) {
        for (size_t d = 0; d < 2; d++) {
            preset_head h = head_of_planes;
            h.decoder = decoders[d];
            h.bits = 3 * 16;
            h.training = (preset_classifier_training)training;
            nn_spec spec;
            preset_describe_head(&h, &spec);
            size_t fixed = 0;
            for (size_t i = 0; i < spec.count; i++) {
                const nn_layer_spec *layer = &spec.layers[i];
                bool is_classifier = strncmp(layer->name, "classifier.", 11) == 0;
                assert_true(!layer->name[0] || layer->fixed == (is_classifier && training == PRESET_TRAIN_FROZEN));
                fixed += layer->fixed;
            }
            assert_true(training == PRESET_TRAIN_FROZEN ? fixed >= 26 : fixed == 0);
        }
    }
}

static void playground_norms_have_no_weights(void **state) {
    (void)state;
    nn_spec spec;
    preset_describe_head(&head_of_planes, &spec);
    for (size_t i = 0; i < spec.count; i++) {
        assert_int_equal(spec.layers[i].no_affine, spec.layers[i].kind == NN_BATCH_NORM);
        assert_false(spec.layers[i].no_bias);
    }
}

static void dropout_is_torchvisions(void **state) {
    (void)state;
    const preset_encoder_net nets[] = {PRESET_ALEXNET, PRESET_ALEXNET_SMALL};
    for (size_t n = 0; n < 2; n++) {
        const preset_encoder e = {.net = nets[n], .bits = 8};
        nn_spec spec;
        preset_describe_encoder(&e, NULL, plane, &spec);
        size_t found = 0;
        for (size_t i = 0; i < spec.count; i++) {
            bool is_dropout = spec.layers[i].kind == NN_DROPOUT;
            found += is_dropout;
            assert_true(spec.layers[i].rate == (is_dropout ? 0.5f : 0));
        }
        assert_int_equal(found, nets[n] == PRESET_ALEXNET ? 2 : 1);
    }
}

/* Names: those of a state_dict, one prefix before them. */

static const char *name_of(const nn_spec *spec, nn_kind kind, size_t which) {
    for (size_t i = 0; i < spec->count; i++) {
        if (spec->layers[i].kind == kind && which-- == 0) {
            return spec->layers[i].name;
        }
    }
    return "none";
}

static void names_as_in_torch(void **state) {
    (void)state;
    static const struct {
        preset_encoder_net net;
        nn_kind kind;
        size_t which;
        const char *name;
    } wanted[] = {
        {PRESET_CONV, NN_CONVOLUTION, 0, "encoder.0"},
        {PRESET_CONV, NN_CONVOLUTION, 1, "encoder.3"},
        {PRESET_CONV, NN_DENSE, 0, "encoder.7"},
        {PRESET_CONV, NN_DENSE, 2, "encoder.11"},
        {PRESET_CONV, NN_BATCH_NORM, 0, "encoder.12"},
        {PRESET_CONV_SQUARE, NN_CONVOLUTION, 2, "encoder.6"},
        {PRESET_CONV_SQUARE, NN_BATCH_NORM, 0, "encoder.7"},
        {PRESET_ALEXNET, NN_CONVOLUTION, 0, "encoder.features.0"},
        {PRESET_ALEXNET, NN_CONVOLUTION, 4, "encoder.features.10"},
        {PRESET_ALEXNET, NN_DENSE, 0, "encoder.classifier.1"},
        {PRESET_ALEXNET, NN_DENSE, 1, "encoder.classifier.4"},
        {PRESET_ALEXNET, NN_DENSE, 2, "encoder.classifier.6"},
        {PRESET_ALEXNET, NN_BATCH_NORM, 0, "encoder.norm"},
        {PRESET_ALEXNET_SMALL, NN_DENSE, 1, "encoder.classifier.3"},
        {PRESET_RESNET18, NN_CONVOLUTION, 0, "encoder.conv1"},
        {PRESET_RESNET18, NN_BATCH_NORM, 0, "encoder.bn1"},
        {PRESET_RESNET18, NN_CONVOLUTION, 2, "encoder.layer1.0.conv2"},
        {PRESET_RESNET18, NN_CONVOLUTION, 7, "encoder.layer2.0.downsample.0"},
        {PRESET_RESNET18, NN_BATCH_NORM, 7, "encoder.layer2.0.downsample.1"},
        {PRESET_RESNET18, NN_DENSE, 0, "encoder.fc"},
        {PRESET_RESNET18, NN_BATCH_NORM, 20, "encoder.norm"},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        const preset_encoder e = {.net = wanted[i].net, .bits = 16, .batch_norm = true};
        nn_spec spec;
        preset_describe_encoder(&e, NULL, plane, &spec);
        assert_string_equal(name_of(&spec, wanted[i].kind, wanted[i].which), wanted[i].name);
    }
    nn_spec spec;
    preset_describe_head(&head_of_planes, &spec);
    assert_string_equal(name_of(&spec, NN_DENSE, 0), "decoder.0");
    assert_string_equal(name_of(&spec, NN_CONVOLUTION, 0), "classifier.features.0");
    assert_string_equal(name_of(&spec, NN_CONVOLUTION, 6), "classifier.features.21");
    assert_string_equal(name_of(&spec, NN_DENSE, 1), "classifier.classifier.0");
}

/* What does not fit is refused, with the layer or the sizes in the reason. */

static void assert_encoder_refused(preset_encoder_net net, uint32_t bits, nn_shape portion, const char *reason) {
    const preset_encoder e = {.net = net, .bits = bits, .hidden = 10, .batch_norm = true};
    assert_int_equal(preset_check_encoder(&e, NULL, portion, &(preset_fault){0}), ERR_INPUT);
    if (!strstr(err_text(), reason)) {
        fail_msg("'%s' does not say '%s'", err_text(), reason);
    }
}

static void encoders_that_do_not_fit(void **state) {
    (void)state;
    assert_encoder_refused(PRESET_CONV, 8, run, "layer 1 (encoder.0)");
    assert_encoder_refused(PRESET_CONV, 8, (nn_shape){1, 13, 13}, "(encoder.3)"); /* 5x5 over 4x4 */
    assert_encoder_refused(PRESET_CONV_SQUARE, 15, plane, "makes 9 numbers of a portion of 1x32x32, not 15");
    assert_encoder_refused(PRESET_CONV_SQUARE, 49, plane, "layer 7 (encoder.6)");
    assert_encoder_refused(PRESET_CONV_SQUARE, 16, (nn_shape){1, 36, 36},
                           "makes 25 numbers of a portion of 1x36x36, not 16");
    assert_encoder_refused(PRESET_CONV_SQUARE_8X8, 63, plane, "makes 64 numbers of a portion of 1x32x32, not 63");
    assert_encoder_refused(PRESET_ALEXNET_SMALL, 8, quadrant, "(encoder.features.5)");
}

static void assert_head_refused(const preset_head *h, const char *part, const char *reason) {
    preset_fault fault;
    assert_int_equal(preset_check_head(h, &fault), ERR_INPUT);
    assert_string_equal(fault.part, part);
    if (!strstr(err_text(), reason)) {
        fail_msg("'%s' does not say '%s'", err_text(), reason);
    }
}

static void heads_that_do_not_fit(void **state) {
    (void)state;
    preset_head h = head_of_planes;
    h.decoder = PRESET_SQUARE;
    h.bits = 3 * 9;
    assert_head_refused(&h, "decoder", "makes 3x24x24 of 3 x 9 bits, a sample has 3x32x32");
    h.bits = 3 * 15; /* a square of 9 and a rest */
    assert_head_refused(&h, "decoder", "is an image of other size");
    h.bits = 3 * 16;
    h.decoder = PRESET_SQUARE_8X8;
    assert_head_refused(&h, "decoder", "makes 3x16x16 of 3 x 16 bits");
    h = head_of_planes;
    h.sample = (nn_shape){1, 28, 28};
    assert_head_refused(&h, "classifier", "(classifier.features.24)");
}

/* Descriptions by hand: [0] is what comes first, so that one bad layer behind it stands alone. */
static void assert_shapes_refused(const nn_spec *spec, const char *reason) {
    nn_shape shapes[NN_LAYERS_MAX];
    assert_int_equal(shape_infer(spec, shapes), ERR_INPUT);
    if (!strstr(err_text(), reason)) {
        fail_msg("'%s' does not say '%s'", err_text(), reason);
    }
}

#define OPEN                                                                                                           \
    {                                                                                                                  \
        .kind = NN_IMAGE, .shape = { 2, 5, 5 }                                                                         \
    }
#define CONVOLUTION(n, k)                                                                                              \
    { .kind = NN_CONVOLUTION, .outputs = n, .kernel = k, .stride = 1 }
#define FLAT                                                                                                           \
    { .kind = NN_FLATTEN }
#define BARE(k)                                                                                                        \
    { .kind = k }

static void layers_out_of_place(void **state) {
    (void)state;
    const struct {
        nn_spec spec;
        const char *reason;
    } wrong[] = {
        {{50, {BARE(NN_RELU)}, 0}, "0 layers"},
        {{50, {BARE(NN_RELU)}, NN_LAYERS_MAX + 1}, "layers, not 1 to"},
        {{0, {BARE(NN_RELU)}, 1}, "layer 0 leaves nothing"},
        {{50, {BARE(NN_DENSE)}, 1}, "layer 0 leaves nothing"},
        {{49, {OPEN, FLAT}, 2}, "layer 0 is an image of other size"},
        {{50, {OPEN, OPEN, FLAT}, 3}, "layer 1 is an image of other size"},
        {{50, {OPEN, BARE(NN_RELU)}, 2}, "the last layer leaves an image"},
        {{50, {OPEN, {.kind = NN_DENSE, .outputs = 3}, FLAT}, 3}, "layer 1 needs a row"},
        {{50, {CONVOLUTION(3, 1)}, 1}, "layer 0 needs an image (of 1x1x50)"},
        {{50, {OPEN, FLAT, FLAT}, 3}, "layer 2 needs an image"},
        {{50, {OPEN, CONVOLUTION(3, 6), FLAT}, 3}, "layer 1 leaves nothing: window 6x6, padding 0x0 (of 2x5x5)"},
        {{50, {OPEN, CONVOLUTION(3, 0), FLAT}, 3}, "layer 1 leaves nothing"},
        {{50, {OPEN, CONVOLUTION(0, 3), FLAT}, 3}, "layer 1 leaves nothing"},
        {{50, {OPEN, {.kind = NN_CONVOLUTION, .outputs = 3, .kernel = 3}, FLAT}, 3}, "layer 1 leaves nothing"},
        {{50, {OPEN, {.kind = NN_MAX_POOL, .kernel = 3, .stride = 1, .padding = 2}, FLAT}, 3}, "more than half"},
        {{50, {OPEN, {.kind = NN_AVERAGE_POOL, .kernel = 2, .stride = 1, .padding = 2}, FLAT}, 3}, "more than half"},
        {{50, {OPEN, {.kind = NN_UPSAMPLE, .shape = {0, 9, 0}}, FLAT}, 3}, "layer 1 leaves nothing"},
        {{50, {OPEN, {.kind = NN_UPSAMPLE, .shape = {0, 65536, 65536}}, FLAT}, 3}, "leaves too much"},
        {{50, {{.kind = NN_DROPOUT, .rate = 1}}, 1}, "layer 0 has a rate outside 0 to 1"},
        {{50, {BARE(NN_RESIDUAL)}, 1}, "the last layer leaves an image or a block open"},
        {{50, {OPEN, BARE(NN_RESIDUAL), BARE(NN_RESIDUAL), BARE(NN_SHORTCUT), BARE(NN_JOIN)}, 5}, "a block open"},
        {{50, {OPEN, BARE(NN_RESIDUAL), BARE(NN_SHORTCUT), BARE(NN_SHORTCUT)}, 4}, "layer 3 is outside a block"},
        {{50, {OPEN, BARE(NN_RESIDUAL), BARE(NN_JOIN)}, 3}, "layer 2 is outside a block's second path"},
        {{50, {OPEN, BARE(NN_RESIDUAL), FLAT}, 3}, "layer 2 is inside a block"},
        {{50, {OPEN, BARE(NN_RESIDUAL), BARE(NN_SHORTCUT), FLAT}, 4}, "layer 3 is inside a block"},
        {{50, {OPEN, BARE(NN_RESIDUAL), CONVOLUTION(2, 3), BARE(NN_SHORTCUT), BARE(NN_JOIN), FLAT}, 6},
         "layer 4 joins paths of different shapes"},
        {{50, {OPEN, BARE(NN_RESIDUAL), BARE(NN_SHORTCUT), CONVOLUTION(3, 1), BARE(NN_JOIN), FLAT}, 6},
         "layer 4 joins paths of different shapes"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_shapes_refused(&wrong[i].spec, wrong[i].reason);
    }
}

static void shapes_by_hand(void **state) {
    (void)state;
    const nn_spec spec = {
        50,
        {OPEN,
         BARE(NN_RESIDUAL),
         CONVOLUTION(2, 1),
         BARE(NN_SHORTCUT),
         BARE(NN_JOIN),
         {.kind = NN_AVERAGE_POOL, .kernel = 3, .stride = 2, .padding = 1},
         {.kind = NN_UPSAMPLE, .shape = {0, 7, 4}},
         {.kind = NN_CONVOLUTION, .outputs = 3, .kernel = 3, .stride = 3, .padding = 2},
         FLAT,
         {.kind = NN_DROPOUT, .rate = 0.5f}},
        10,
    };
    assert_string_equal(told(&spec), "image 2x5x5 residual conv shortcut join average 2x3x3 upsample 2x7x4 "
                                     "conv 3x3x2 flatten 18 dropout");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simple_1d),
        cmocka_unit_test(convolutions_and_dense),
        cmocka_unit_test(quadrants),
        cmocka_unit_test(alexnet),
        cmocka_unit_test(resnet18),
        cmocka_unit_test(convolutions_with_batch_norm),
        cmocka_unit_test(residual),
        cmocka_unit_test(squares),
        cmocka_unit_test(squares_of_every_side),
        cmocka_unit_test(linear_heads),
        cmocka_unit_test(heads_without_a_decoder),
        cmocka_unit_test(square_heads),
        cmocka_unit_test(the_classifier_alone),
        cmocka_unit_test(what_is_fixed),
        cmocka_unit_test(playground_norms_have_no_weights),
        cmocka_unit_test(dropout_is_torchvisions),
        cmocka_unit_test(names_as_in_torch),
        cmocka_unit_test(encoders_that_do_not_fit),
        cmocka_unit_test(heads_that_do_not_fit),
        cmocka_unit_test(layers_out_of_place),
        cmocka_unit_test(shapes_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
