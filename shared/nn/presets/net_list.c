#include "nn/presets/net_list.h"

#include <stdio.h>
#include <string.h>

enum {
    LAYERS_MAX = 128
}; /* of a list: room is left for what follows it, an activation or a classifier known by name */

typedef struct walk {
    preset_builder *b;
    const net_list_use *use;
    bool is_over; /* a layer cannot be described: it is the last one */
    nn_layer_spec nowhere;
} walk;

static bool has_tensors(nn_kind kind) {
    return kind == NN_DENSE || kind == NN_CONVOLUTION || kind == NN_BATCH_NORM || kind == NN_LAYER_NORM;
}

static nn_layer_spec *add(walk *w, nn_kind kind, const char *name, uint32_t place) {
    preset_builder *b = w->b;
    const char *complaint = NULL;
    if (w->is_over) {
        return &w->nowhere;
    }
    bool is_long = strlen(b->prefix) + 1 + strlen(name) >= sizeof b->spec->layers[0].name;
    if (is_long && has_tensors(kind)) {
        complaint = "lies too deep: the names of its tensors are too long";
    } else if (b->spec->count >= LAYERS_MAX) {
        complaint = "is one too many: a net has at most 128 layers";
    }
    nn_layer_spec *layer = preset_add_named(b, kind, is_long ? "" : name);
    layer->origin = place + 1;
    layer->complaint = complaint;
    w->is_over = complaint != NULL;
    return layer;
}

static void set_outputs(walk *w, nn_layer_spec *layer, uint32_t outputs) {
    if (outputs == NET_LIST_BITS && !w->use->bits) {
        layer->complaint = "has as many outputs as an encoder has bits, so it is for an encoder";
    } else if (outputs == NET_LIST_CLASSES && !w->use->classes) {
        layer->complaint = "has as many outputs as there are classes, so it is for the classifier";
    }
    layer->outputs = outputs == NET_LIST_BITS ? w->use->bits : outputs == NET_LIST_CLASSES ? w->use->classes : outputs;
}

static nn_kind kind_of(net_list_kind kind) {
    static const nn_kind kinds[] = {
        [NET_LIST_DENSE] = NN_DENSE,
        [NET_LIST_CONVOLUTION] = NN_CONVOLUTION,
        [NET_LIST_MAX_POOL] = NN_MAX_POOL,
        [NET_LIST_AVERAGE_POOL] = NN_AVERAGE_POOL,
        [NET_LIST_ADAPTIVE_AVERAGE_POOL] = NN_ADAPTIVE_AVERAGE_POOL,
        [NET_LIST_UPSAMPLE] = NN_UPSAMPLE,
        [NET_LIST_UNFLATTEN] = NN_IMAGE,
        [NET_LIST_FLATTEN] = NN_FLATTEN,
        [NET_LIST_BATCH_NORM] = NN_BATCH_NORM,
        [NET_LIST_RELU] = NN_RELU,
        [NET_LIST_SIGMOID] = NN_SIGMOID,
        [NET_LIST_TANH] = NN_TANH,
        [NET_LIST_GELU] = NN_GELU,
        [NET_LIST_SILU] = NN_SILU,
        [NET_LIST_LAYER_NORM] = NN_LAYER_NORM,
        [NET_LIST_DROPOUT] = NN_DROPOUT,
    };
    return kinds[kind];
}

/* [channels, length] is an image of height 1. */
static nn_shape size_of(const net_list_layer *l, bool is_line) {
    if (l->kind == NET_LIST_UNFLATTEN) {
        return (nn_shape){l->size[0], l->sizes == 3 ? l->size[1] : 1, l->size[l->sizes - 1]};
    }
    return (nn_shape){0, is_line ? 1 : l->size[0], l->size[l->sizes - 1]};
}

static nn_slide slide_of(const net_list_layer *l, size_t side) {
    const net_list_sides *all[] = {&l->kernel, &l->stride, &l->padding, &l->dilation};
    uint32_t numbers[4];
    for (size_t i = 0; i < 4; i++) {
        numbers[i] = all[i]->side[all[i]->count == 2 ? side : 0];
    }
    uint32_t stride = l->kind == NET_LIST_CONVOLUTION ? 1 : numbers[0];
    return (nn_slide){numbers[0], l->stride.count ? numbers[1] : stride, numbers[2], numbers[3]};
}

static void set_windows(nn_layer_spec *layer, const net_list_layer *l, bool is_line) {
    nn_slide down = is_line ? (nn_slide){.kernel = 1, .stride = 1} : slide_of(l, 0), across = slide_of(l, 1);
    layer->kernel = down.kernel;
    layer->stride = down.stride;
    layer->padding = down.padding;
    layer->dilation = down.dilation;
    layer->across = memcmp(&down, &across, sizeof down) == 0 ? (nn_slide){0} : across;
    layer->groups = l->groups;
    layer->is_line = is_line && l->kind == NET_LIST_CONVOLUTION;
}

static bool has_two_sides(const net_list_layer *l) {
    return l->kernel.count == 2 || l->stride.count == 2 || l->padding.count == 2 || l->dilation.count == 2 ||
           (l->sizes == 2 && l->kind != NET_LIST_UNFLATTEN);
}

