/* A description put together layer by layer, for the presets' own files. */
#ifndef FEWBIT_NN_PRESETS_PRESET_BUILDER_H
#define FEWBIT_NN_PRESETS_PRESET_BUILDER_H

#include "nn/spec.h"

/* `prefix`.`index` is the name of the next layer. */
typedef struct preset_builder {
    nn_spec *spec;
    const char *prefix;
    size_t index;
    bool is_image; /* what the layers so far put out */
    bool is_line;  /* that image is [channels, length], of height 1 */
    bool fixed;    /* the layers to come are */
} preset_builder;

/* Starts an empty description. */
preset_builder preset_begin(nn_spec *spec, size_t inputs, const char *prefix);

/* Names the layers to come PREFIX.0, PREFIX.1, … */
void preset_begin_part(preset_builder *b, const char *prefix);

/* Appends a layer under the next name. The caller fills in what its kind needs. */
nn_layer_spec *preset_add(preset_builder *b, nn_kind kind);

/* The same under the name PREFIX.NAME, or without any where that is empty; does not count. */
nn_layer_spec *preset_add_named(preset_builder *b, nn_kind kind, const char *name);

void preset_add_image(preset_builder *b, nn_shape shape); /* does not count */
void preset_add_dense(preset_builder *b, uint32_t outputs);
void preset_add_convolution(preset_builder *b, uint32_t outputs, uint32_t kernel, uint32_t stride, uint32_t padding);
void preset_add_max_pool(preset_builder *b, uint32_t kernel, uint32_t stride);
void preset_add_upsample(preset_builder *b, uint32_t side);

/* The side of a square image of `elements`, rounded down. */
uint32_t preset_side(uint32_t elements);

#endif
