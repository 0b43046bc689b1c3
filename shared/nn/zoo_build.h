/* Putting a description together, for the zoo's own files. */
#ifndef FEWBIT_NN_ZOO_BUILD_H
#define FEWBIT_NN_ZOO_BUILD_H

#include "nn/zoo.h"

/* `prefix`.`index` is the name of the next layer. */
typedef struct zoo_builder {
    nn_spec *spec;
    const char *prefix;
    size_t index;
    bool is_image; /* what the layers so far put out */
    bool fixed;    /* the layers to come are */
} zoo_builder;

/* Starts an empty description. */
zoo_builder zoo_begin(nn_spec *spec, size_t inputs, const char *prefix);

/* Names the layers to come PREFIX.0, PREFIX.1, … */
void zoo_begin_part(zoo_builder *b, const char *prefix);

/* Appends a layer under the next name. The caller fills in what its kind needs. */
nn_layer_spec *zoo_add(zoo_builder *b, nn_kind kind);

/* The same under the name PREFIX.NAME, or without any where that is empty; does not count. */
nn_layer_spec *zoo_add_named(zoo_builder *b, nn_kind kind, const char *name);

void zoo_add_image(zoo_builder *b, nn_shape shape); /* does not count */
void zoo_add_dense(zoo_builder *b, uint32_t outputs);
void zoo_add_convolution(zoo_builder *b, uint32_t outputs, uint32_t kernel, uint32_t stride, uint32_t padding);
void zoo_add_max_pool(zoo_builder *b, uint32_t kernel, uint32_t stride);
void zoo_add_upsample(zoo_builder *b, uint32_t side);

/* The side of a square image of `elements`, rounded down. */
uint32_t zoo_side(uint32_t elements);

#endif
