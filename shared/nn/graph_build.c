#include "nn/graph_build.h"

#include "nn/bf16.h"
#include "nn/layers/layers.h"
#include "nn/shape_infer.h"

enum { WORK_A_NUMBER = 16 };

/* From the description to layers. */

typedef struct builder {
    nn_net *net;
    const nn_spec *spec;
    nn_shape shapes[NN_LAYERS_MAX]; /* what each layer of the description puts out */
    bool is_image;                  /* what the layers so far put out */
    struct {
        int fork, main_end;
    } blocks[NN_BLOCKS_MAX]; /* the residual blocks that are open */
    size_t depth;
} builder;

static const nn_layer_spec *layer_at(const builder *b, size_t at) {
    static const nn_layer_spec none = {.kind = NN_IMAGE};
    return at < b->spec->count ? &b->spec->layers[at] : &none;
}

static bool is_pair(const builder *b, size_t at, size_t in) {
    const nn_layer_spec *first = layer_at(b, at), *second = layer_at(b, at + 1);
    return at + 1 < b->spec->count && first->kind == NN_DENSE && second->kind == NN_DENSE && !first->fixed &&
           !second->fixed && !first->no_bias && !second->no_bias && b->net->options.precision == NN_F32 &&
           nn_dense_pair_pays(b->net->options.max_rows, in, first->outputs, second->outputs);
}

/* Whether the layer at `at` includes the ReLU after it. Convolutions and joins mask the gradient on their output in
 * place, which they must not where a join hands the same one to both paths. */
static bool takes_relu(const builder *b, size_t at) {
    if (at + 1 >= b->spec->count || layer_at(b, at + 1)->kind != NN_RELU) {
        return false;
    }
    nn_kind behind = layer_at(b, at + 2)->kind;
    switch (layer_at(b, at)->kind) {
    case NN_CONVOLUTION:
    case NN_JOIN:
        return behind != NN_SHORTCUT && behind != NN_JOIN;
    case NN_BATCH_NORM:
    case NN_MAX_POOL:
        return true;
    default:
        return false;
    }
}

static bool has_parameters(const nn_layer_spec *s) {
    return s->kind == NN_DENSE || s->kind == NN_CONVOLUTION ||
           ((s->kind == NN_BATCH_NORM || s->kind == NN_LAYER_NORM) && !s->no_affine);
}

/* What layer number `index` reads. */
static void wire(builder *b, size_t index, nn_kind kind) {
    nn_wiring *w = &b->net->wiring[index];
    w->from = (int)index - 1;
    w->other_from = NN_OUTSIDE;
    if (kind == NN_RESIDUAL) {
        b->blocks[b->depth++].fork = (int)index;
        w->is_alias = true;
    } else if (kind == NN_SHORTCUT) {
        b->blocks[b->depth - 1].main_end = (int)index - 1;
        w->from = b->blocks[b->depth - 1].fork;
        w->is_alias = true;
    } else if (kind == NN_JOIN) {
        w->from = b->blocks[--b->depth].main_end;
        w->other_from = (int)index - 1;
    }
}

/* Whether an image lies in memory as its row does. Not where it is the net's output: that is the caller's. */
static bool lies_alike(const builder *b, nn_shape shape, size_t at) {
    return b->net->options.precision == NN_F32 && (shape.channels == 1 || shape.height * shape.width == 1) &&
           at + 1 < b->spec->count;
}

static bool is_reached(const nn_net *net, int index) {
    return index == NN_OUTSIDE ? net->options.training && net->options.input_gradient : net->wiring[index].is_reached;
}

static void describe(builder *b, nn_layer *layer, size_t at, size_t taken, nn_shape from) {
    const nn_net_options *options = &b->net->options;
    const nn_layer_spec *s = layer_at(b, at);
    layer->spec = *s;
    layer->second = *layer_at(b, at + 1);
    layer->from = from;
    layer->to = b->shapes[at + taken - 1];
    layer->in = nn_shape_elements(layer->from);
    layer->out = nn_shape_elements(layer->to);
    layer->place = at;
    layer->max_rows = options->max_rows;
    layer->pool = options->pool;
    layer->is_bf16 = options->precision == NN_BF16;
    layer->draws = &b->net->draws;
    layer->scratch_pool = b->net->scratch_pool;
    layer->has_failed = &b->net->has_failed;
    layer->work = WORK_A_NUMBER * (double)layer->out;
    layer->is_image = b->is_image;
    layer->x_half = b->is_image && options->precision == NN_BF16;
    b->is_image = s->kind == NN_IMAGE || (b->is_image && s->kind != NN_FLATTEN);
    layer->y_half = b->is_image && options->precision == NN_BF16;
    layer->relu = takes_relu(b, at);
    layer->trains = options->training && !s->fixed && has_parameters(s);
    b->net->has_images |= b->is_image;
}

