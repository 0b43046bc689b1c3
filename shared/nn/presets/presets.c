#include "nn/presets/presets.h"

#include "nn/shape_infer.h"

#include <string.h>

err preset_check_encoder(const preset_encoder *encoder, nn_shape portion) {
    if (encoder->net == PRESET_NO_ENCODER) {
        return ERR_OK;
    }
    nn_spec spec;
    nn_shape shapes[NN_LAYERS_MAX];
    preset_describe_encoder(encoder, portion, &spec);
    err failed = shape_infer(&spec, shapes);
    if (failed) {
        return failed;
    }
    size_t outputs = nn_shape_elements(shapes[spec.count - 1]);
    if (outputs != encoder->bits) {
        return err_fail(ERR_INPUT, "makes %zu numbers of a portion of %ux%ux%u, not %u", outputs, portion.channels,
                        portion.height, portion.width, encoder->bits);
    }
    return ERR_OK;
}

static bool is_of_classifier(const nn_layer_spec *layer) {
    return strncmp(layer->name, "classifier.", 11) == 0;
}

/* Whether the first layer without a shape is the classifier's. */
static bool classifier_fails(const nn_spec *spec, const nn_shape *shapes) {
    size_t i = 0;
    while (i + 1 < spec->count && (shapes[i].channels || !spec->layers[i].name[0])) {
        i++;
    }
    return is_of_classifier(&spec->layers[i]);
}

/* What the decoder's last layer puts out. */
static nn_shape decoded_shape(const nn_spec *spec, const nn_shape *shapes) {
    nn_shape decoded = {0, 0, 0};
    for (size_t i = 0; i < spec->count && !is_of_classifier(&spec->layers[i]); i++) {
        decoded = spec->layers[i].name[0] ? shapes[i] : decoded;
    }
    return decoded;
}

/* The decoder's end is looked at first: a classifier that fails on it is not to blame. */
err preset_check_head(const preset_head *head, const char **part) {
    nn_spec spec;
    nn_shape shapes[NN_LAYERS_MAX];
    preset_describe_head(head, &spec);
    err failed = shape_infer(&spec, shapes);
    bool is_bare = head->decoder == PRESET_NO_DECODER || head->decoder == PRESET_IDENTITY;
    bool is_classifier = is_bare || (failed && classifier_fails(&spec, shapes));
    *part = is_classifier ? "classifier" : "decoder";
    nn_shape decoded = decoded_shape(&spec, shapes), sample = head->sample;
    bool is_flat = decoded.channels == 1 && decoded.height == 1 && decoded.width == nn_shape_elements(sample);
    if (is_bare || (failed && !is_classifier) || is_flat || memcmp(&decoded, &sample, sizeof sample) == 0) {
        return failed;
    }
    *part = "decoder";
    return err_fail(ERR_INPUT, "makes %ux%ux%u of %u x %u bits, a sample has %ux%ux%u", decoded.channels,
                    decoded.height, decoded.width, head->portions, head->bits / head->portions, sample.channels,
                    sample.height, sample.width);
}
