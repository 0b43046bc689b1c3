/* Convolution of images by 3x3 filters at stride 1 in fewer multiplications: Lavin and Gray, "Fast Algorithms for
 * Convolutional Neural Networks", 2015; F(2x2, 3x3).
 *
 * The output is cut into tiles of 2x2. With d the 4x4 points of the input that a tile sees and g a filter,
 *     y = A^T [(G g G^T) * (B^T d B)] A                       * number by number: 16 multiplications in place of 36
 * and over all channels that is a matrix product at each of the 16 places: M = V U, V [tiles, inputs], U [inputs,
 * outputs]. Backwards, with dM = A dy A^T,
 *     dg = G^T [sum over tiles of (B^T d B) * dM] G           dU = V^T dM
 * and dx is the same convolution of dy by the filters turned by half a turn and with inputs and outputs swapped: V and
 * y taken from the far corner with U^T. Tiles go a chunk at a time, so that V and M stay near. */
#include "nn/layers/layers.h"

#include "nn/bf16.h"
#include "nn/layers/winograd_transforms.h"
#include "nn/onednn/onednn_matmul.h"

#include <stdlib.h>

enum { WEIGHT, BIAS };
enum { CHUNK_MAX = 192, CHUNK_BYTES = 8 << 20, SIZES = 5, PAGE = 4096, CHANNELS_PAY = 1024 };

/* The three products, and dU += beside dU =. */
typedef enum product_kind { FORWARD, BACKWARD, GRADIENT, GRADIENT_ADDED, PRODUCT_KINDS } product_kind;

/* The products for chunks of one size; each is made when it is first wanted. */
typedef struct products {
    size_t tiles;
    onednn_primitive jobs[PRODUCT_KINDS];
} products;

typedef struct winograd {
    onednn_stream workers[NN_PARTS_MAX];
    products sizes[NN_PARTS_MAX][SIZES]; /* from large to small, the same for both parts */
    size_t parts_used;                   /* by the last backward pass */
    /* [0]: U [WINOGRAD_PLACES, inputs, outputs]. Once nobody needs it any more, dU of the two parts. */
    float *blocks[NN_PARTS_MAX];
} winograd;

/* An image cut into tiles: what a convolution writes, and what it reads from there. */
typedef struct grid {
    nn_shape in, out;
    ptrdiff_t padding;
    size_t high, wide; /* in tiles */
} grid;

static grid grid_of(nn_shape in, nn_shape out, uint32_t padding) {
    return (grid){in, out, (ptrdiff_t)padding, (out.height + WINOGRAD_TILE - 1) / WINOGRAD_TILE,
                  (out.width + WINOGRAD_TILE - 1) / WINOGRAD_TILE};
}

static grid forward_grid(const nn_layer *layer) {
    return grid_of(layer->from, layer->to, layer->spec.padding);
}

static grid backward_grid(const nn_layer *layer) {
    return grid_of(layer->to, layer->from, WINOGRAD_FILTER - 1 - layer->spec.padding);
}

bool winograd_pays(const nn_layer *layer) {
    const nn_layer_spec *s = &layer->spec;
    grid g = grid_of(layer->from, layer->to, s->padding);
    size_t computed = g.high * g.wide * WINOGRAD_TILE * WINOGRAD_TILE,
           wanted = (size_t)layer->to.height * layer->to.width;
    return !layer->x_half && nn_is_plain(s) && s->kernel == WINOGRAD_FILTER && s->stride == 1 &&
           s->padding < WINOGRAD_FILTER && layer->from.channels % WINOGRAD_LANES == 0 &&
           layer->to.channels % WINOGRAD_LANES == 0 && layer->from.channels * layer->to.channels >= CHANNELS_PAY &&
           5 * computed <= 8 * wanted;
}

/* Where a tile lies: its first point, of an image of the batch. */
typedef struct place {
    size_t sample;
    ptrdiff_t row, column;
} place;

static place place_of(const grid *g, size_t tile) {
    size_t in_image = tile % (g->high * g->wide);
    return (place){tile / (g->high * g->wide), (ptrdiff_t)(in_image / g->wide * WINOGRAD_TILE),
                   (ptrdiff_t)(in_image % g->wide * WINOGRAD_TILE)};
}

