/* Decoders and classifiers. */
#include "nn/presets/presets.h"

static void add_convolution_relu(preset_builder *b, uint32_t outputs, uint32_t kernel, uint32_t padding) {
    preset_add_convolution(b, outputs, kernel, 1, padding);
    preset_add(b, NN_RELU);
}

/* A dense layer to the sample's size. The classifier shapes it as it needs. */
static void linear(preset_builder *b, const preset_head *h, uint32_t side) {
    (void)side;
    preset_add_dense(b, (uint32_t)nn_shape_elements(h->sample));
}

/* Written for 3x4x4: 3x8x8, 6x10x10, 6x20x20, 12x22x22, 12x44x44, 6x38x38, 3x32x32. */
static void square(preset_builder *b, const preset_head *h, uint32_t side) {
    preset_add_upsample(b, 2 * side);
    add_convolution_relu(b, 6, 3, 2);
    side = 2 * (2 * side + 2);
    preset_add_upsample(b, side);
    add_convolution_relu(b, 12, 5, 3);
    preset_add_upsample(b, 2 * (side + 2));
    add_convolution_relu(b, 6, 7, 0);
    add_convolution_relu(b, h->sample.channels, 7, 0);
}

/* Written for 3x4x4: 3x32x32 at once. The paper names no ReLU after the convolution. */
static void square_b(preset_builder *b, const preset_head *h, uint32_t side) {
    preset_add_upsample(b, 8 * side);
    preset_add_convolution(b, h->sample.channels, 5, 1, 2);
}

/* Written for 3x8x8: 3x32x32, 6x32x32, 16x32x32, 3x32x32. */
static void square_8x8(preset_builder *b, const preset_head *h, uint32_t side) {
    preset_add_upsample(b, 4 * side);
    add_convolution_relu(b, 6, 5, 2);
    add_convolution_relu(b, 16, 5, 2);
    add_convolution_relu(b, h->sample.channels, 5, 2);
}

static void add_decoder(preset_builder *b, const preset_head *h) {
    static void (*const nets[])(preset_builder *, const preset_head *, uint32_t) = {
        [PRESET_LINEAR] = linear,
        [PRESET_SQUARE] = square,
        [PRESET_SQUARE_B] = square_b,
        [PRESET_SQUARE_8X8] = square_8x8,
    };
    if (h->decoder == PRESET_NO_DECODER || h->decoder == PRESET_IDENTITY) {
        return;
    }
    if (h->decoder == PRESET_LISTED_DECODER) {
        net_list_add(b, &(net_list_use){.lists = h->lists, .net = h->decoder_list});
        return;
    }
    uint32_t side = preset_side(h->bits / h->portions);
    if (h->decoder != PRESET_LINEAR) { /* the portions' squares are the planes of one image */
        preset_add_image(b, (nn_shape){h->portions, side, side});
    }
    nets[h->decoder](b, h, side);
}

/* PRESET_MNIST and PRESET_MLP. The latter is for a short row of bits: the batch norm gives it about the same slope
 * whatever the bits' frequencies. */
static void hidden_layer(preset_builder *b, const preset_head *h) {
    if (b->is_image) {
        preset_add_named(b, NN_FLATTEN, "");
    }
    preset_begin_part(b, "classifier");
    preset_add_dense(b, h->hidden);
    if (h->classifier == PRESET_MLP) {
        preset_add(b, NN_BATCH_NORM);
    }
    preset_add(b, NN_RELU);
    preset_add_dense(b, h->classes);
}

/* cifar/model.py of PyTorch Playground: a Sequential "features" of convolutions with batch norm and ReLU and of 2x2
 * pools, and a Sequential "classifier" of one dense layer. 128x16x16, 256x8x8, 512x4x4, 1024x1x1 of 32x32. */
static void playground(preset_builder *b, const preset_head *h) {
    static const struct {
        uint32_t outputs, padding;
        bool is_pooled;
    } layers[] = {{128, 1, false}, {128, 1, true}, {256, 1, false}, {256, 1, true},
                  {512, 1, false}, {512, 1, true}, {1024, 0, true}};
    if (!b->is_image) {
        preset_add_image(b, h->sample);
    }
    preset_begin_part(b, "classifier.features");
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        preset_add_convolution(b, layers[i].outputs, 3, 1, layers[i].padding);
        preset_add(b, NN_BATCH_NORM)->no_affine = true;
        preset_add(b, NN_RELU);
        if (layers[i].is_pooled) {
            preset_add_max_pool(b, 2, 2);
        }
    }
    preset_add_named(b, NN_FLATTEN, "");
    preset_begin_part(b, "classifier.classifier");
    preset_add_dense(b, h->classes);
}

/* Its input is a whole sample; but bits, and what a listed decoder puts out, are as they come. */
static void listed_classifier(preset_builder *b, const preset_head *h) {
    net_list_use use = {.lists = h->lists, .net = h->classifier_list, .input = h->sample, .classes = h->classes};
    if (h->decoder == PRESET_IDENTITY || h->decoder == PRESET_LISTED_DECODER) {
        use.input = (nn_shape){0, 0, 0};
    }
    preset_begin_part(b, "classifier");
    net_list_add(b, &use);
    if (b->is_image) {
        preset_add_named(b, NN_FLATTEN, "");
    }
}

void preset_describe_head(const preset_head *h, nn_spec *spec) {
    static void (*const classifiers[])(preset_builder *, const preset_head *) = {
        [PRESET_MNIST] = hidden_layer,
        [PRESET_PLAYGROUND] = playground,
        [PRESET_MLP] = hidden_layer,
        [PRESET_LISTED_CLASSIFIER] = listed_classifier,
    };
    bool is_alone = h->decoder == PRESET_NO_DECODER;
    size_t inputs = is_alone ? nn_shape_elements(h->sample) : h->bits;
    preset_builder b = preset_begin(spec, inputs, "decoder");
    add_decoder(&b, h);
    b.fixed = h->training == PRESET_TRAIN_FROZEN;
    classifiers[h->classifier](&b, h);
}
