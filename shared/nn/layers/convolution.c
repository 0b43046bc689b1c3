/* Convolution of images, and the ReLU after it where there is one. oneDNN's, on images whose channels lie last:
 *
 *     y[o, i, j] = b[o] + sum over c, k, l of W[o, c, k, l] x[c, stride i + k - padding, stride j + l - padding]
 *
 * A large batch is cut into two parts, each with primitives of its own. Each leaves its gradient on the parameters in
 * a block of its own; the two are added in their order. The weights are brought into the primitives' layouts when they
 * changed. */
#include "nn/layers/layers.h"
#include "nn/onednn/onednn.h"

#include <math.h>
#include <stdlib.h>

enum { WEIGHT, BIAS };
enum { SIZES_MAX = 8, BLOCK_ALIGNMENT = 4096 };

/* The primitives for one number of rows. */
typedef struct sized {
    size_t rows; /* 0: free */
    uint64_t used;
    onednn_primitive forward, backward, weights;
} sized;

typedef struct part {
    onednn_stream worker;
    sized sizes[SIZES_MAX];
    sized *current;
} part;

/* How the weights and their gradient lie, as the first primitives chose. */
typedef struct layouts {
    dnnl_memory_desc_t plain, forward, backward, gradient;
} layouts;

typedef struct convolution {
    part parts[NN_PARTS_MAX];
    size_t parts_used; /* by the last backward pass */
    uint64_t clock;
    layouts layouts;
    onednn_primitive to_forward, to_backward, from_gradient;
    /* [0]: the forward primitives' weights, [1]: the backward ones'. Once nobody needs those any more, the gradients
     * of the two parts. */
    void *blocks[NN_PARTS_MAX];
} convolution;

static dnnl_data_type_t type_of(const nn_layer *layer) {
    return layer->x_half ? dnnl_bf16 : dnnl_f32;
}

static err image_layout(dnnl_memory_desc_t *layout, size_t rows, nn_shape shape, dnnl_data_type_t type) {
    const dnnl_dims_t dims = {(dnnl_dim_t)rows, shape.channels, shape.height, shape.width};
    return onednn_error(dnnl_memory_desc_init_by_tag(layout, 4, dims, type, dnnl_nhwc), "image");
}

static err weight_layout(dnnl_memory_desc_t *layout, const nn_layer *layer, dnnl_data_type_t type,
                         dnnl_format_tag_t tag) {
    uint32_t groups = nn_groups(&layer->spec), outputs = layer->to.channels, channels = layer->from.channels;
    uint32_t rows = layer->spec.kernel, columns = nn_slide_across(&layer->spec).kernel;
    const dnnl_dims_t one = {outputs, channels, rows, columns},
                      many = {groups, outputs / groups, channels / groups, rows, columns};
    bool is_plain = tag == dnnl_oihw;
    dnnl_status_t status = groups == 1
                               ? dnnl_memory_desc_init_by_tag(layout, 4, one, type, tag)
                               : dnnl_memory_desc_init_by_tag(layout, 5, many, type, is_plain ? dnnl_goihw : tag);
    return onednn_error(status, "weights");
}

/* What the three operations have in common. */
typedef struct geometry {
    dnnl_memory_desc_t x, y, bias;
    const dnnl_memory_desc_t *maybe_bias;
    dnnl_dims_t strides, padding, gaps;
} geometry;

static err describe(geometry *g, const nn_layer *layer, size_t rows) {
    const nn_layer_spec *s = &layer->spec;
    const dnnl_dims_t channels = {layer->to.channels};
    err failed = image_layout(&g->x, rows, layer->from, type_of(layer));
    failed = failed ? failed : image_layout(&g->y, rows, layer->to, type_of(layer));
    failed =
        failed ? failed : onednn_error(dnnl_memory_desc_init_by_tag(&g->bias, 1, channels, dnnl_f32, dnnl_x), "bias");
    g->maybe_bias = s->no_bias ? NULL : &g->bias;
    const nn_slide sides[] = {nn_slide_down(s), nn_slide_across(s)};
    for (size_t i = 0; i < 2; i++) {
        g->strides[i] = sides[i].stride;
        g->padding[i] = sides[i].padding;
        g->gaps[i] = sides[i].dilation > 1 ? sides[i].dilation - 1 : 0;
    }
    return failed;
}

