/* Presets: the paper's nets by name, and a few of ours, as descriptions.
 *
 * The paper is Scott, "Exploring Use of Neural Networks to Train a Multiple Encoder Quantization System for
 * Classification". What it calls each net stands in quotes; preset_encoders.c and preset_heads.c say layer by layer
 * what it leaves open and how we read it.
 *
 * Tensors are named "encoder.", "decoder." or "classifier." and then as in the state_dict of the same net in
 * PyTorch: "encoder.3.weight" where that is a Sequential (every layer counts, also those without parameters;
 * a Sequential of images begins with an image, so NN_IMAGE does not count), "encoder.features.0.weight" for
 * torchvision's AlexNet, "encoder.layer1.0.conv1.weight" for its ResNet, "classifier.features.0.weight" for
 * the Playground's. The batch norm that the paper puts after a torchvision net is "encoder.norm". */
#ifndef FEWBIT_NN_PRESETS_PRESETS_H
#define FEWBIT_NN_PRESETS_PRESETS_H

#include "nn/presets/net_list.h"

typedef enum preset_encoder_net {
    PRESET_SIMPLE_1D,       /* "Simple 1D", "Simple ReSigmoid", "Simple Quantize": dense, ReLU, dense */
    PRESET_CONV,            /* "1 Channel Conv" */
    PRESET_CONV_B,          /* "1 Channel Conv B": one dense layer, then ReLU */
    PRESET_CONV_C,          /* "1 Channel Conv C": one hidden layer of 84 */
    PRESET_CONV_SMALL_3,    /* "3 Channel Small Conv" */
    PRESET_ALEXNET,         /* "AlexNetEncode" */
    PRESET_ALEXNET_SMALL,   /* "CustomAlexNetEncode" */
    PRESET_RESNET18,        /* "ResNetEncode" */
    PRESET_CONV_SQUARE,     /* "1 Channel Conv Square": the bits are a square image */
    PRESET_CONV_SQUARE_B,   /* "1 Channel Conv Square B" */
    PRESET_CONV_SQUARE_8X8, /* "1 Channel Conv Square 8x8" */
    PRESET_NO_ENCODER,      /* the classifier alone, on whole samples */
    PRESET_CONV_NORM,       /* ours: convolutions with batch norm, for small images such as parts of a digit */
    PRESET_RESIDUAL,        /* ours: 32 to 256 channels in stages of stride 2, mean over the image */
    PRESET_LISTED_ENCODER,  /* a list of layers */
} preset_encoder_net;

/* How a logit becomes a number near 0 or 1: a sigmoid, or a sigmoid and the paper's R three times. */
typedef enum preset_activation { PRESET_SIGMOID, PRESET_RESIGMOID } preset_activation;

/* When outputs are binarised: only once trained, or in the forward pass of training too. */
typedef enum preset_binarize { PRESET_AFTER_TRAINING, PRESET_STRAIGHT_THROUGH } preset_binarize;

/* What is added to the numbers before the activation while training. */
typedef enum preset_noise { PRESET_NO_NOISE, PRESET_LOGISTIC_NOISE } preset_noise;

/* The net, then batch norm or not, then noise and temperature or not, then the activation. */
typedef struct preset_encoder {
    preset_encoder_net net;
    uint32_t hidden; /* PRESET_SIMPLE_1D and PRESET_CONV_NORM only */
    uint32_t bits;
    bool batch_norm;
    preset_activation activation;
    preset_binarize binarize;
    preset_noise noise;
    float temperature;   /* at the end of a training, 1 at its beginning; 0: always 1 */
    net_list_range list; /* PRESET_LISTED_ENCODER only */
} preset_encoder;

static inline bool preset_encoder_has_hidden(preset_encoder_net net) {
    return net == PRESET_SIMPLE_1D || net == PRESET_CONV_NORM;
}

/* All portions' bits -> a whole sample. */
typedef enum preset_decoder_net {
    PRESET_LINEAR,         /* "Simple 1D", "1 to 3 Channel Conv", "3 Channel": one dense layer */
    PRESET_SQUARE,         /* "1 to 3 Channel Conv Square": portions' bits as planes of 4x4 */
    PRESET_SQUARE_B,       /* "1 to 3 Channel Conv Square B" */
    PRESET_SQUARE_8X8,     /* "1 to 3 Channel Conv Square 8x8": planes of 8x8 */
    PRESET_NO_DECODER,     /* with PRESET_NO_ENCODER */
    PRESET_IDENTITY,       /* ours: no layer; the classifier's input is the bits */
    PRESET_LISTED_DECODER, /* a list of layers; it may put out any shape */
} preset_decoder_net;

/* A whole sample, what a listed decoder puts out, or with PRESET_IDENTITY all portions' bits -> classes. */
typedef enum preset_classifier_net {
    PRESET_MNIST,             /* dense, ReLU, dense */
    PRESET_PLAYGROUND,        /* the CIFAR-10 net of PyTorch Playground */
    PRESET_MLP,               /* ours: dense, batch norm, ReLU, dense */
    PRESET_LISTED_CLASSIFIER, /* a list of layers */
} preset_classifier_net;

/* Whether the classifier's parameters are drawn and trained with the rest, or loaded and left as they are, or
 * loaded and trained on. */
typedef enum preset_classifier_training {
    PRESET_TRAIN_JOINT,
    PRESET_TRAIN_FROZEN,
    PRESET_TRAIN_FINE_TUNE
} preset_classifier_training;

/* Decoder and classifier together. */
typedef struct preset_head {
    preset_decoder_net decoder;
    preset_classifier_net classifier;
    preset_classifier_training training;
    uint32_t hidden; /* PRESET_MNIST and PRESET_MLP only */
    uint32_t classes;
    uint32_t portions, bits; /* bits: of all portions, of squares as many of each */
    nn_shape sample;         /* whole */
    const net_lists *lists;  /* borrowed; NULL where neither part is listed */
    net_list_range decoder_list, classifier_list;
} preset_head;

/* Never fails, also where the sizes do not fit: the checks below say so. PRESET_NO_ENCODER: no layer. `lists` may be
 * NULL where the net is not listed. */
void preset_describe_encoder(const preset_encoder *encoder, const net_lists *lists, nn_shape portion, nn_spec *spec);

/* The decoder's layers, then the classifier's; its input is the bits of all portions in their order, or with
 * PRESET_NO_DECODER a whole sample. */
void preset_describe_head(const preset_head *head, nn_spec *spec);

/* Which part of a head does not fit, and the layer of a list that does not: 1 + its place in `lists`, or 0. */
typedef struct preset_fault {
    const char *part; /* "decoder" or "classifier" */
    uint32_t origin;
} preset_fault;

/* ERR_INPUT with the reason, and where, if the description cannot be made a net, or does not put out `bits`. */
err preset_check_encoder(const preset_encoder *encoder, const net_lists *lists, nn_shape portion, preset_fault *fault);

/* ERR_INPUT likewise; a decoder that is known by name must put out a sample, a listed classifier must have as many
 * outputs as there are classes, however many that are. */
err preset_check_head(const preset_head *head, preset_fault *fault);

#endif
