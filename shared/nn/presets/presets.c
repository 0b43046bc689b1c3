#include "nn/presets/presets.h"

#include "nn/shape_infer.h"

#include <string.h>

/* The layer of a list that a description fails at; 0: it is no layer of a list. */
static uint32_t failing_origin(const nn_spec *spec, const nn_shape *shapes) {
    size_t i = 0;
    while (i < spec->count && shapes[i].channels) {
        i++;
    }
    return i < spec->count ? spec->layers[i].origin : 0;
}

err preset_check_encoder(const preset_encoder *encoder, const net_lists *lists, nn_shape portion, preset_fault *fault) {
    *fault = (preset_fault){"encoder", 0};
    if (encoder->net == PRESET_NO_ENCODER) {
        return ERR_OK;
    }
    nn_spec spec;
    nn_shape shapes[NN_LAYERS_MAX];
    preset_describe_encoder(encoder, lists, portion, &spec);
    err failed = shape_infer(&spec, shapes);
    if (failed) {
        fault->origin = failing_origin(&spec, shapes);
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
static err check_decoder(const preset_head *head, const nn_spec *spec, const nn_shape *shapes) {
    nn_shape decoded = decoded_shape(spec, shapes), sample = head->sample;
    bool is_flat = decoded.channels == 1 && decoded.height == 1 && decoded.width == nn_shape_elements(sample);
    if (is_flat || memcmp(&decoded, &sample, sizeof sample) == 0) {
        return ERR_OK;
    }
    return err_fail(ERR_INPUT, "makes %ux%ux%u of %u x %u bits, a sample has %ux%ux%u", decoded.channels,
                    decoded.height, decoded.width, head->portions, head->bits / head->portions, sample.channels,
                    sample.height, sample.width);
}

/* Of a listed classifier. Its last layer writes to a place of its own: the gradient on it is the caller's. */
static err check_outputs(const preset_head *head, const nn_spec *spec, const nn_shape *shapes) {
    size_t outputs = nn_shape_elements(shapes[spec->count - 1]);
    nn_kind last = spec->layers[spec->count - 1].kind;
    if (outputs != head->classes) {
        return err_fail(ERR_INPUT, "makes %zu numbers, not one a class: give its last dense layer `classes` outputs",
                        outputs);
    }
    return last == NN_DENSE || last == NN_FLATTEN
               ? ERR_OK
               : err_fail(ERR_INPUT, "must end with a dense layer, a flatten, or an image that is flattened then");
}

static err check_head(const preset_head *head, preset_fault *fault) {
    nn_spec spec;
    nn_shape shapes[NN_LAYERS_MAX];
    preset_describe_head(head, &spec);
    err failed = shape_infer(&spec, shapes);
    bool is_bare = head->decoder == PRESET_NO_DECODER || head->decoder == PRESET_IDENTITY;
    bool is_classifier = is_bare || (failed && classifier_fails(&spec, shapes));
    *fault = (preset_fault){is_classifier ? "classifier" : "decoder", failed ? failing_origin(&spec, shapes) : 0};
    bool is_exact = !is_bare && head->decoder != PRESET_LISTED_DECODER; /* it must put out a sample */
    if (is_exact && (!failed || is_classifier) && check_decoder(head, &spec, shapes)) {
        *fault = (preset_fault){"decoder", 0};
        return ERR_INPUT;
    }
    if (failed || head->classifier != PRESET_LISTED_CLASSIFIER) {
        return failed;
    }
    fault->part = "classifier";
    return check_outputs(head, &spec, shapes);
}

/* How many classes there are only the labels say: a listed classifier must fit any number. */
err preset_check_head(const preset_head *head, preset_fault *fault) {
    preset_head more = *head;
    more.classes++;
    err failed = check_head(head, fault);
    return failed || head->classifier != PRESET_LISTED_CLASSIFIER ? failed : check_head(&more, fault);
}