static err make(nn_layer *layer, bool pair) {
    static err (*const makers[])(nn_layer *) = {
        [NN_DENSE] = nn_dense_make,
        [NN_RELU] = nn_relu_make,
        [NN_BATCH_NORM] = nn_batch_norm_make,
        [NN_SIGMOID] = nn_sigmoid_make,
        [NN_RESIGMOID] = nn_sigmoid_make,
        [NN_TANH] = nn_smooth_make,
        [NN_GELU] = nn_smooth_make,
        [NN_SILU] = nn_smooth_make,
        [NN_LAYER_NORM] = nn_layer_norm_make,
        [NN_NOISE] = nn_noise_make,
        [NN_BINARIZE] = nn_binarize_make,
        [NN_IMAGE] = nn_image_make,
        [NN_FLATTEN] = nn_flatten_make,
        [NN_CONVOLUTION] = nn_convolution_make,
        [NN_MAX_POOL] = nn_max_pool_make,
        [NN_AVERAGE_POOL] = nn_average_pool_make,
        [NN_ADAPTIVE_AVERAGE_POOL] = nn_average_pool_make,
        [NN_UPSAMPLE] = nn_upsample_make,
        [NN_DROPOUT] = nn_dropout_make,
        [NN_RESIDUAL] = nn_fork_make,
        [NN_SHORTCUT] = nn_fork_make,
        [NN_JOIN] = nn_join_make,
    };
    nn_kind kind = layer->spec.kind;
    if (kind == NN_CONVOLUTION) {
        nn_begin_convolution(layer);
    }
    return kind == NN_DENSE && pair                         ? nn_dense_pair_make(layer)
           : kind == NN_DENSE && nn_dense_is_bf16(layer)    ? nn_dense_bf16_make(layer)
           : kind == NN_CONVOLUTION && winograd_pays(layer) ? winograd_make(layer)
           : kind == NN_CONVOLUTION && im2col_pays(layer)   ? im2col_make(layer)
                                                            : makers[kind](layer);
}

/* Makes the layer at `at` of the description; returns how many of the description it takes. */
static err make_layer(builder *b, size_t at, nn_shape from, size_t *taken) {
    nn_net *net = b->net;
    size_t index = net->count++;
    nn_layer *layer = &net->layers[index];
    nn_wiring *w = &net->wiring[index];
    nn_kind kind = layer_at(b, at)->kind;
    bool pair = is_pair(b, at, nn_shape_elements(from));
    *taken = pair || takes_relu(b, at) ? 2 : 1;
    wire(b, index, kind);
    describe(b, layer, at, *taken, from);
    w->is_alias |=
        (kind == NN_IMAGE || kind == NN_FLATTEN) && lies_alike(b, kind == NN_IMAGE ? layer->to : layer->from, at);
    layer->wants_dx = is_reached(net, w->from) || (kind == NN_JOIN && is_reached(net, w->other_from));
    w->is_reached = layer->trains || layer->wants_dx;
    err failed = make(layer, pair);
    for (size_t t = 0; t < layer->tensor_count; t++) {
        net->tensors[net->tensor_count++] = &layer->tensors[t];
    }
    return failed;
}

static err check_room(const nn_net *net, size_t bytes) {
    size_t most = net->options.max_bytes;
    return most == 0 || bytes <= most ? ERR_OK
                                      : err_fail(ERR_FULL, "the net takes %zu MiB of memory, %zu MiB are left for it",
                                                 (bytes >> 20) + 1, most >> 20);
}

/* Before the layers are made, which take memory for copies of their weights: those of the description. */
static err check_weights(const builder *b) {
    nn_layer_cost costs[NN_LAYERS_MAX];
    size_t bytes = 0;
    err failed = nn_spec_costs(b->spec, costs);
    for (size_t i = 0; i < b->spec->count && !failed; i++) {
        bytes += costs[i].parameters * sizeof(float);
    }
    return failed ? failed : check_room(b->net, bytes);
}

static err make_layers(builder *b) {
    err failed = shape_infer(b->spec, b->shapes);
    failed = failed ? failed : check_weights(b);
    for (size_t at = 0, taken; at < b->spec->count && !failed; at += taken) {
        failed = make_layer(b, at, at == 0 ? (nn_shape){1, 1, b->spec->inputs} : b->shapes[at - 1], &taken);
    }
    return failed;
}

/* Memory. A step's moments: forward passes 0 … n-1, backward passes n … 2n-1 from the last layer to the first, the
 * update 2n. */

static size_t backward_moment(const nn_net *net, size_t index) {
    return 2 * net->count - 1 - index;
}

static size_t update_moment(const nn_net *net) {
    return 2 * net->count;
}