/* The `side` x `side` points of image `shape` from (row, column) on, as a square with a stride of `side` points: where
 * they lie, or a copy in `edge` with zeroes around the image. */
static const float *square_at(const float *image, nn_shape shape, ptrdiff_t row, ptrdiff_t column, ptrdiff_t side,
                              float *edge, ptrdiff_t *stride) {
    ptrdiff_t width = shape.width, height = shape.height, channels = shape.channels;
    if (row >= 0 && column >= 0 && row + side <= height && column + side <= width) {
        *stride = width * channels;
        return image + (row * width + column) * channels;
    }
    for (ptrdiff_t i = 0; i < side; i++) {
        for (ptrdiff_t j = 0; j < side; j++) {
            ptrdiff_t a = row + i, b = column + j;
            bool inside = a >= 0 && a < height && b >= 0 && b < width;
            float *to = edge + (i * side + j) * channels;
            if (inside) {
                memcpy(to, image + (a * width + b) * channels, (size_t)channels * sizeof(float));
            } else {
                memset(to, 0, (size_t)channels * sizeof(float));
            }
        }
    }
    *stride = side * channels;
    return edge;
}

/* A task's memory. */
typedef struct room {
    float *v, *m, *edge; /* [WINOGRAD_PLACES, chunk, channels] twice; [WINOGRAD_PATCH, WINOGRAD_PATCH, channels] */
} room;

static size_t widest(const nn_layer *layer) {
    return layer->from.channels > layer->to.channels ? layer->from.channels : layer->to.channels;
}

static size_t room_floats(const nn_layer *layer, size_t chunk) {
    return WINOGRAD_PLACES * (chunk * (layer->from.channels + layer->to.channels) + widest(layer));
}

static room room_in(const nn_layer *layer, void *scratch, size_t chunk, size_t inputs) {
    float *v = scratch, *m = v + WINOGRAD_PLACES * chunk * inputs;
    return (room){v, m, v + room_floats(layer, chunk) - WINOGRAD_PLACES * widest(layer)};
}

/* V of tiles [first, first + count). Backwards the patches are read from their far corners. */
static void fill_v(const grid *g, const float *x, size_t first, size_t count, size_t chunk, bool back, room *r) {
    size_t channels = g->in.channels;
    for (size_t t = 0; t < count; t++) {
        place p = place_of(g, first + t);
        const float *image = x + p.sample * g->in.height * g->in.width * channels;
        ptrdiff_t row, column = (ptrdiff_t)channels;
        const float *d =
            square_at(image, g->in, p.row - g->padding, p.column - g->padding, WINOGRAD_PATCH, r->edge, &row);
        if (back) {
            d += (WINOGRAD_PATCH - 1) * (row + column);
            row = -row;
            column = -column;
        }
        winograd_patch(d, row, column, channels, r->v + t * channels, chunk * channels);
    }
}

/* Tiles [first, first + count) of y from M. */
static void empty_m(const grid *g, float *y, size_t first, size_t count, size_t chunk, const float *bias, bool relu,
                    bool back, room *r) {
    ptrdiff_t channels = (ptrdiff_t)g->out.channels, width = (ptrdiff_t)g->out.width;
    for (size_t t = 0; t < count; t++) {
        place p = place_of(g, first + t);
        float *at = y + (((ptrdiff_t)p.sample * g->out.height + p.row) * width + p.column) * channels;
        size_t rows = p.row + WINOGRAD_TILE <= (ptrdiff_t)g->out.height ? WINOGRAD_TILE : 1;
        size_t columns = p.column + WINOGRAD_TILE <= width ? WINOGRAD_TILE : 1;
        bool is_whole = rows == WINOGRAD_TILE && columns == WINOGRAD_TILE;
        float *to = is_whole ? at : r->edge;
        ptrdiff_t row = (is_whole ? width : WINOGRAD_TILE) * channels, column = channels;
        float *corner = back ? to + row + column : to;
        winograd_tile(r->m + (ptrdiff_t)t * channels, chunk * (size_t)channels, (size_t)channels, bias, relu, corner,
                      back ? -row : row, back ? -column : column);
        for (size_t i = 0; !is_whole && i < rows; i++) {
            memcpy(at + (ptrdiff_t)i * width * channels, to + (ptrdiff_t)i * row,
                   columns * (size_t)channels * sizeof(float));
        }
    }
}

/* Products. */

