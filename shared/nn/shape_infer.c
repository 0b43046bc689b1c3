#include "nn/shape_infer.h"

#include <stdio.h>
#include <string.h>

enum { ELEMENTS_MAX = 1 << 26 };

typedef struct walk {
    nn_shape shape; /* of what the layers so far put out */
    bool is_image;
    struct {
        nn_shape entry, main; /* what it reads, and its main path puts out */
        bool is_in_shortcut;
    } blocks[NN_BLOCKS_MAX]; /* the residual blocks that are open */
    size_t depth;
    const char *complaint;
    char wording[96]; /* of a complaint that holds numbers */
} walk;

static bool is_same(nn_shape a, nn_shape b) {
    return a.channels == b.channels && a.height == b.height && a.width == b.width;
}

/* One side after a filter; 0 where it does not fit. */
static uint32_t slid(uint32_t side, nn_slide s) {
    uint64_t padded = (uint64_t)side + 2 * (uint64_t)s.padding;
    if (s.kernel == 0 || s.stride == 0 || padded < nn_slide_reach(s)) {
        return 0;
    }
    return (uint32_t)((padded - nn_slide_reach(s)) / s.stride + 1);
}

static nn_shape slide(walk *w, const nn_layer_spec *s, uint32_t channels) {
    nn_slide down = nn_slide_down(s), across = nn_slide_across(s);
    nn_shape to = {channels, slid(w->shape.height, down), slid(w->shape.width, across)};
    if (s->kind == NN_CONVOLUTION && (w->shape.channels % nn_groups(s) || s->outputs % nn_groups(s))) {
        snprintf(w->wording, sizeof w->wording, "has %u groups, which do not divide its %u channels and %u outputs",
                 s->groups, w->shape.channels, s->outputs);
        w->complaint = w->wording;
    } else if (s->kind != NN_CONVOLUTION && (down.padding > down.kernel / 2 || across.padding > across.kernel / 2)) {
        w->complaint = "is padded by more than half its window";
    } else if (to.height == 0 || to.width == 0) {
        snprintf(w->wording, sizeof w->wording, "leaves nothing: window %ux%u, padding %ux%u",
                 (unsigned)nn_slide_reach(down), (unsigned)nn_slide_reach(across), down.padding, across.padding);
        w->complaint = w->wording;
    }
    return to;
}

static nn_shape flat(size_t features) {
    return (nn_shape){1, 1, features <= ELEMENTS_MAX ? (uint32_t)features : ELEMENTS_MAX + 1};
}

static nn_shape resize(const walk *w, const nn_layer_spec *s) {
    return (nn_shape){w->shape.channels, s->shape.height, s->shape.width};
}

static void open_block(walk *w) {
    if (w->depth == NN_BLOCKS_MAX) {
        w->complaint = "is inside too many other blocks";
        return;
    }
    w->blocks[w->depth].entry = w->shape;
    w->blocks[w->depth++].is_in_shortcut = false;
}

static void turn_to_shortcut(walk *w) {
    if (w->depth == 0 || w->blocks[w->depth - 1].is_in_shortcut) {
        w->complaint = "is outside a block";
        return;
    }
    w->blocks[w->depth - 1].is_in_shortcut = true;
    w->blocks[w->depth - 1].main = w->shape;
    w->shape = w->blocks[w->depth - 1].entry;
}

static void close_block(walk *w) {
    if (w->depth == 0 || !w->blocks[w->depth - 1].is_in_shortcut) {
        w->complaint = "is outside a block's second path";
        return;
    }
    nn_shape main = w->blocks[--w->depth].main;
    if (!is_same(w->shape, main)) {
        snprintf(w->wording, sizeof w->wording, "joins paths of different shapes, %ux%ux%u and %ux%ux%u", main.channels,
                 main.height, main.width, w->shape.channels, w->shape.height, w->shape.width);
        w->complaint = w->wording;
    }
}

/* Inside images only. */
static void take_image_layer(walk *w, const nn_layer_spec *s) {
    if (!w->is_image) {
        w->complaint = "needs an image";
        return;
    }
    switch (s->kind) {
    case NN_FLATTEN:
        w->complaint = w->depth > 0 ? "is inside a block" : NULL;
        w->is_image = false;
        w->shape = flat(nn_shape_elements(w->shape));
        break;
    case NN_CONVOLUTION:
        w->shape = slide(w, s, s->outputs);
        break;
    case NN_MAX_POOL:
    case NN_AVERAGE_POOL:
        w->shape = slide(w, s, w->shape.channels);
        break;
    default: /* NN_ADAPTIVE_AVERAGE_POOL, NN_UPSAMPLE */
        w->shape = resize(w, s);
        break;
    }
}

static void make_image(walk *w, const nn_layer_spec *s) {
    if (w->is_image || nn_shape_elements(s->shape) != nn_shape_elements(w->shape)) {
        snprintf(w->wording, sizeof w->wording, "is an image of other size than what it is made of: %ux%ux%u",
                 s->shape.channels, s->shape.height, s->shape.width);
        w->complaint = w->wording;
    }
    w->complaint = w->depth > 0 ? "is inside a block" : w->complaint;
    w->is_image = true;
    w->shape = s->shape;
}