static int add_piece(nn_net *net, size_t numbers, bool half) {
    memory_plan_piece *p = &net->pieces[net->piece_count];
    *p = (memory_plan_piece){.bytes = net->options.max_rows * numbers * bf16_size(half), .from = SIZE_MAX};
    return (int)net->piece_count++;
}

static void use(nn_net *net, int piece, size_t moment) {
    if (piece != NN_OUTSIDE) {
        memory_plan_piece *p = &net->pieces[piece];
        p->from = moment < p->from ? moment : p->from;
        p->to = moment > p->to ? moment : p->to;
    }
}

static void plan_outputs(nn_net *net) {
    for (size_t i = 0; i < net->count; i++) {
        nn_wiring *w = &net->wiring[i];
        w->x = w->from == NN_OUTSIDE ? NN_OUTSIDE : net->wiring[w->from].y;
        w->other_x = w->other_from == NN_OUTSIDE ? NN_OUTSIDE : net->wiring[w->other_from].y;
        w->y = w->is_alias ? w->x : add_piece(net, net->layers[i].out, net->layers[i].y_half);
    }
}

static bool reads(const nn_net *net, size_t reader, size_t index) {
    const nn_wiring *w = &net->wiring[reader];
    return w->from == (int)index || w->other_from == (int)index;
}

/* The layer that reads the output of `index` and hands a gradient back. A shortcut reads the fork's too; its gradient
 * is the fork's second. */
static size_t reader_of(const nn_net *net, size_t index) {
    size_t at = index + 1;
    while (at < net->count && (net->layers[at].spec.kind == NN_SHORTCUT || !reads(net, at, index))) {
        at++;
    }
    return at;
}

static bool is_read_once(const nn_net *net, int piece) {
    size_t readers = 0;
    for (size_t i = 0; i < net->count; i++) {
        const nn_wiring *w = &net->wiring[i];
        readers += !w->is_alias && (w->x == piece || w->other_x == piece);
        readers += w->is_alias && net->layers[i].spec.kind == NN_RESIDUAL && w->x == piece ? 2 : 0;
    }
    return readers == 1;
}

/* Whether `reader` may write the gradient on the output of layer `index` over that output. */
static bool may_write_over(const nn_net *net, size_t index, size_t reader) {
    return (net->layers[reader].memory & NN_WRITES_DX_OVER_X) && net->has_images && !net->wiring[index].is_alias &&
           !(net->layers[index].memory & NN_BACKWARD_READS_Y) && is_read_once(net, net->wiring[index].y);
}

/* The gradients on the layers' outputs, from the last layer to the first. */
static void plan_gradients(nn_net *net) {
    for (size_t i = net->count; i-- > 0;) {
        nn_wiring *w = &net->wiring[i];
        w->dy = w->dx = w->other_dy = NN_OUTSIDE;
        size_t reader = reader_of(net, i);
        if (!w->is_reached || reader == net->count) {
            continue;
        }
        const nn_layer *by = &net->layers[reader];
        nn_kind kind = by->spec.kind;
        bool hands_on = kind == NN_JOIN || ((kind == NN_IMAGE || kind == NN_FLATTEN) && net->wiring[reader].is_alias);
        if (hands_on) {
            w->dy = net->wiring[reader].dy;
        } else if (may_write_over(net, i, reader)) {
            w->dy = w->y;
        } else {
            w->dy = add_piece(net, net->layers[i].out, net->layers[i].y_half);
        }
    }
}

/* Where the layers write the gradients on their inputs. */
static void wire_gradients(nn_net *net) {
    int input = NN_OUTSIDE;
    for (size_t i = 0; i < net->count; i++) {
        nn_wiring *w = &net->wiring[i];
        const nn_layer *layer = &net->layers[i];
        if (layer->spec.kind == NN_SHORTCUT) {
            net->wiring[w->from].other_dy = w->dy;
        } else if (w->from != NN_OUTSIDE) {
            w->dx = layer->wants_dx ? net->wiring[w->from].dy : NN_OUTSIDE;
        } else if (net->options.input_gradient) {
            bool hands_on = w->is_alias && layer->spec.kind != NN_RESIDUAL;
            input = hands_on ? w->dy : add_piece(net, layer->in, layer->x_half);
            w->dx = input;
        }
    }
    use(net, input, update_moment(net));
    net->input_gradient = input;
}