static err make_job(nn_layer *layer, onednn_primitive *job, onednn_stream *w, product_kind kind, size_t tiles) {
    size_t inputs = layer->from.channels, outputs = layer->to.channels;
    onednn_matmul p = {.batch = WINOGRAD_PLACES};
    if (kind == FORWARD) {
        p.m = tiles, p.n = outputs, p.k = inputs;
    } else if (kind == BACKWARD) {
        p.m = tiles, p.n = inputs, p.k = outputs;
        p.b.is_transposed = true;
    } else {
        p.m = inputs, p.n = outputs, p.k = tiles;
        p.a.is_transposed = true;
        p.adds = kind == GRADIENT_ADDED;
    }
    return onednn_matmul_init(job, w, &p);
}

/* How many of `left` tiles go into the next chunk, and for how many it has room: the smallest size that takes them all,
 * or the largest. */
typedef struct chunk {
    size_t count, room;
    products *products;
} chunk;

static chunk next_chunk(winograd *w, size_t part, size_t left) {
    products *p = w->sizes[part];
    size_t i = 0;
    while (i + 1 < SIZES && p[i + 1].tiles >= left) {
        i++;
    }
    return (chunk){left < p[i].tiles ? left : p[i].tiles, p[i].tiles, &p[i]};
}

static void multiply(nn_layer *layer, size_t part, const chunk *c, product_kind kind, const float *a, const float *b,
                     float *to) {
    winograd *w = layer->own;
    onednn_primitive *job = &c->products->jobs[kind];
    const onednn_operand operands[] = {{DNNL_ARG_SRC, a}, {DNNL_ARG_WEIGHTS, b}, {DNNL_ARG_DST, to}};
    err failed = job->primitive ? ERR_OK : make_job(layer, job, &w->workers[part], kind, c->room);
    if (failed) {
        onednn_primitive_free(job);
    } else {
        failed = onednn_run(job, &w->workers[part], operands, 3);
    }
    nn_layer_note(layer, failed);
}

/* y = x by U, or dx = dy by U^T, of one part. */
static void convolve(const nn_call *call, size_t part, const grid *g, const float *x, float *y, size_t rows,
                     bool back) {
    nn_layer *layer = call->layer;
    const winograd *w = layer->own;
    const float *bias = back || layer->spec.no_bias ? NULL : layer->tensors[BIAS].value;
    size_t tiles = rows * g->high * g->wide;
    void *scratch = scratch_pool_take(layer->scratch_pool);
    for (size_t first = 0; first < tiles;) {
        chunk c = next_chunk(layer->own, part, tiles - first);
        room r = room_in(layer, scratch, c.room, g->in.channels);
        fill_v(g, x, first, c.count, c.room, back, &r);
        multiply(layer, part, &c, back ? BACKWARD : FORWARD, r.v, w->blocks[0], r.m);
        empty_m(g, y, first, c.count, c.room, bias, layer->relu && !back, back, &r);
        first += c.count;
    }
    scratch_pool_give(layer->scratch_pool, scratch);
}

static void forward_task(void *context, size_t part) {
    const nn_call *call = context;
    nn_rows r = nn_rows_part(call->layer, call->rows, call->parts, part);
    grid g = forward_grid(call->layer);
    convolve(call, part, &g, r.x, r.y, r.count, false);
}

static void winograd_forward(nn_layer *layer, const nn_rows *r) {
    nn_run_parts(layer, r, forward_task);
}

static void backward_task(void *context, size_t part) {
    const nn_call *call = context;
    nn_rows r = nn_rows_part(call->layer, call->rows, call->parts, part);
    grid g = backward_grid(call->layer);
    if (call->layer->relu) {
        nn_relu_gradient(r.count * call->layer->out, r.y, r.dy, r.dy, false);
    }
    if (r.dx) {
        convolve(call, part, &g, r.dy, r.dx, r.count, true);
    }
}

static void winograd_backward(nn_layer *layer, const nn_rows *r) {
    winograd *w = layer->own;
    w->parts_used = nn_parts(layer, r->count);
    nn_run_parts(layer, r, backward_task);
}

