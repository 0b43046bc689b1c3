/* Nets as lists of layers, as an experiment spells them (docs/experiment.md); plain data.
 *
 * A list's layers lie side by side among all that an experiment has. A layer may hold lists of its own (a residual
 * block's paths), or stand for a block: a list that has a name.
 *
 * Tensors are named as in the state_dict of the same torch.nn.Sequential, after a prefix: "encoder.3.weight". Every
 * layer counts, also those without tensors. A block is a Sequential of its own: "encoder.3.0.weight". A residual block
 * has its paths as Sequentials `main` and `shortcut`: "encoder.3.main.0.weight". */
#ifndef FEWBIT_NN_PRESETS_NET_LIST_H
#define FEWBIT_NN_PRESETS_NET_LIST_H

#include "nn/presets/preset_builder.h"

enum { NET_LIST_LAYERS_MAX = 256, NET_LIST_BLOCKS_MAX = 16, NET_LIST_NAME_MAX = 31, NET_LIST_OUTPUTS_MAX = 65536 };

/* In place of a number of outputs: an encoder's bits, the classes. */
enum { NET_LIST_BITS = NET_LIST_OUTPUTS_MAX + 1, NET_LIST_CLASSES };

typedef enum net_list_kind {
    NET_LIST_DENSE,
    NET_LIST_CONVOLUTION,
    NET_LIST_MAX_POOL,
    NET_LIST_AVERAGE_POOL,
    NET_LIST_ADAPTIVE_AVERAGE_POOL,
    NET_LIST_UPSAMPLE,
    NET_LIST_UNFLATTEN,
    NET_LIST_FLATTEN,
    NET_LIST_BATCH_NORM,
    NET_LIST_RELU,
    NET_LIST_SIGMOID,
    NET_LIST_TANH,
    NET_LIST_GELU,
    NET_LIST_SILU,
    NET_LIST_LAYER_NORM,
    NET_LIST_DROPOUT,
    NET_LIST_RESIDUAL,
    NET_LIST_BLOCK, /* a list that has a name: `main` */
} net_list_kind;

/* Layers first … first + count - 1; count 0: none. */
typedef struct net_list_range {
    uint32_t first, count;
} net_list_range;

/* Of windows: down and across, or one number for both; of a line across. count 0: what is left out. */
typedef struct net_list_sides {
    uint32_t side[2], count;
} net_list_sides;

typedef struct net_list_layer {
    net_list_kind kind;
    uint32_t outputs; /* dense, convolution: a number, NET_LIST_BITS or NET_LIST_CLASSES */
    net_list_sides kernel, stride, padding, dilation; /* stride left out: 1, of pools the kernel */
    uint32_t groups;                                  /* convolution; 0: one */
    uint32_t size[3],
        sizes;   /* unflatten: channels, height, width, or channels, length; else height, width, or one for both */
    float rate;  /* dropout */
    bool bias;   /* dense, convolution */
    bool affine; /* a norm has weight and bias */
    net_list_range main, shortcut;
} net_list_layer;

typedef struct net_list_block {
    char name[NET_LIST_NAME_MAX + 1];
    net_list_range layers;
} net_list_block;

/* All lists of an experiment. A block holds no blocks but those before it. */
typedef struct net_lists {
    net_list_layer layers[NET_LIST_LAYERS_MAX];
    uint32_t layer_count;
    net_list_block blocks[NET_LIST_BLOCKS_MAX];
    uint32_t block_count;
} net_lists;

/* What a list is described with. */
typedef struct net_list_use {
    const net_lists *lists;
    net_list_range net;
    nn_shape input;         /* {1, 1, n}: a row or an image, as the first layer takes it; {0, 0, 0}: as it comes */
    uint32_t bits, classes; /* what these words stand for; 0: they are not for this net */
} net_list_use;

/* Appends the layers of a list under the builder's prefix. Their `origin` is 1 + their place in `lists`. The input is
 * what the builder's last layer puts out, or made an image of where the list needs one. Of what cannot be
 * described the last layer has a `complaint`. */
void net_list_add(preset_builder *b, const net_list_use *use);

/* The name of a block whose layers these are; NULL: they have none. */
const char *net_list_name(const net_lists *lists, net_list_range layers);

/* Whether any list has a batch norm. */
bool net_list_has_norm(const net_lists *lists);

#endif
