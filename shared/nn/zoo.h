/* The zoo: the paper's nets by name, and a few of ours, as descriptions.
 *
 * The paper is Scott, "Exploring Use of Neural Networks to Train a Multiple Encoder Quantization System for
 * Classification". What it calls each net stands in quotes; zoo_encoders.c and zoo_heads.c say layer by layer
 * what it leaves open and how we read it.
 *
 * Tensors are named "encoder.", "decoder." or "classifier." and then as in the state_dict of the same net in
 * PyTorch: "encoder.3.weight" where that is a Sequential (every layer counts, also those without parameters;
 * a Sequential of images begins with an image, so NN_IMAGE does not count), "encoder.features.0.weight" for
 * torchvision's AlexNet, "encoder.layer1.0.conv1.weight" for its ResNet, "classifier.features.0.weight" for
 * the Playground's. The batch norm that the paper puts behind a torchvision net is "encoder.norm". */
#ifndef FEWBIT_NN_ZOO_H
#define FEWBIT_NN_ZOO_H

#include "base/err.h"
#include "nn/net.h"

typedef enum zoo_encoder_net {
    ZOO_SIMPLE_1D,       /* "Simple 1D", "Simple ReSigmoid", "Simple Quantize": dense, ReLU, dense */
    ZOO_CONV,            /* "1 Channel Conv" */
    ZOO_CONV_B,          /* "1 Channel Conv B": one dense layer, then ReLU */
    ZOO_CONV_C,          /* "1 Channel Conv C": one hidden layer of 84 */
    ZOO_CONV_SMALL_3,    /* "3 Channel Small Conv" */
    ZOO_ALEXNET,         /* "AlexNetEncode" */
    ZOO_ALEXNET_SMALL,   /* "CustomAlexNetEncode" */
    ZOO_RESNET18,        /* "ResNetEncode" */
    ZOO_CONV_SQUARE,     /* "1 Channel Conv Square": the bits are a square image */
    ZOO_CONV_SQUARE_B,   /* "1 Channel Conv Square B" */
    ZOO_CONV_SQUARE_8X8, /* "1 Channel Conv Square 8x8" */
    ZOO_NO_ENCODER,      /* the classifier alone, on whole samples */
    ZOO_CONV_NORM,       /* ours: convolutions with batch norm, for small images such as parts of a digit */
    ZOO_RESIDUAL,        /* ours: 32 to 256 channels in stages of stride 2, mean over the image */
} zoo_encoder_net;

/* How the last layer becomes a number near 0 or 1: a sigmoid, or a sigmoid and the paper's R three times. */
typedef enum zoo_soft { ZOO_SIGMOID, ZOO_RESIGMOID } zoo_soft;

/* When the hard decision is taken: only once trained, or in the forward pass of training too. */
typedef enum zoo_decision { ZOO_AFTER_TRAINING, ZOO_STRAIGHT_THROUGH } zoo_decision;

/* What is added to the numbers before the soft decision while training. */
typedef enum zoo_noise { ZOO_NO_NOISE, ZOO_LOGISTIC_NOISE } zoo_noise;

/* The net, then batch norm or not, then noise and temperature or not, then the soft decision. */
typedef struct zoo_encoder {
    zoo_encoder_net net;
    uint32_t hidden; /* ZOO_SIMPLE_1D and ZOO_CONV_NORM only */
    uint32_t bits;
    bool batch_norm;
    zoo_soft soft;
    zoo_decision decision;
    zoo_noise noise;
    float temperature; /* at the end of a training, 1 at its beginning; 0: always 1 */
} zoo_encoder;

static inline bool zoo_encoder_has_hidden(zoo_encoder_net net) {
    return net == ZOO_SIMPLE_1D || net == ZOO_CONV_NORM;
}

/* All portions' bits -> a whole sample. */
typedef enum zoo_decoder_net {
    ZOO_LINEAR,     /* "Simple 1D", "1 to 3 Channel Conv", "3 Channel": one dense layer */
    ZOO_SQUARE,     /* "1 to 3 Channel Conv Square": portions' bits as planes of 4x4 */
    ZOO_SQUARE_B,   /* "1 to 3 Channel Conv Square B" */
    ZOO_SQUARE_8X8, /* "1 to 3 Channel Conv Square 8x8": planes of 8x8 */
    ZOO_NO_DECODER, /* with ZOO_NO_ENCODER */
    ZOO_DIRECT,     /* ours: no layer; the classifier's input is the bits */
} zoo_decoder_net;

/* A whole sample, or with ZOO_DIRECT all portions' bits -> classes. */
typedef enum zoo_classifier_net {
    ZOO_MNIST,      /* dense, ReLU, dense */
    ZOO_PLAYGROUND, /* the CIFAR-10 net of PyTorch Playground */
    ZOO_MLP,        /* ours: dense, batch norm, ReLU, dense */
} zoo_classifier_net;

/* Whether the classifier's parameters are drawn and trained with the rest, or loaded and left as they are, or
 * loaded and trained on. */
typedef enum zoo_classifier_training { ZOO_TRAIN_ALONG, ZOO_TRAIN_FROZEN, ZOO_TRAIN_FINE_TUNE } zoo_classifier_training;

/* Decoder and classifier together. */
typedef struct zoo_head {
    zoo_decoder_net decoder;
    zoo_classifier_net classifier;
    zoo_classifier_training training;
    uint32_t hidden; /* ZOO_MNIST and ZOO_MLP only */
    uint32_t classes;
    uint32_t portions, bits; /* bits: of one portion */
    nn_shape sample;         /* whole */
} zoo_head;

/* Never fails, also where the sizes do not fit: the checks below say so. ZOO_NO_ENCODER: no layer. */
void zoo_describe_encoder(const zoo_encoder *encoder, nn_shape portion, nn_spec *spec);

/* The decoder's layers, then the classifier's; its input is the bits of all portions in their order, or with
 * ZOO_NO_DECODER a whole sample. */
void zoo_describe_head(const zoo_head *head, nn_spec *spec);

/* ERR_INPUT with the reason where the description cannot be made a net, or does not put out `bits`. */
err zoo_check_encoder(const zoo_encoder *encoder, nn_shape portion);

/* ERR_INPUT likewise, with `*part` "decoder" or "classifier", which does not fit; the decoder must put out a
 * sample. */
err zoo_check_head(const zoo_head *head, const char **part);

#endif