static void plan_moments(nn_net *net) {
    for (size_t i = 0; i < net->count; i++) {
        const nn_wiring *w = &net->wiring[i];
        unsigned memory = net->layers[i].memory;
        size_t backward = backward_moment(net, i), update = update_moment(net);
        use(net, w->y, i);
        use(net, w->x, i);
        use(net, w->other_x, i);
        if (!net->options.training || !w->is_reached) {
            continue;
        }
        use(net, w->dy, backward);
        use(net, w->dx, backward);
        use(net, w->other_dy, backward);
        if (memory & NN_BACKWARD_READS_X) {
            use(net, w->x, backward);
        }
        if (memory & NN_BACKWARD_READS_Y) {
            use(net, w->y, backward);
        }
        if (net->layers[i].trains && (memory & NN_UPDATE_READS_X)) {
            use(net, w->x, update);
        }
        if (net->layers[i].trains && (memory & NN_UPDATE_READS_DY)) {
            use(net, w->dy, update);
        }
    }
    use(net, net->wiring[net->count - 1].y, update_moment(net));
}

/* Nets of rows alone are small and keep everything, so their backward pass can be run again. */
static void keep_everything(nn_net *net) {
    for (size_t i = 0; i < net->piece_count; i++) {
        net->pieces[i].from = 0;
        net->pieces[i].to = update_moment(net);
    }
}

/* How many bytes they take. */
static size_t plan_activations(nn_net *net) {
    plan_outputs(net);
    if (net->options.training) {
        plan_gradients(net);
        wire_gradients(net);
    }
    plan_moments(net);
    if (!net->has_images) {
        keep_everything(net);
    }
    return memory_plan(net->pieces, net->piece_count);
}

static size_t scratch_bytes(const nn_net *net) {
    size_t scratch = 0;
    for (size_t i = 0; i < net->count; i++) {
        scratch += arena_rounded(net->layers[i].scratch_floats * sizeof(float));
    }
    return scratch;
}

static err take_activations(nn_net *net, size_t planned) {
    err failed = arena_init(&net->activations, planned + scratch_bytes(net));
    if (failed) {
        return failed;
    }
    arena_take(&net->activations, planned);
    for (size_t i = 0; i < net->count; i++) {
        net->layers[i].scratch = arena_take(&net->activations, net->layers[i].scratch_floats * sizeof(float));
    }
    return ERR_OK;
}

static size_t floats(size_t count) {
    return arena_rounded(count * sizeof(float));
}

static bool keeps_ema(const nn_net *net) {
    return net->options.training && net->options.ema;
}

static bool has_gradient(const nn_net *net, const nn_tensor *t) {
    return net->options.training && t->is_parameter;
}

/* Of all vectors, or of all other tensors: these lie together, as large layers' updates leave them untouched. */
static void take_gradients(nn_net *net, bool of_vectors) {
    for (size_t i = 0; i < net->tensor_count; i++) {
        nn_tensor *t = net->tensors[i];
        if (has_gradient(net, t) && (t->rank == 1) == of_vectors) {
            t->gradient = arena_take(&net->parameters, t->count * sizeof(float));
        }
    }
}

static size_t parameter_bytes(const nn_net *net) {
    size_t bytes = 0;
    for (size_t i = 0; i < net->tensor_count; i++) {
        const nn_tensor *t = net->tensors[i];
        bytes += floats(t->count) * (has_gradient(net, t) ? 2 + NN_STATES : 1);
        bytes += keeps_ema(net) ? floats(t->count) : 0;
    }
    return bytes;
}

static err take_parameters(nn_net *net) {
    err e = arena_init(&net->parameters, parameter_bytes(net));
    if (e) {
        return e;
    }
    for (size_t i = 0; i < net->tensor_count; i++) {
        nn_tensor *t = net->tensors[i];
        size_t size = t->count * sizeof(float);
        t->value = arena_take(&net->parameters, size);
        t->ema = keeps_ema(net) ? arena_take(&net->parameters, size) : NULL;
        for (int s = 0; has_gradient(net, t) && s < NN_STATES; s++) {
            t->state[s] = arena_take(&net->parameters, size);
        }
    }
    take_gradients(net, true);
    take_gradients(net, false);
    return ERR_OK;
}

static size_t thread_count(const nn_net *net) {
    return net->options.pool ? thread_pool_count(net->options.pool) : 1;
}

/* All that the net will take: what its layers hold already, scratch for each thread, and the two blocks. */
static size_t all_bytes(const nn_net *net, size_t activations) {
    size_t bytes = parameter_bytes(net) + activations + scratch_bytes(net) +
                   scratch_pool_bytes(net->scratch_pool) * thread_count(net);
    for (size_t i = 0; i < net->count; i++) {
        bytes += net->layers[i].own_bytes;
    }
    return bytes;
}

err graph_build(nn_net *net, const nn_spec *spec) {
    builder b = {.net = net, .spec = spec};
    err failed = make_layers(&b);
    if (failed) {
        return failed;
    }
    size_t activations = plan_activations(net);
    net->bytes = all_bytes(net, activations);
    failed = check_room(net, net->bytes);
    failed = failed ? failed : scratch_pool_fill(net->scratch_pool, thread_count(net));
    failed = failed ? failed : take_parameters(net);
    return failed ? failed : take_activations(net, activations);
}
