/* The encoders. Sizes in the comments are those of the paper's portions: planes of 1x32x32, quadrants of 3x16x16. */
#include "nn/presets/presets.h"

static void add_hidden(preset_builder *b, uint32_t outputs) {
    preset_add_dense(b, outputs);
    preset_add(b, NN_RELU);
}

static void simple_1d(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    (void)portion;
    add_hidden(b, e->hidden);
    preset_add_dense(b, e->bits);
}

/* "each followed by a MaxPool2d and a ReLU": in this order, which gives the same numbers as ReLU before the pool.
 * The pools are the tutorial's 2x2. */
static void add_convolution_pooled(preset_builder *b, uint32_t outputs, uint32_t kernel) {
    preset_add_convolution(b, outputs, kernel, 1, 0);
    preset_add_max_pool(b, 2, 2);
    preset_add(b, NN_RELU);
}

/* The tutorial's two convolutions: 6x14x14, then 16x5x5, flattened to 400. */
static void add_tutorial(preset_builder *b, nn_shape portion) {
    preset_add_image(b, portion);
    add_convolution_pooled(b, 6, 5);
    add_convolution_pooled(b, 16, 5);
    preset_add(b, NN_FLATTEN);
}

static void conv(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    add_tutorial(b, portion);
    add_hidden(b, 120);
    add_hidden(b, 84);
    preset_add_dense(b, e->bits);
}

static void conv_b(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    add_tutorial(b, portion);
    add_hidden(b, e->bits);
}

static void conv_c(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    add_tutorial(b, portion);
    add_hidden(b, 84);
    preset_add_dense(b, e->bits);
}

/* No pools: 16x16x16 before the dense layers. */
static void conv_small_3(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    preset_add_image(b, portion);
    preset_add_convolution(b, 6, 3, 1, 1);
    preset_add(b, NN_RELU);
    preset_add_convolution(b, 16, 3, 1, 1);
    preset_add(b, NN_RELU);
    preset_add(b, NN_FLATTEN);
    add_hidden(b, 120);
    add_hidden(b, 84);
    preset_add_dense(b, e->bits);
}

/* 6x14x14, then the second convolution, pooled or not, then a filter that leaves a square of the bits' number.
 * 7 - sqrt(bits) = 3 for 16 bits: 6x6 becomes 4x4. More than 36 bits leave no filter, which the checks refuse. */
static void add_square(preset_builder *b, nn_shape portion, uint32_t channels, uint32_t bits) {
    uint32_t side = preset_side(bits);
    preset_add_image(b, portion);
    add_convolution_pooled(b, 6, 5);
    add_convolution_pooled(b, channels, 3);
    preset_add_convolution(b, 1, side < 7 ? 7 - side : 0, 1, 0);
}

static void conv_square(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    add_square(b, portion, 3, e->bits);
}

static void conv_square_b(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    add_square(b, portion, 16, e->bits);
}

/* 6x14x14, 16x10x10 (the paper drops the pool; the ReLU stays), 1x8x8. */
static void conv_square_8x8(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    (void)e;
    preset_add_image(b, portion);
    add_convolution_pooled(b, 6, 5);
    preset_add_convolution(b, 16, 5, 1, 0);
    preset_add(b, NN_RELU);
    preset_add_convolution(b, 1, 3, 1, 0);
}

/* An image as torchvision's nets want it. Resized within the net, so that a node's portion stays small; bilinear, as
 * torchvision's Resize and torch's interpolate do by default for tensors (align_corners off). */
static void add_image_224(preset_builder *b, nn_shape portion) {
    preset_add_image(b, portion);
    nn_layer_spec *resize = preset_add_named(b, NN_UPSAMPLE, "");
    resize->shape.height = 224;
    resize->shape.width = 224;
}

static void add_dropout(preset_builder *b) {
    preset_add(b, NN_DROPOUT)->rate = 0.5f;
}

/* AlexNet's first two convolutions: 64x55x55, 64x27x27, 192x27x27, 192x13x13 of 224x224; 64x7x7, 64x3x3, 192x3x3,
 * 192x1x1 of 32x32. */
static void add_alexnet_features(preset_builder *b) {
    preset_begin_part(b, "encoder.features");
    preset_add_convolution(b, 64, 11, 4, 2);
    preset_add(b, NN_RELU);
    preset_add_max_pool(b, 3, 2);
    preset_add_convolution(b, 192, 5, 1, 2);
    preset_add(b, NN_RELU);
    preset_add_max_pool(b, 3, 2);
}

static void add_adaptive_pool(preset_builder *b, uint32_t side) {
    nn_layer_spec *pool = preset_add_named(b, NN_ADAPTIVE_AVERAGE_POOL, "avgpool");
    pool->shape.height = side;
    pool->shape.width = side;
}