static void add_plain(walk *w, const net_list_layer *l, const char *name, uint32_t place) {
    if (l->kind == NET_LIST_FLATTEN && !w->b->is_image) {
        return; /* it is a row */
    }
    bool is_line = w->b->is_image && w->b->is_line;
    nn_layer_spec *layer = add(w, kind_of(l->kind), name, place);
    if (l->kind == NET_LIST_DENSE || l->kind == NET_LIST_CONVOLUTION) {
        set_outputs(w, layer, l->outputs);
    }
    if (is_line && has_two_sides(l)) {
        layer->complaint = "has two sides, but [channels, length] has one";
    }
    if (l->kernel.count) {
        set_windows(layer, l, is_line);
    }
    if (l->kind == NET_LIST_UNFLATTEN) {
        w->b->is_line = l->sizes == 2;
    }
    layer->shape = l->sizes ? size_of(l, is_line) : (nn_shape){0, 0, 0};
    layer->rate = l->rate;
    layer->no_bias = !l->bias;
    layer->no_affine = !l->affine;
}

/* Blocks nest as deep as there are blocks; residual blocks as deep as the text that they came in. */
static void add_layers(walk *w, net_list_range layers, const char *path);

static void add_residual(walk *w, const net_list_layer *l, const char *name, uint32_t place) {
    char path[64];
    add(w, NN_RESIDUAL, "", place);
    snprintf(path, sizeof path, "%.40s.main.", name);
    add_layers(w, l->main, path);
    add(w, NN_SHORTCUT, "", place);
    snprintf(path, sizeof path, "%.40s.shortcut.", name);
    add_layers(w, l->shortcut, path);
    add(w, NN_JOIN, "", place);
}

/* `path`: what the names begin with, after the prefix: "" or "3.main.". */
static void add_layers(walk *w, net_list_range layers, const char *path) {
    for (uint32_t i = 0; i < layers.count && !w->is_over; i++) {
        const net_list_layer *l = &w->use->lists->layers[layers.first + i];
        char name[64], inner[sizeof name + 1];
        snprintf(name, sizeof name, "%.48s%u", path, i);
        if (l->kind == NET_LIST_BLOCK) {
            snprintf(inner, sizeof inner, "%s.", name);
            add_layers(w, l->main, inner);
        } else if (l->kind == NET_LIST_RESIDUAL) {
            add_residual(w, l, name, layers.first + i);
        } else {
            add_plain(w, l, name, layers.first + i);
        }
    }
}

/* Whether it takes rows and images alike. */
static bool is_of_numbers(net_list_kind kind) {
    return kind == NET_LIST_RELU || kind == NET_LIST_SIGMOID || kind == NET_LIST_TANH || kind == NET_LIST_GELU ||
           kind == NET_LIST_SILU || kind == NET_LIST_DROPOUT;
}

/* The first layer that takes rows and images differently; NULL: there is none. */
static const net_list_layer *first_of_shape(const net_lists *lists, net_list_range layers) {
    for (uint32_t i = 0; i < layers.count; i++) {
        const net_list_layer *l = &lists->layers[layers.first + i];
        bool holds = l->kind == NET_LIST_BLOCK || l->kind == NET_LIST_RESIDUAL;
        const net_list_layer *found = holds ? first_of_shape(lists, l->main) : l;
        if (found && !is_of_numbers(found->kind)) {
            return found;
        }
    }
    return NULL;
}

/* Whether the net's input is an image, of which a row is made. */
static bool takes_image(const net_list_use *use) {
    const net_list_layer *first = first_of_shape(use->lists, use->net);
    net_list_kind kind = first ? first->kind : NET_LIST_RELU;
    bool is_row = use->input.channels == 1 && use->input.height == 1,
         is_slid = kind == NET_LIST_CONVOLUTION || kind == NET_LIST_MAX_POOL || kind == NET_LIST_AVERAGE_POOL ||
                   kind == NET_LIST_ADAPTIVE_AVERAGE_POOL || kind == NET_LIST_UPSAMPLE;
    return use->input.channels > 0 &&
           (is_slid || ((kind == NET_LIST_BATCH_NORM || kind == NET_LIST_LAYER_NORM) && !is_row));
}

void net_list_add(preset_builder *b, const net_list_use *use) {
    walk w = {.b = b, .use = use};
    if (!b->is_image && takes_image(use)) {
        preset_add_image(b, use->input);
        b->is_line = use->input.height == 1;
        b->spec->layers[b->spec->count - 1].origin = use->net.first + 1;
    }
    add_layers(&w, use->net, "");
    b->index = use->net.count;
}

const char *net_list_name(const net_lists *lists, net_list_range layers) {
    for (uint32_t i = 0; i < lists->block_count; i++) {
        if (lists->blocks[i].layers.first == layers.first && layers.count > 0) {
            return lists->blocks[i].name;
        }
    }
    return NULL;
}

bool net_list_has_norm(const net_lists *lists) {
    bool has = false;
    for (uint32_t i = 0; i < lists->layer_count; i++) {
        has = has || lists->layers[i].kind == NET_LIST_BATCH_NORM;
    }
    return has;
}