static err relu_behind(dnnl_primitive_attr_t *attributes) {
    dnnl_post_ops_t after = NULL;
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    status = status ? status : dnnl_post_ops_create(&after);
    status = status ? status : dnnl_post_ops_append_eltwise(after, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f);
    status = status ? status : dnnl_primitive_attr_set_post_ops(*attributes, after);
    dnnl_post_ops_destroy(after);
    return onednn_error(status, "ReLU");
}

static err make_forward(nn_layer *layer, onednn_primitive *job, onednn_stream *w, const geometry *g) {
    const convolution *c = layer->own;
    dnnl_convolution_desc_t operation;
    dnnl_primitive_attr_t attributes = NULL;
    err failed = onednn_error(dnnl_dilated_convolution_forward_desc_init(&operation, dnnl_forward_training,
                                                                         dnnl_convolution_direct, &g->x,
                                                                         &c->layouts.forward, g->maybe_bias, &g->y,
                                                                         g->strides, g->gaps, g->padding, g->padding),
                              "convolution");
    failed = failed || !layer->relu ? failed : relu_behind(&attributes);
    failed = failed ? failed : onednn_primitive_init(job, w, &operation, attributes, NULL);
    dnnl_primitive_attr_destroy(attributes);
    return failed;
}

static err make_backward(nn_layer *layer, onednn_primitive *job, onednn_stream *w, const geometry *g,
                         const onednn_primitive *hint) {
    const convolution *c = layer->own;
    dnnl_convolution_desc_t operation;
    err failed = onednn_error(dnnl_dilated_convolution_backward_data_desc_init(
                                  &operation, dnnl_convolution_direct, &g->x, &c->layouts.backward, &g->y, g->strides,
                                  g->gaps, g->padding, g->padding),
                              "convolution's input gradient");
    return failed ? failed : onednn_primitive_init(job, w, &operation, NULL, hint);
}

static err make_weights(nn_layer *layer, onednn_primitive *job, onednn_stream *w, const geometry *g,
                        const onednn_primitive *hint) {
    const convolution *c = layer->own;
    dnnl_convolution_desc_t operation;
    err failed = onednn_error(dnnl_dilated_convolution_backward_weights_desc_init(
                                  &operation, dnnl_convolution_direct, &g->x, &c->layouts.gradient, g->maybe_bias,
                                  &g->y, g->strides, g->gaps, g->padding, g->padding),
                              "convolution's weight gradient");
    return failed ? failed : onednn_primitive_init(job, w, &operation, NULL, hint);
}

static void sized_free(sized *s) {
    onednn_primitive_free(&s->forward);
    onednn_primitive_free(&s->backward);
    onednn_primitive_free(&s->weights);
    *s = (sized){0};
}

static err sized_init(nn_layer *layer, sized *s, onednn_stream *w, size_t rows) {
    geometry g;
    err failed = describe(&g, layer, rows);
    failed = failed ? failed : make_forward(layer, &s->forward, w, &g);
    if (!failed && layer->wants_dx) {
        failed = make_backward(layer, &s->backward, w, &g, &s->forward);
    }
    if (!failed && layer->trains) {
        failed = make_weights(layer, &s->weights, w, &g, &s->forward);
    }
    s->rows = rows;
    return failed;
}

/* Makes the primitives for `rows` current in a part. Those used longest ago make room. */
static err choose_rows(nn_layer *layer, part *p, size_t rows) {
    convolution *c = layer->own;
    sized *oldest = &p->sizes[0];
    p->current = NULL;
    for (size_t i = 0; i < SIZES_MAX && !p->current; i++) {
        sized *s = &p->sizes[i];
        p->current = s->rows == rows ? s : NULL;
        oldest = s->used < oldest->used ? s : oldest;
    }
    err failed = ERR_OK;
    if (!p->current) {
        sized_free(oldest);
        failed = sized_init(layer, oldest, &p->worker, rows);
        p->current = oldest;
    }
    p->current->used = ++c->clock;
    return failed;
}

static err choose_parts(nn_layer *layer, size_t rows) {
    convolution *c = layer->own;
    size_t parts = nn_parts(layer, rows);
    err failed = ERR_OK;
    for (size_t i = 0; i < parts && !failed; i++) {
        size_t count = nn_part(rows, parts, i + 1) - nn_part(rows, parts, i);
        failed = choose_rows(layer, &c->parts[i], count);
    }
    return failed;
}

static void prepare_task(void *context, size_t task) {
    nn_layer *layer = context;
    const convolution *c = layer->own;
    nn_layer_note(layer, onednn_reorder(task == 0 ? &c->to_forward : &c->to_backward, &c->parts[task].worker,
                                        layer->tensors[WEIGHT].value, c->blocks[task]));
}

