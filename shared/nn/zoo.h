/* The zoo: the paper's nets by name, as descriptions. */
#ifndef FEWBIT_NN_ZOO_H
#define FEWBIT_NN_ZOO_H

#include "base/err.h"
#include "nn/net.h"

/* Encoders. ZOO_SIMPLE_1D: dense, ReLU, dense; then batch norm or not; then the soft decision. */
typedef enum zoo_encoder_net { ZOO_SIMPLE_1D } zoo_encoder_net;

/* How the last layer becomes a number near 0 or 1: a sigmoid, or a sigmoid and the paper's R three times. */
typedef enum zoo_soft { ZOO_SIGMOID, ZOO_RESIGMOID } zoo_soft;

/* When the hard decision is taken: only once trained, or in the forward pass of training too. */
typedef enum zoo_decision { ZOO_AFTER_TRAINING, ZOO_STRAIGHT_THROUGH } zoo_decision;

typedef struct zoo_encoder {
    zoo_encoder_net net;
    uint32_t hidden;
    uint32_t bits;
    bool batch_norm;
    zoo_soft soft;
    zoo_decision decision;
} zoo_encoder;

/* Decoders: all portions' bits -> a whole sample. ZOO_LINEAR: one dense layer. */
typedef enum zoo_decoder_net { ZOO_LINEAR } zoo_decoder_net;

/* Classifiers: a whole sample -> classes. ZOO_MNIST: dense, ReLU, dense. */
typedef enum zoo_classifier_net { ZOO_MNIST } zoo_classifier_net;

/* inputs: elements of a portion. Tensors are named "encoder.N.…", N counting every layer as torch's
 * Sequential does. */
void zoo_describe_encoder(const zoo_encoder *encoder, uint32_t inputs, nn_spec *spec);

/* Decoder and classifier in one description, "decoder.N.…" then "classifier.N.…". code_bits: of all portions
 * together; sample: elements of a whole sample. */
void zoo_describe_head(zoo_decoder_net decoder, zoo_classifier_net classifier, uint32_t code_bits, uint32_t sample,
                       uint32_t hidden, uint32_t classes, nn_spec *spec);

#endif