/* torchvision.models.AlexNet(num_classes=bits) with one channel in. */
static void alexnet(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    static const uint32_t more[] = {384, 256, 256};
    add_image_224(b, portion);
    add_alexnet_features(b);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        preset_add_convolution(b, more[i], 3, 1, 1);
        preset_add(b, NN_RELU);
    }
    preset_add_max_pool(b, 3, 2); /* 256x6x6: torchvision's adaptive pooling to 6x6 would change nothing */
    preset_add_named(b, NN_FLATTEN, "");
    preset_begin_part(b, "encoder.classifier");
    add_dropout(b);
    add_hidden(b, 4096);
    add_dropout(b);
    add_hidden(b, 4096);
    preset_add_dense(b, e->bits);
}

/* The paper: only the first two convolutions "and their associated ReLUs and MaxPools", and without "the second to
 * last fully connected layer and its ReLU". The dropout in front of that layer goes with it. What is left counts
 * anew: classifier.0 to classifier.3. The adaptive pooling spreads 1x1 over 6x6. */
static void alexnet_small(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    preset_add_image(b, portion);
    add_alexnet_features(b);
    preset_begin_part(b, "encoder");
    add_adaptive_pool(b, 6);
    preset_add_named(b, NN_FLATTEN, "");
    preset_begin_part(b, "encoder.classifier");
    add_dropout(b);
    add_hidden(b, 4096);
    preset_add_dense(b, e->bits);
}

/* A convolution as ResNet's: padded to keep the size at stride 1, without bias, with batch norm after it. */
static void add_convolution_normed(preset_builder *b, const char *name, const char *norm, uint32_t outputs,
                                   uint32_t kernel, uint32_t stride) {
    nn_layer_spec *layer = preset_add_named(b, NN_CONVOLUTION, name);
    layer->outputs = outputs;
    layer->kernel = kernel;
    layer->stride = stride;
    layer->padding = kernel / 2;
    layer->no_bias = true;
    layer->init_fan_out = true;
    preset_add_named(b, NN_BATCH_NORM, norm);
}

/* torchvision's BasicBlock. */
static void add_basic_block(preset_builder *b, const char *prefix, uint32_t outputs, uint32_t stride) {
    preset_begin_part(b, prefix);
    preset_add_named(b, NN_RESIDUAL, "");
    add_convolution_normed(b, "conv1", "bn1", outputs, 3, stride);
    preset_add_named(b, NN_RELU, "");
    add_convolution_normed(b, "conv2", "bn2", outputs, 3, 1);
    preset_add_named(b, NN_SHORTCUT, "");
    if (stride != 1) {
        add_convolution_normed(b, "downsample.0", "downsample.1", outputs, 1, stride);
    }
    preset_add_named(b, NN_JOIN, "");
    preset_add_named(b, NN_RELU, "");
}

/* torchvision.models.resnet18(num_classes=bits) with one channel in: 64x112x112, 64x56x56, 64x56x56, 128x28x28,
 * 256x14x14, 512x7x7, 512x1x1. */
static void resnet18(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    static const struct {
        const char *prefix;
        uint32_t outputs, stride;
    } blocks[] = {
        {"encoder.layer1.0", 64, 1},  {"encoder.layer1.1", 64, 1},  {"encoder.layer2.0", 128, 2},
        {"encoder.layer2.1", 128, 1}, {"encoder.layer3.0", 256, 2}, {"encoder.layer3.1", 256, 1},
        {"encoder.layer4.0", 512, 2}, {"encoder.layer4.1", 512, 1},
    };
    add_image_224(b, portion);
    add_convolution_normed(b, "conv1", "bn1", 64, 7, 2);
    preset_add_named(b, NN_RELU, "");
    nn_layer_spec *pool = preset_add_named(b, NN_MAX_POOL, "maxpool");
    pool->kernel = 3;
    pool->stride = 2;
    pool->padding = 1;
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        add_basic_block(b, blocks[i].prefix, blocks[i].outputs, blocks[i].stride);
    }
    preset_begin_part(b, "encoder");
    add_adaptive_pool(b, 1);
    preset_add_named(b, NN_FLATTEN, "");
    preset_add_named(b, NN_DENSE, "fc")->outputs = e->bits;
}

/* A convolution that keeps the size, batch norm, ReLU. */
static void add_convolution_norm_relu(preset_builder *b, uint32_t outputs) {
    preset_add_convolution(b, outputs, 3, 1, 1);
    preset_add(b, NN_BATCH_NORM);
    preset_add(b, NN_RELU);
}