static void take_layer(walk *w, const nn_layer_spec *s) {
    switch (s->kind) {
    case NN_IMAGE:
        make_image(w, s);
        break;
    case NN_DENSE:
        w->complaint = w->is_image ? "needs a row, not an image" : NULL;
        w->shape = flat(s->outputs);
        break;
    case NN_RELU:
    case NN_BATCH_NORM:
    case NN_SIGMOID:
    case NN_TANH:
    case NN_GELU:
    case NN_SILU:
    case NN_LAYER_NORM:
    case NN_RESIGMOID:
    case NN_NOISE:
    case NN_BINARIZE:
        break;
    case NN_RESIDUAL:
        open_block(w);
        break;
    case NN_SHORTCUT:
        turn_to_shortcut(w);
        break;
    case NN_JOIN:
        close_block(w);
        break;
    case NN_DROPOUT:
        w->complaint = s->rate >= 0 && s->rate < 1 ? NULL : "has a rate outside 0 to 1";
        break;
    default:
        take_image_layer(w, s);
        break;
    }
    size_t elements = nn_shape_elements(w->shape);
    if (!w->complaint && elements == 0) {
        w->complaint = "leaves nothing";
    } else if (!w->complaint && elements > ELEMENTS_MAX) {
        w->complaint = "leaves too much";
    }
}

err shape_infer(const nn_spec *spec, nn_shape shapes[NN_LAYERS_MAX]) {
    if (spec->count == 0 || spec->count > NN_LAYERS_MAX) {
        return err_fail(ERR_INPUT, "%zu layers, not 1 to %d", spec->count, NN_LAYERS_MAX);
    }
    memset(shapes, 0, NN_LAYERS_MAX * sizeof *shapes);
    walk w = {.shape = flat(spec->inputs)};
    for (size_t i = 0; i < spec->count; i++) {
        const nn_layer_spec *s = &spec->layers[i];
        nn_shape before = w.shape;
        take_layer(&w, s);
        w.complaint = s->complaint ? s->complaint : w.complaint;
        if (w.complaint) {
            return err_fail(ERR_INPUT, "layer %zu%s%s%s %s (of %ux%ux%u)", i, s->name[0] ? " (" : "", s->name,
                            s->name[0] ? ")" : "", w.complaint, before.channels, before.height, before.width);
        }
        shapes[i] = w.shape;
    }
    if (w.is_image || w.depth > 0) {
        return err_fail(ERR_INPUT, "the last layer leaves an image or a block open");
    }
    return ERR_OK;
}

/* What one layer costs; from: what it reads. */
static nn_layer_cost cost_of(const nn_layer_spec *s, nn_shape from, nn_shape to, bool is_image) {
    nn_layer_cost c = {.shape = to};
    size_t inputs = 0;
    if (s->kind == NN_DENSE) {
        inputs = nn_shape_elements(from);
    } else if (s->kind == NN_CONVOLUTION) {
        inputs = from.channels / nn_groups(s) * nn_window_points(s);
    } else if ((s->kind == NN_BATCH_NORM || s->kind == NN_LAYER_NORM) && !s->no_affine) {
        c.parameters = 2 * (is_image ? from.channels : nn_shape_elements(from));
    }
    if (inputs > 0) {
        c.parameters = s->outputs * (inputs + !s->no_bias);
        c.macs = (double)nn_shape_elements(to) * (double)inputs;
    }
    return c;
}

err nn_spec_costs(const nn_spec *spec, nn_layer_cost costs[NN_LAYERS_MAX]) {
    nn_shape shapes[NN_LAYERS_MAX], entries[NN_BLOCKS_MAX], from = {1, 1, spec->inputs};
    size_t depth = 0;
    bool is_image = false;
    err failed = shape_infer(spec, shapes);
    for (size_t i = 0; i < spec->count && !failed; i++) {
        const nn_layer_spec *s = &spec->layers[i];
        if (s->kind == NN_RESIDUAL) {
            entries[depth++] = from;
        }
        from = s->kind == NN_SHORTCUT ? entries[depth - 1] : from;
        depth -= s->kind == NN_JOIN;
        is_image = s->kind == NN_IMAGE || (is_image && s->kind != NN_FLATTEN);
        costs[i] = cost_of(s, from, shapes[i], is_image);
        from = shapes[i];
    }
    return failed;
}

double nn_spec_step_macs(const nn_spec *spec, size_t rows, bool input_gradient) {
    nn_layer_cost costs[NN_LAYERS_MAX];
    double all = 0;
    bool is_reached = input_gradient;
    if (nn_spec_costs(spec, costs)) {
        return 0;
    }
    for (size_t i = 0; i < spec->count; i++) {
        bool trains = !spec->layers[i].fixed;
        all += costs[i].macs * (1 + (is_reached ? 1 : 0) + (trains ? 1 : 0));
        is_reached |= costs[i].macs > 0 && trains;
    }
    return (double)rows * all;
}

double nn_spec_row_macs(const nn_spec *spec) {
    nn_spec fixed = *spec;
    for (size_t i = 0; i < fixed.count; i++) {
        fixed.layers[i].fixed = true; /* no gradients */
    }
    return nn_spec_step_macs(&fixed, 1, false);
}
