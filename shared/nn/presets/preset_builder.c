#include "nn/presets/preset_builder.h"

#include <stdio.h>
#include <string.h>

preset_builder preset_begin(nn_spec *spec, size_t inputs, const char *prefix) {
    memset(spec, 0, sizeof *spec);
    spec->inputs = (uint32_t)inputs;
    return (preset_builder){.spec = spec, .prefix = prefix};
}

void preset_begin_part(preset_builder *b, const char *prefix) {
    b->prefix = prefix;
    b->index = 0;
}

nn_layer_spec *preset_add_named(preset_builder *b, nn_kind kind, const char *name) {
    nn_layer_spec *layer = &b->spec->layers[b->spec->count++];
    layer->kind = kind;
    layer->fixed = b->fixed;
    if (name[0]) {
        snprintf(layer->name, sizeof layer->name, "%s.%s", b->prefix, name);
    }
    b->is_image = kind == NN_IMAGE || (b->is_image && kind != NN_FLATTEN);
    return layer;
}

nn_layer_spec *preset_add(preset_builder *b, nn_kind kind) {
    char name[24];
    snprintf(name, sizeof name, "%zu", b->index++);
    return preset_add_named(b, kind, name);
}

void preset_add_image(preset_builder *b, nn_shape shape) {
    preset_add_named(b, NN_IMAGE, "")->shape = shape;
}

void preset_add_dense(preset_builder *b, uint32_t outputs) {
    preset_add(b, NN_DENSE)->outputs = outputs;
}

void preset_add_convolution(preset_builder *b, uint32_t outputs, uint32_t kernel, uint32_t stride, uint32_t padding) {
    nn_layer_spec *layer = preset_add(b, NN_CONVOLUTION);
    layer->outputs = outputs;
    layer->kernel = kernel;
    layer->stride = stride;
    layer->padding = padding;
}

void preset_add_max_pool(preset_builder *b, uint32_t kernel, uint32_t stride) {
    nn_layer_spec *layer = preset_add(b, NN_MAX_POOL);
    layer->kernel = kernel;
    layer->stride = stride;
}

void preset_add_upsample(preset_builder *b, uint32_t side) {
    nn_layer_spec *layer = preset_add(b, NN_UPSAMPLE);
    layer->shape.height = side;
    layer->shape.width = side;
}

uint32_t preset_side(uint32_t elements) {
    uint32_t side = 0;
    while ((side + 1) * (side + 1) <= elements) {
        side++;
    }
    return side;
}