/* Of a quadrant of a digit, 1x14x14: 16x14x14, 32x14x14, 32x7x7, 64x7x7, 64x3x3. About 1.9 million multiply-adds. */
static void conv_norm(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    preset_add_image(b, portion);
    add_convolution_norm_relu(b, 16);
    add_convolution_norm_relu(b, 32);
    preset_add_max_pool(b, 2, 2);
    add_convolution_norm_relu(b, 64);
    preset_add_max_pool(b, 2, 2);
    preset_add(b, NN_FLATTEN);
    preset_add_dense(b, e->hidden);
    preset_add(b, NN_BATCH_NORM);
    preset_add(b, NN_RELU);
    preset_add_dense(b, e->bits);
}

/* Of a plane of 1x32x32: 32x32x32, 64x16x16, 128x8x8, 256x4x4, 256x1x1. About 34 million multiply-adds. Named as
 * torchvision names the parts of a ResNet. */
static void residual(preset_builder *b, const preset_encoder *e, nn_shape portion) {
    preset_add_image(b, portion);
    preset_begin_part(b, "encoder");
    add_convolution_normed(b, "conv1", "bn1", 32, 3, 1);
    preset_add_named(b, NN_RELU, "");
    add_basic_block(b, "encoder.layer1.0", 64, 2);
    add_basic_block(b, "encoder.layer2.0", 128, 2);
    preset_begin_part(b, "encoder");
    add_convolution_normed(b, "conv2", "bn2", 256, 3, 2);
    preset_add_named(b, NN_RELU, "");
    add_adaptive_pool(b, 1);
    preset_add_named(b, NN_FLATTEN, "");
    preset_add_named(b, NN_DENSE, "fc")->outputs = e->bits;
}

typedef struct net {
    void (*add)(preset_builder *b, const preset_encoder *e, nn_shape portion);
    const char *norm; /* the name of its batch norm, where that does not count on */
} net;

static const net nets[] = {
    [PRESET_SIMPLE_1D] = {simple_1d, NULL},
    [PRESET_CONV] = {conv, NULL},
    [PRESET_CONV_B] = {conv_b, NULL},
    [PRESET_CONV_C] = {conv_c, NULL},
    [PRESET_CONV_SMALL_3] = {conv_small_3, NULL},
    [PRESET_ALEXNET] = {alexnet, "norm"},
    [PRESET_ALEXNET_SMALL] = {alexnet_small, "norm"},
    [PRESET_RESNET18] = {resnet18, "norm"},
    [PRESET_CONV_SQUARE] = {conv_square, NULL},
    [PRESET_CONV_SQUARE_B] = {conv_square_b, NULL},
    [PRESET_CONV_SQUARE_8X8] = {conv_square_8x8, NULL},
    [PRESET_CONV_NORM] = {conv_norm, NULL},
    [PRESET_RESIDUAL] = {residual, "norm"},
    [PRESET_LISTED_ENCODER] = {NULL, NULL},
};

/* Batch norm of a square is 2-D, over its one channel; of a row 1-D, each bit for itself. A temperature alone needs
 * logits of a given size, or they shrink as it falls; noise leaves them to grow against it. */
static void add_batch_norm(preset_builder *b, const preset_encoder *e, const char *norm) {
    if (norm) {
        preset_begin_part(b, "encoder");
    }
    nn_layer_spec *layer = norm ? preset_add_named(b, NN_BATCH_NORM, norm) : preset_add(b, NN_BATCH_NORM);
    layer->no_affine = e->temperature > 0 && e->noise == PRESET_NO_NOISE;
}

static void add_activation(preset_builder *b, const preset_encoder *e, const char *norm) {
    if (e->batch_norm) {
        add_batch_norm(b, e, norm);
    }
    if (b->is_image) {
        preset_add(b, NN_FLATTEN);
    }
    if (e->noise != PRESET_NO_NOISE || e->temperature > 0) {
        preset_add_named(b, NN_NOISE, "")->rate = e->noise == PRESET_LOGISTIC_NOISE ? 1 : 0;
    }
    preset_add(b, NN_SIGMOID);
    for (int i = 0; e->activation == PRESET_RESIGMOID && i < 3; i++) {
        preset_add(b, NN_RESIGMOID);
    }
    if (e->binarize == PRESET_STRAIGHT_THROUGH) {
        preset_add(b, NN_BINARIZE);
    }
}

void preset_describe_encoder(const preset_encoder *e, const net_lists *lists, nn_shape portion, nn_spec *spec) {
    preset_builder b = preset_begin(spec, nn_shape_elements(portion), "encoder");
    if (e->net == PRESET_LISTED_ENCODER) {
        net_list_add(&b, &(net_list_use){.lists = lists, .net = e->list, .input = portion, .bits = e->bits});
    } else if (e->net != PRESET_NO_ENCODER) {
        nets[e->net].add(&b, e, portion);
    }
    if (e->net != PRESET_NO_ENCODER) {
        add_activation(&b, e, nets[e->net].norm);
    }
}