static void convolution_prepare(nn_layer *layer) {
    thread_pool_run(layer->pool, prepare_task, layer, layer->wants_dx ? 2 : 1);
}

static void forward_task(void *context, size_t task) {
    const nn_call *call = context;
    nn_layer *layer = call->layer;
    const convolution *c = layer->own;
    const part *p = &c->parts[task];
    nn_rows r = nn_rows_part(layer, call->rows, call->parts, task);
    const float *bias = layer->spec.no_bias ? NULL : layer->tensors[BIAS].value;
    const onednn_operand operands[] = {
        {DNNL_ARG_SRC, r.x}, {DNNL_ARG_WEIGHTS, c->blocks[0]}, {DNNL_ARG_BIAS, bias}, {DNNL_ARG_DST, r.y}};
    nn_layer_note(layer, onednn_run(&p->current->forward, &p->worker, operands, 4));
}

static void convolution_forward(nn_layer *layer, const nn_rows *r) {
    err failed = choose_parts(layer, r->count);
    if (failed) {
        nn_layer_note(layer, failed);
        return;
    }
    nn_run_parts(layer, r, forward_task);
}

static void backward_task(void *context, size_t task) {
    const nn_call *call = context;
    nn_layer *layer = call->layer;
    const convolution *c = layer->own;
    const part *p = &c->parts[task];
    nn_rows r = nn_rows_part(layer, call->rows, call->parts, task);
    if (layer->relu) {
        nn_relu_gradient(r.count * layer->out, r.y, r.dy, r.dy, layer->y_half);
    }
    if (r.dx) {
        const onednn_operand operands[] = {
            {DNNL_ARG_DIFF_DST, r.dy}, {DNNL_ARG_WEIGHTS, c->blocks[1]}, {DNNL_ARG_DIFF_SRC, r.dx}};
        nn_layer_note(layer, onednn_run(&p->current->backward, &p->worker, operands, 3));
    }
}

static void convolution_backward(nn_layer *layer, const nn_rows *r) {
    convolution *c = layer->own;
    c->parts_used = nn_parts(layer, r->count);
    nn_run_parts(layer, r, backward_task);
}

static void convolution_update(nn_layer *layer, const nn_rows *r, const nn_optimiser *o, size_t task) {
    (void)o;
    const convolution *c = layer->own;
    if (task >= c->parts_used) {
        return;
    }
    const part *p = &c->parts[task];
    nn_rows mine = nn_rows_part(layer, r, c->parts_used, task);
    const onednn_operand operands[] = {{DNNL_ARG_SRC, mine.x},
                                       {DNNL_ARG_DIFF_DST, mine.dy},
                                       {DNNL_ARG_DIFF_WEIGHTS, c->blocks[task]},
                                       {DNNL_ARG_DIFF_BIAS, nn_bias_part(layer, task)}};
    nn_layer_note(layer, onednn_run(&p->current->weights, &p->worker, operands, 4));
}

enum { FINISH_TASKS = 2 };

/* A stretch of the weights: adds what the second part left in block 0, and takes the optimiser's step. */
static void finish_task(void *context, size_t task) {
    const nn_call *call = context;
    const convolution *c = call->layer->own;
    nn_tensor *weight = &call->layer->tensors[WEIGHT];
    size_t first = nn_part(weight->count, FINISH_TASKS, task), last = nn_part(weight->count, FINISH_TASKS, task + 1);
    if (c->parts_used == 2) {
        nn_add(weight->gradient + first, (const float *)c->blocks[0] + first, last - first);
    }
    if (call->o) {
        nn_optimiser_apply(call->o, weight, first, last - first);
    }
}

static void convolution_finish(nn_layer *layer, const nn_optimiser *o) {
    const convolution *c = layer->own;
    if (!layer->trains) {
        return;
    }
    const onednn_stream *w = &c->parts[0].worker;
    nn_layer_note(layer, onednn_reorder(&c->from_gradient, w, c->blocks[0], layer->tensors[WEIGHT].gradient));
    if (c->parts_used == 2) {
        nn_layer_note(layer, onednn_reorder(&c->from_gradient, w, c->blocks[1], c->blocks[0]));
    }
    nn_call call = {.layer = layer, .o = o};
    thread_pool_run(layer->pool, finish_task, &call, FINISH_TASKS);
    nn_finish_bias(layer, c->parts_used, o);
}

