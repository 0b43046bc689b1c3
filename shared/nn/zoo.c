#include "nn/zoo.h"

#include <stdio.h>
#include <string.h>

/* Appends a layer named PREFIX.N, where N counts the layers since the part began. */
static void add(nn_spec *spec, const char *prefix, size_t *index, nn_kind kind, uint32_t outputs) {
    nn_layer_spec *layer = &spec->layers[spec->count++];
    layer->kind = kind;
    layer->outputs = outputs;
    snprintf(layer->name, sizeof layer->name, "%s.%zu", prefix, (*index)++);
}

void zoo_describe_encoder(const zoo_encoder *encoder, uint32_t inputs, nn_spec *spec) {
    memset(spec, 0, sizeof *spec);
    spec->inputs = inputs;
    size_t n = 0;
    add(spec, "encoder", &n, NN_DENSE, encoder->hidden);
    add(spec, "encoder", &n, NN_RELU, 0);
    add(spec, "encoder", &n, NN_DENSE, encoder->bits);
    if (encoder->batch_norm) {
        add(spec, "encoder", &n, NN_BATCH_NORM, 0);
    }
    add(spec, "encoder", &n, NN_SIGMOID, 0);
    for (int i = 0; encoder->soft == ZOO_RESIGMOID && i < 3; i++) {
        add(spec, "encoder", &n, NN_RESIGMOID, 0);
    }
    if (encoder->decision == ZOO_STRAIGHT_THROUGH) {
        add(spec, "encoder", &n, NN_QUANTIZE, 0);
    }
}

void zoo_describe_head(zoo_decoder_net decoder, zoo_classifier_net classifier, uint32_t code_bits, uint32_t sample,
                       uint32_t hidden, uint32_t classes, nn_spec *spec) {
    (void)decoder, (void)classifier; /* one of each so far */
    memset(spec, 0, sizeof *spec);
    spec->inputs = code_bits;
    size_t n = 0;
    add(spec, "decoder", &n, NN_DENSE, sample);
    n = 0;
    add(spec, "classifier", &n, NN_DENSE, hidden);
    add(spec, "classifier", &n, NN_RELU, 0);
    add(spec, "classifier", &n, NN_DENSE, classes);
}