/* dM of tiles [first, first + count). */
static void fill_m(const grid *g, const float *dy, size_t first, size_t count, size_t chunk, room *r) {
    size_t channels = g->out.channels;
    for (size_t t = 0; t < count; t++) {
        place p = place_of(g, first + t);
        const float *image = dy + p.sample * g->out.height * g->out.width * channels;
        ptrdiff_t row;
        const float *d = square_at(image, g->out, p.row, p.column, WINOGRAD_TILE, r->edge, &row);
        winograd_tile_gradient(d, row, (ptrdiff_t)channels, channels, r->m + t * channels, chunk * channels);
    }
}

/* Tiles that a chunk has room for but that are not there count for nothing. */
static void clear_rest(float *numbers, size_t count, size_t chunk, size_t channels) {
    for (size_t i = 0; i < WINOGRAD_PLACES && count < chunk; i++) {
        memset(numbers + (i * chunk + count) * channels, 0, (chunk - count) * channels * sizeof(float));
    }
}

VECTOR_VERSIONS
static void sum_bias(size_t channels, const float *restrict dy, size_t points, float *restrict sum) {
    memset(sum, 0, channels * sizeof(float));
    for (size_t p = 0; p < points; p++) {
        for (size_t c = 0; c < channels; c++) {
            sum[c] += dy[p * channels + c];
        }
    }
}

static void winograd_update(nn_layer *layer, const nn_rows *all, const nn_optimiser *o, size_t part) {
    (void)o;
    const winograd *w = layer->own;
    if (part >= w->parts_used) {
        return;
    }
    nn_rows rows = nn_rows_part(layer, all, w->parts_used, part);
    grid g = forward_grid(layer);
    size_t tiles = rows.count * g.high * g.wide, inputs = g.in.channels, outputs = g.out.channels;
    void *scratch = scratch_pool_take(layer->scratch_pool);
    for (size_t first = 0; first < tiles;) {
        chunk c = next_chunk(layer->own, part, tiles - first);
        room r = room_in(layer, scratch, c.room, inputs);
        fill_v(&g, rows.x, first, c.count, c.room, false, &r);
        fill_m(&g, rows.dy, first, c.count, c.room, &r);
        clear_rest(r.v, c.count, c.room, inputs);
        clear_rest(r.m, c.count, c.room, outputs);
        multiply(layer, part, &c, first == 0 ? GRADIENT : GRADIENT_ADDED, r.v, r.m, w->blocks[part]);
        first += c.count;
    }
    scratch_pool_give(layer->scratch_pool, scratch);
    if (!layer->spec.no_bias) {
        sum_bias(outputs, rows.dy, rows.count * layer->to.height * layer->to.width, nn_bias_part(layer, part));
    }
}

enum { OUTPUT_TASKS = 2 };

/* The outputs of a task: whole vectors of them. */
static size_t first_output(const nn_layer *layer, size_t task) {
    return nn_part(layer->to.channels / WINOGRAD_LANES, OUTPUT_TASKS, task) * WINOGRAD_LANES;
}

static void prepare_task(void *context, size_t task) {
    const nn_call *call = context;
    const winograd *w = call->layer->own;
    winograd_filters(call->layer->tensors[WEIGHT].value, call->layer->from.channels, call->layer->to.channels,
                     first_output(call->layer, task), first_output(call->layer, task + 1), w->blocks[0]);
}

static void winograd_prepare(nn_layer *layer) {
    nn_call call = {.layer = layer};
    thread_pool_run(layer->pool, prepare_task, &call, OUTPUT_TASKS);
}

/* Where the optimiser takes the gradient at once, that of WINOGRAD_LANES outputs at a time lies in scratch memory, and
 * stays in the cache. */
static void finish_task(void *context, size_t task) {
    const nn_call *call = context;
    const nn_layer *layer = call->layer;
    const winograd *w = layer->own;
    nn_tensor *weight = &call->layer->tensors[WEIGHT];
    size_t inputs = layer->from.channels, from = first_output(layer, task), to = first_output(layer, task + 1);
    const float *other = w->parts_used == 2 ? w->blocks[1] : NULL;
    size_t numbers = inputs * WINOGRAD_TAPS; /* an output's */
    void *scratch = scratch_pool_take(layer->scratch_pool);
    for (size_t at = from; at < to; at += WINOGRAD_LANES) {
        float *gradient = call->o ? scratch : weight->gradient + at * numbers;
        winograd_filter_gradient(w->blocks[0], other, inputs, layer->to.channels, at, gradient);
        if (call->o) {
            nn_optimiser_apply_from(call->o, weight, at * numbers, WINOGRAD_LANES * numbers, gradient);
        }
    }
    scratch_pool_give(layer->scratch_pool, scratch);
}