static void convolution_free(nn_layer *layer) {
    convolution *c = layer->own;
    if (!c) {
        return;
    }
    for (size_t i = 0; i < NN_PARTS_MAX; i++) {
        for (size_t k = 0; k < SIZES_MAX; k++) {
            sized_free(&c->parts[i].sizes[k]);
        }
        onednn_stream_free(&c->parts[i].worker);
        free(c->blocks[i]);
    }
    onednn_primitive_free(&c->to_forward);
    onednn_primitive_free(&c->to_backward);
    onednn_primitive_free(&c->from_gradient);
    free(c);
}

static const nn_layer_ops convolution_ops = {
    .init = nn_init_filters,
    .prepare = convolution_prepare,
    .forward = convolution_forward,
    .backward = convolution_backward,
    .update = convolution_update,
    .finish = convolution_finish,
    .free = convolution_free,
};

static err make_blocks(nn_layer *layer) {
    convolution *c = layer->own;
    size_t sizes[NN_PARTS_MAX] = {dnnl_memory_desc_get_size(&c->layouts.forward),
                                  layer->wants_dx ? dnnl_memory_desc_get_size(&c->layouts.backward) : 0};
    size_t gradient = layer->trains ? dnnl_memory_desc_get_size(&c->layouts.gradient) : 0;
    for (size_t i = 0; i < NN_PARTS_MAX; i++) {
        size_t bytes = sizes[i] > gradient ? sizes[i] : gradient;
        bytes = (bytes + BLOCK_ALIGNMENT - 1) / BLOCK_ALIGNMENT * BLOCK_ALIGNMENT;
        c->blocks[i] = bytes ? aligned_alloc(BLOCK_ALIGNMENT, bytes) : NULL;
        layer->own_bytes += bytes;
        if (bytes && !c->blocks[i]) {
            return err_fail(ERR_MEMORY, "no memory for %zu bytes of weights", bytes);
        }
    }
    return ERR_OK;
}

/* The layouts that the primitives for the largest batch want; all others are then made for them. */
static err choose_layouts(nn_layer *layer) {
    convolution *c = layer->own;
    layouts *l = &c->layouts;
    err failed = weight_layout(&l->plain, layer, dnnl_f32, dnnl_oihw);
    failed = failed ? failed : weight_layout(&l->forward, layer, type_of(layer), dnnl_format_tag_any);
    failed = failed ? failed : weight_layout(&l->backward, layer, type_of(layer), dnnl_format_tag_any);
    failed = failed ? failed : weight_layout(&l->gradient, layer, dnnl_f32, dnnl_format_tag_any);
    size_t parts = nn_parts(layer, layer->max_rows);
    failed = failed ? failed : choose_rows(layer, &c->parts[0], nn_part(layer->max_rows, parts, 1));
    if (failed) {
        return failed;
    }
    const sized *s = c->parts[0].current;
    l->forward = *onednn_layout(&s->forward, DNNL_ARG_WEIGHTS);
    if (layer->wants_dx) {
        l->backward = *onednn_layout(&s->backward, DNNL_ARG_WEIGHTS);
    }
    if (layer->trains) {
        l->gradient = *onednn_layout(&s->weights, DNNL_ARG_DIFF_WEIGHTS);
    }
    return choose_parts(layer, layer->max_rows);
}

static err make_reorders(nn_layer *layer) {
    convolution *c = layer->own;
    const layouts *l = &c->layouts;
    onednn_stream *first = &c->parts[0].worker, *second = &c->parts[1].worker;
    err failed = onednn_reorder_init(&c->to_forward, first, &l->plain, &l->forward);
    if (!failed && layer->wants_dx) {
        failed = onednn_reorder_init(&c->to_backward, second, &l->plain, &l->backward);
    }
    if (!failed && layer->trains) {
        failed = onednn_reorder_init(&c->from_gradient, first, &l->gradient, &l->plain);
    }
    return failed;
}

err nn_convolution_make(nn_layer *layer) {
    layer->ops = &convolution_ops;
    convolution *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for a convolution");
    }
    layer->own = c;
    err failed = ERR_OK;
    for (size_t i = 0; i < NN_PARTS_MAX && !failed; i++) {
        failed = onednn_stream_init(&c->parts[i].worker);
    }
    failed = failed ? failed : choose_layouts(layer);
    failed = failed ? failed : make_reorders(layer);
    failed = failed ? failed : make_blocks(layer);
    return err_prefix(failed, "%s", layer->spec.name);
}