static void winograd_finish(nn_layer *layer, const nn_optimiser *o) {
    const winograd *w = layer->own;
    if (!layer->trains) {
        return;
    }
    nn_call call = {.layer = layer, .o = o};
    thread_pool_run(layer->pool, finish_task, &call, OUTPUT_TASKS);
    nn_finish_bias(layer, w->parts_used, o);
}

/* Making one. */

static void winograd_free(nn_layer *layer) {
    winograd *w = layer->own;
    for (size_t part = 0; w && part < NN_PARTS_MAX; part++) {
        for (size_t i = 0; i < SIZES * PRODUCT_KINDS; i++) {
            onednn_primitive_free(&w->sizes[part][i / PRODUCT_KINDS].jobs[i % PRODUCT_KINDS]);
        }
        onednn_stream_free(&w->workers[part]);
        free(w->blocks[part]);
    }
    free(w);
}

static int compare_sizes(const void *one, const void *other) {
    size_t a = ((const products *)one)->tiles, b = ((const products *)other)->tiles;
    return a < b ? 1 : a > b ? -1 : 0;
}

/* A chunk has as many tiles as V and M have room for. What is left of a part of the largest batch has a size of its
 * own, forwards and backwards; smaller batches are to waste less than they would otherwise. */
static void choose_sizes(const nn_layer *layer, products sizes[SIZES]) {
    grid forward = forward_grid(layer), backward = backward_grid(layer);
    size_t rows = (layer->max_rows + nn_parts(layer, layer->max_rows) - 1) / nn_parts(layer, layer->max_rows);
    size_t fits = CHUNK_BYTES / sizeof(float) / WINOGRAD_PLACES / (layer->from.channels + layer->to.channels);
    size_t largest = fits < CHUNK_MAX ? fits : CHUNK_MAX;
    size_t there = rows * forward.high * forward.wide, back = rows * backward.high * backward.wide;
    const size_t tiles[SIZES] = {there >= largest || back >= largest ? largest : 1, there % largest, back % largest,
                                 largest / 4, largest / 16};
    for (size_t i = 0; i < SIZES; i++) {
        sizes[i].tiles = tiles[i] > 0 ? tiles[i] : 1;
    }
    qsort(sizes, SIZES, sizeof sizes[0], compare_sizes);
}

static err make_part(nn_layer *layer, size_t part) {
    winograd *w = layer->own;
    choose_sizes(layer, w->sizes[part]);
    scratch_pool_want(layer->scratch_pool, room_floats(layer, w->sizes[part][0].tiles) * sizeof(float));
    scratch_pool_want(layer->scratch_pool, WINOGRAD_LANES * WINOGRAD_TAPS * layer->from.channels * sizeof(float));
    err failed = onednn_stream_init(&w->workers[part]);
    if (failed || (part > 0 && !layer->trains)) {
        return failed;
    }
    size_t numbers = WINOGRAD_PLACES * (size_t)layer->from.channels * layer->to.channels;
    size_t bytes = (numbers * sizeof(float) + PAGE - 1) / PAGE * PAGE;
    w->blocks[part] = aligned_alloc(PAGE, bytes);
    layer->own_bytes += bytes;
    return w->blocks[part] ? ERR_OK : err_fail(ERR_MEMORY, "no memory for %zu bytes of weights", bytes);
}

static const nn_layer_ops winograd_ops = {
    .init = nn_init_filters,
    .prepare = winograd_prepare,
    .forward = winograd_forward,
    .backward = winograd_backward,
    .update = winograd_update,
    .finish = winograd_finish,
    .free = winograd_free,
};

err winograd_make(nn_layer *layer) {
    layer->ops = &winograd_ops;
    winograd *w = calloc(1, sizeof *w);
    if (!w) {
        return err_fail(ERR_MEMORY, "no memory for a convolution");
    }
    layer->own = w;
    err failed = ERR_OK;
    for (size_t part = 0; part < nn_parts(layer, layer->max_rows) && !failed; part++) {
        failed = make_part(layer, part);
    }
    return err_prefix(failed, "%s", layer->spec.name);
}
