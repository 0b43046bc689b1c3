/* Layers of images: each against its definition in double and against central differences; what is fixed, what is
 * dropped. */
#include "tests/lib/image_nets.h"
#include "tests/lib/naive_net.h"
#include "tests/lib/slopes.h"

#include <cblas.h>

/* Nets and the batches they run on. */
typedef struct net_case {
    const char *name;
    size_t max_rows, rows;
    nn_spec spec;
} net_case;

static const net_case cases[] = {
    {"strided, padded, uneven", 8, 5, {189, LAYERS(IMAGE(3, 7, 9), CONVOLUTION("a", 5, 3, 2, 1), FLATTEN), 3}},
    {"two and ReLUs",
     4,
     3,
     {189,
      LAYERS(IMAGE(3, 7, 9), CONVOLUTION("a", 5, 3, 2, 1), A(NN_RELU), CONVOLUTION("b", 4, 2, 1, 0), A(NN_RELU),
             FLATTEN, DENSE("c", 3)),
      7}},
    {"whole image, one channel, one pixel out",
     3,
     3,
     {25, LAYERS(IMAGE(1, 5, 5), CONVOLUTION("a", 7, 5, 3, 0), FLATTEN), 3}},
    {"1x1", 3, 1, {24, LAYERS(IMAGE(6, 2, 2), CONVOLUTION_NO_BIAS("a", 17, 1, 1, 0), FLATTEN), 3}},
    {"norm behind a convolution",
     6,
     5,
     {126,
      LAYERS(IMAGE(2, 9, 7), CONVOLUTION_NO_BIAS("a", 7, 3, 1, 1), NORM("b"), A(NN_RELU),
             CONVOLUTION_NO_BIAS("c", 3, 1, 2, 0), NORM_PLAIN("d"), FLATTEN),
      7}},
    {"ReLU, then norm",
     6,
     5,
     {126, LAYERS(IMAGE(2, 9, 7), CONVOLUTION("a", 7, 3, 1, 1), A(NN_RELU), NORM("b"), FLATTEN), 5}},
    {"norm of one channel", 5, 3, {30, LAYERS(IMAGE(1, 5, 6), NORM("a"), A(NN_SIGMOID), FLATTEN), 4}},
    {"max pool 2", 3, 3, {105, LAYERS(IMAGE(3, 7, 5), POOL(NN_MAX_POOL, 2, 2, 0), FLATTEN), 3}},
    {"max pool 2 and ReLU", 3, 3, {105, LAYERS(IMAGE(3, 7, 5), POOL(NN_MAX_POOL, 2, 2, 0), A(NN_RELU), FLATTEN), 4}},
    {"max pool 3/2", 3, 3, {198, LAYERS(IMAGE(2, 11, 9), POOL(NN_MAX_POOL, 3, 2, 0), FLATTEN), 3}},
    {"max pool 3/2, padded, 70 channels",
     2,
     1,
     {6930, LAYERS(IMAGE(70, 11, 9), POOL(NN_MAX_POOL, 3, 2, 1), FLATTEN), 3}},
    {"max pool 2/3, padded", 3, 3, {198, LAYERS(IMAGE(2, 11, 9), POOL(NN_MAX_POOL, 2, 3, 1), A(NN_RELU), FLATTEN), 4}},
    {"average pool 3/2, padded", 3, 3, {198, LAYERS(IMAGE(2, 11, 9), POOL(NN_AVERAGE_POOL, 3, 2, 1), FLATTEN), 3}},
    {"average pool 2/3", 3, 2, {198, LAYERS(IMAGE(2, 11, 9), POOL(NN_AVERAGE_POOL, 2, 3, 0), FLATTEN), 3}},
    {"adaptive from 1", 3, 3, {67, LAYERS(IMAGE(67, 1, 1), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 6, 6), FLATTEN), 3}},
    {"adaptive from 13x7", 3, 3, {182, LAYERS(IMAGE(2, 13, 7), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 6, 6), FLATTEN), 3}},
    {"adaptive from 3x5", 3, 3, {45, LAYERS(IMAGE(3, 3, 5), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 6, 6), FLATTEN), 3}},
    {"adaptive to 1", 3, 3, {105, LAYERS(IMAGE(3, 7, 5), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 1, 1), FLATTEN), 3}},
    {"twice as large", 3, 3, {60, LAYERS(IMAGE(3, 4, 5), RESIZE(NN_UPSAMPLE, 8, 10), FLATTEN), 3}},
    {"four times as large", 3, 3, {45, LAYERS(IMAGE(3, 5, 3), RESIZE(NN_UPSAMPLE, 20, 12), FLATTEN), 3}},
    {"eight times as large", 3, 3, {48, LAYERS(IMAGE(3, 4, 4), RESIZE(NN_UPSAMPLE, 32, 32), FLATTEN), 3}},
    {"resized unevenly", 3, 3, {45, LAYERS(IMAGE(1, 9, 5), RESIZE(NN_UPSAMPLE, 7, 13), FLATTEN), 3}},
    {"1 Channel Conv",
     8,
     5,
     {1024,
      LAYERS(IMAGE(1, 32, 32), CONVOLUTION("a", 6, 5, 1, 0), POOL(NN_MAX_POOL, 2, 2, 0), A(NN_RELU),
             CONVOLUTION("b", 16, 5, 1, 0), POOL(NN_MAX_POOL, 2, 2, 0), A(NN_RELU), FLATTEN, DENSE("c", 84), A(NN_RELU),
             DENSE("d", 12), NORM("e"), A(NN_SIGMOID)),
      13}},
    {"residual blocks",
     7,
     5,
     {144,
      LAYERS(IMAGE(4, 6, 6), CONVOLUTION("a", 6, 3, 1, 1), A(NN_RESIDUAL), CONVOLUTION_NO_BIAS("b", 6, 3, 1, 1),
             NORM("c"), A(NN_RELU), CONVOLUTION_NO_BIAS("d", 6, 3, 1, 1), NORM("e"), A(NN_SHORTCUT), A(NN_JOIN),
             A(NN_RELU), A(NN_RESIDUAL), CONVOLUTION_NO_BIAS("f", 9, 3, 2, 1), NORM("g"), A(NN_RELU),
             CONVOLUTION_NO_BIAS("h", 9, 3, 1, 1), NORM("i"), A(NN_SHORTCUT), CONVOLUTION_NO_BIAS("j", 9, 1, 2, 0),
             NORM("k"), A(NN_JOIN), A(NN_RELU), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 1, 1), FLATTEN, DENSE("l", 5)),
      25}},
    {"a block at the input, ReLUs at its ends",
     3,
     3,
     {144,
      LAYERS(IMAGE(4, 6, 6), A(NN_RESIDUAL), CONVOLUTION("a", 4, 3, 1, 1), A(NN_RELU), A(NN_SHORTCUT),
             CONVOLUTION("b", 4, 3, 1, 1), A(NN_RELU), A(NN_JOIN), FLATTEN),
      9}},
    {"a block with an empty main path, one that begins with a norm",
     3,
     3,
     {144,
      LAYERS(IMAGE(4, 6, 6), A(NN_RESIDUAL), A(NN_SHORTCUT), CONVOLUTION("a", 4, 3, 1, 1), A(NN_JOIN), A(NN_RESIDUAL),
             NORM("b"), A(NN_RELU), A(NN_SHORTCUT), A(NN_JOIN), NORM("c"), FLATTEN),
      12}},
    {"3x3 by tiles, padded, uneven",
     6,
     5,
     {2016, LAYERS(IMAGE(32, 9, 7), CONVOLUTION("a", 48, 3, 1, 1), A(NN_RELU), FLATTEN, DENSE("b", 3)), 5}},
    {"3x3 by tiles, not padded, without bias",
     7,
     2,
     {2048, LAYERS(IMAGE(32, 8, 8), CONVOLUTION_NO_BIAS("a", 32, 3, 1, 0), NORM("b"), A(NN_RELU), FLATTEN), 5}},
    {"3x3 by tiles, padded by 2", 3, 3, {2240, LAYERS(IMAGE(64, 5, 7), CONVOLUTION("a", 32, 3, 1, 2), FLATTEN), 3}},
    {"3x3 by tiles, many of them",
     9,
     9,
     {6272,
      LAYERS(IMAGE(32, 14, 14), CONVOLUTION("a", 32, 3, 1, 1), A(NN_SIGMOID), CONVOLUTION("b", 32, 3, 1, 1), FLATTEN),
      5}},
    {"in two parts, with an odd number of rows",
     17,
     15,
     {6400,
      LAYERS(IMAGE(16, 20, 20), CONVOLUTION("a", 16, 3, 1, 1), NORM("b"), A(NN_RELU), POOL(NN_MAX_POOL, 2, 2, 0),
             RESIZE(NN_UPSAMPLE, 20, 20), A(NN_RESIDUAL), CONVOLUTION("c", 16, 3, 1, 1), A(NN_RELU), A(NN_SHORTCUT),
             A(NN_JOIN), A(NN_RELU), POOL(NN_AVERAGE_POOL, 3, 2, 1), FLATTEN, DENSE("d", 7)),
      15}},
    {"windows that are uneven, with gaps, of groups",
     6,
     5,
     {540,
      LAYERS(IMAGE(6, 9, 10), SLIDING(NN_CONVOLUTION, "a", 8, 2, (3, 2, 1, 1), (2, 1, 3, 2)), A(NN_SIGMOID),
             SLIDING(NN_CONVOLUTION, "b", 8, 8, (2, 1, 0, 1), (3, 2, 1, 1)), A(NN_RELU),
             SLIDING(NN_CONVOLUTION, "c", 16, 8, (3, 1, 1, 1), (0, 0, 0, 0)), FLATTEN),
      7}},
    {"pools that are uneven",
     4,
     3,
     {378,
      LAYERS(IMAGE(3, 9, 14), SLIDING(NN_MAX_POOL, "", 0, 0, (2, 1, 0, 0), (3, 2, 0, 0)),
             SLIDING(NN_MAX_POOL, "", 0, 0, (1, 1, 0, 0), (3, 2, 1, 0)),
             SLIDING(NN_AVERAGE_POOL, "", 0, 0, (3, 2, 1, 0), (1, 1, 0, 0)), FLATTEN),
      5}},
    {"lines",
     9,
     7,
     {200,
      LAYERS(IMAGE(8, 1, 25), LINE("a", 16, 1, (5, 2, 2, 1)), NORM("b"), A(NN_RELU), LINE("c", 16, 16, (3, 1, 4, 4)),
             SLIDING(NN_MAX_POOL, "", 0, 0, (1, 1, 0, 0), (3, 2, 1, 0)), LINE("d", 4, 4, (4, 1, 0, 1)), A(NN_SIGMOID),
             RESIZE(NN_UPSAMPLE, 1, 7), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 1, 3), FLATTEN),
      11}},
    {"smooth ones and layer norms",
     6,
     5,
     {180,
      LAYERS(IMAGE(5, 6, 6), A(NN_TANH), CONVOLUTION_NO_BIAS("a", 7, 3, 1, 0), LAYER_NORM("b"), A(NN_GELU),
             CONVOLUTION("c", 6, 1, 1, 0), A(NN_SILU), LAYER_NORM_PLAIN("d"), FLATTEN, DENSE("e", 33), LAYER_NORM("f"),
             A(NN_GELU), DENSE("g", 9), A(NN_TANH), LAYER_NORM_PLAIN("h")),
      15}},
    {"a layer norm in parts",
     17,
     15,
     {6400, LAYERS(IMAGE(16, 20, 20), LAYER_NORM("a"), A(NN_SILU), CONVOLUTION("b", 3, 3, 2, 1), FLATTEN), 5}},
    {"blocks within blocks",
     5,
     3,
     {144,
      LAYERS(IMAGE(4, 6, 6), A(NN_RESIDUAL), A(NN_RESIDUAL), CONVOLUTION("a", 4, 3, 1, 1), A(NN_RELU), A(NN_RESIDUAL),
             CONVOLUTION("b", 4, 3, 1, 1), A(NN_SHORTCUT), A(NN_JOIN), A(NN_RELU), A(NN_SHORTCUT),
             CONVOLUTION("c", 4, 1, 1, 0), A(NN_JOIN), A(NN_RELU), A(NN_SHORTCUT), NORM("d"), A(NN_RESIDUAL),
             CONVOLUTION("e", 4, 3, 1, 1), A(NN_RELU), A(NN_SHORTCUT), A(NN_JOIN), A(NN_RELU), A(NN_JOIN), A(NN_RELU),
             FLATTEN),
      25}},
    {"images and rows in turn",
     5,
     5,
     {6,
      LAYERS(DENSE("a", 54), IMAGE(6, 3, 3), CONVOLUTION("b", 8, 3, 1, 1), NORM("c"), A(NN_RELU), FLATTEN,
             DENSE("d", 36), A(NN_RELU), IMAGE(1, 6, 6), CONVOLUTION("e", 2, 3, 1, 1), A(NN_RELU), FLATTEN,
             DENSE("f", 3)),
      13}},
};

enum { CASES = sizeof cases / sizeof cases[0] };

static const net_case *case_named(const char *name) {
    size_t i = 0;
    while (strcmp(cases[i].name, name) != 0) {
        assert_true(++i < CASES);
    }
    return &cases[i];
}

/* Numbers. */

/* -1 … 1 in steps of 2/n, shuffled: no two are closer. */
static float *spaced_floats(uint32_t stream, size_t n) {
    uint32_t *order = malloc(n * sizeof *order);
    float *numbers = malloc(n * sizeof *numbers);
    assert_true(order && numbers);
    rng draws = rng_at(7, rng_stream(RNG_TEST, stream), 0);
    for (size_t i = 0; i < n; i++) {
        order[i] = (uint32_t)i;
    }
    rng_shuffle(&draws, order, n);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = (2.0f * (float)order[i] + 1.0f) / (float)n - 1.0f;
    }
    free(order);
    return numbers;
}

/* Against the definitions. */

/* Within what sums of single-precision numbers of this size may lose; `scale` is their size where they cancel out. */
static void assert_near(const char *of, const char *what, const float *have, const double *wanted, size_t n,
                        double scale) {
    double largest = scale;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(wanted[i]));
    }
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)have[i] - wanted[i]) <= 1e-5 * largest)) {
            fail_msg("%s: %s[%zu] is %.9g, not %.9g", of, what, i, (double)have[i], wanted[i]);
        }
    }
}

/* A tenth of what is added up for a number of the bias of layer `at`, signs aside. */
static double gradient_size(const naive_net *n, size_t at) {
    const naive_layer *l = &n->layers[at];
    double sum = 0;
    for (size_t i = 0; i < n->rows * naive_out(l); i++) {
        sum += fabs(l->dy[i]);
    }
    return 0.1 * sum / (double)l->channels;
}

static void assert_same_gradients(const char *of, const naive_net *naive, nn_net *net) {
    for (size_t at = 0, next = 0; at < naive->count; at++) {
        const naive_layer *l = &naive->layers[at];
        const double *gradients[] = {l->dweight, l->dbias};
        for (size_t k = 0; k < 2; k++) {
            if (!gradients[k]) {
                continue;
            }
            const nn_tensor *t = nn_net_tensor(net, next++);
            if (l->spec->fixed) {
                assert_null(t->gradient);
            } else {
                assert_near(of, t->name, t->gradient, gradients[k], t->count, gradient_size(naive, at));
            }
        }
        if (l->spec->kind == NN_BATCH_NORM) {
            const nn_tensor *mean = nn_net_tensor(net, next++), *variance = nn_net_tensor(net, next++);
            assert_near(of, mean->name, mean->value, l->mean, mean->count, 0);
            assert_near(of, variance->name, variance->value, l->variance, variance->count, 0);
        }
    }
}

/* What tasks find in their scratch must not matter. */
static void poison_workspace(nn_net *net) {
    if (scratch_pool_bytes(net->scratch_pool) > 0) {
        void *scratch = scratch_pool_take(net->scratch_pool);
        memset(scratch, 0xff, scratch_pool_bytes(net->scratch_pool)); /* not a number */
        scratch_pool_give(net->scratch_pool, scratch);
    }
}

static void check_against_naive(const net_case *c, size_t rows, bool input_gradient, thread_pool *l) {
    nn_net *net = make_net_with(
        &c->spec,
        (nn_net_options){.max_rows = c->max_rows, .training = true, .input_gradient = input_gradient, .pool = l});
    leave_traces(net, c->max_rows);
    fill_scaled(net);
    naive_net *naive = naive_net_new(&c->spec, net, rows);
    size_t inputs = rows * nn_net_inputs(net), outputs = rows * nn_net_outputs(net);
    float *x = random_floats(3, inputs, -1, 1), *dy = random_floats(4, outputs, -1, 1);
    assert_near(c->name, "evaluated", nn_net_forward(net, x, rows, NN_EVALUATE), naive_forward(naive, x, false),
                outputs, 0);
    assert_near(c->name, "y", nn_net_forward(net, x, rows, NN_TRAIN), naive_forward(naive, x, true), outputs, 0);
    const float *dx = nn_net_backward(net, dy);
    const double *wanted = naive_backward(naive, dy);
    if (input_gradient) {
        assert_near(c->name, "dx", dx, wanted, inputs, 0);
    } else {
        assert_null(dx);
    }
    poison_workspace(net);
    nn_net_update(net, NULL);
    assert_same_gradients(c->name, naive, net);
    free(x);
    free(dy);
    naive_net_free(naive);
    nn_net_free(net);
}

static void layers_are_their_definitions(void **state) {
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        check_against_naive(&cases[i], cases[i].rows, true, NULL);
        check_against_naive(&cases[i], cases[i].rows, false, NULL);
        check_against_naive(&cases[i], cases[i].max_rows, true, NULL);
    }
}

static void parts_are_their_definitions(void **state) {
    (void)state;
    const net_case *c = case_named("in two parts, with an odd number of rows");
    nn_net *net = make_net(&c->spec, c->max_rows, NULL);
    assert_true(in_parts(net, c->rows) && c->rows % 2 == 1);
    assert_false(in_parts(net, 1));
    nn_net_free(net);
    thread_pool *l;
    assert_int_equal(thread_pool_new(&l, 2, false), ERR_OK);
    check_against_naive(c, c->rows, true, l);
    check_against_naive(c, 2, true, l);
    thread_pool_free(l);
}

/* Of equals the first point of a window is the largest, as in torch. */
static void equals_go_to_the_first(void **state) {
    (void)state;
    const uint32_t channels[] = {3, 20, 70}, steps[] = {2, 1};
    for (size_t i = 0; i < 6; i++) {
        uint32_t c = channels[i / 2], step = steps[i % 2];
        nn_spec spec = {c * 16, LAYERS(IMAGE(c, 4, 4), POOL(NN_MAX_POOL, 2, step, 0), FLATTEN), 3};
        nn_net *net = make_net(&spec, 2, NULL);
        float *x = random_floats(1, 2 * c * 16, 0.5f, 0.5f);
        float *dy = random_floats(2, 2 * nn_net_outputs(net), 1, 1);
        nn_net_forward(net, x, 2, NN_TRAIN);
        const float *dx = nn_net_backward(net, dy);
        for (size_t k = 0; k < 2 * c * 16; k++) {
            size_t row = k / 4 % 4, column = k % 4;
            bool is_first = row % step == 0 && column % step == 0 && row < 3 && column < 3;
            assert_true(dx[k] == (is_first ? 1.0f : 0.0f));
        }
        free(x);
        free(dy);
        nn_net_free(net);
    }
}

/* Central differences. */

/* Nets without kinks near the numbers they are tried with. */
static void check_gradients(const nn_spec *spec, size_t max_rows, size_t rows, float step) {
    nn_net *net = make_net(spec, max_rows, NULL);
    leave_traces(net, max_rows);
    fill_scaled(net);
    size_t inputs = rows * nn_net_inputs(net), outputs = rows * nn_net_outputs(net);
    trial t = {.net = net, .rows = rows, .step = step};
    t.x = spaced_floats(2, inputs);
    t.weights = random_floats(3, outputs, -1, 1);
    nn_net_set_step(net, 1, 2, 3);
    nn_net_forward(net, t.x, rows, NN_TRAIN);
    const float *dx = nn_net_backward(net, t.weights);
    nn_net_update(net, NULL);
    float *gradient = malloc(inputs * sizeof *gradient);
    assert_non_null(gradient);
    memcpy(gradient, dx, inputs * sizeof *gradient);
    check_slopes(&t, 1e-3, "input", t.x, gradient, inputs);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *tensor = nn_net_tensor(net, i);
        if (tensor->is_parameter) {
            check_slopes(&t, 1e-3, tensor->name, tensor->value, tensor->gradient, tensor->count);
        }
    }
    free(gradient);
    free(t.x);
    free(t.weights);
    nn_net_free(net);
}

static void gradients_are_slopes(void **state) {
    (void)state;
    const nn_spec smooth[] = {
        {70, LAYERS(IMAGE(2, 7, 5), CONVOLUTION("a", 3, 3, 2, 1), A(NN_SIGMOID), CONVOLUTION("b", 2, 2, 1, 0), FLATTEN),
         5},
        {70, LAYERS(IMAGE(2, 7, 5), CONVOLUTION_NO_BIAS("a", 3, 2, 1, 1), NORM("b"), A(NN_SIGMOID), FLATTEN), 5},
        {70, LAYERS(IMAGE(2, 7, 5), POOL(NN_MAX_POOL, 3, 2, 1), FLATTEN), 3},
        {70, LAYERS(IMAGE(2, 7, 5), POOL(NN_MAX_POOL, 3, 2, 0), A(NN_RELU), FLATTEN), 4},
        {70, LAYERS(IMAGE(2, 7, 5), POOL(NN_AVERAGE_POOL, 3, 2, 1), FLATTEN), 3},
        {70, LAYERS(IMAGE(2, 7, 5), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 6, 6), FLATTEN), 3},
        {70, LAYERS(IMAGE(2, 7, 5), RESIZE(NN_UPSAMPLE, 9, 15), A(NN_SIGMOID), FLATTEN), 4},
        {70, LAYERS(IMAGE(2, 7, 5), DROPOUT(0.4f), FLATTEN, DROPOUT(0.2f), DENSE("a", 3)), 5},
        {70,
         LAYERS(IMAGE(2, 7, 5), A(NN_RESIDUAL), CONVOLUTION_NO_BIAS("a", 2, 3, 1, 1), A(NN_SIGMOID), A(NN_SHORTCUT),
                A(NN_JOIN), A(NN_RESIDUAL), NORM("b"), A(NN_SHORTCUT), CONVOLUTION("c", 2, 1, 1, 0), A(NN_JOIN),
                A(NN_SIGMOID), FLATTEN),
         13},
        {70, LAYERS(IMAGE(2, 7, 5), SLIDING(NN_CONVOLUTION, "a", 4, 2, (3, 2, 1, 2), (2, 1, 1, 1)), FLATTEN), 3},
        {70, LAYERS(IMAGE(2, 7, 5), SLIDING(NN_AVERAGE_POOL, "", 0, 0, (3, 1, 1, 0), (2, 2, 0, 0)), FLATTEN), 3},
        {70, LAYERS(IMAGE(7, 1, 10), LINE("a", 7, 7, (4, 2, 2, 1)), LINE("b", 3, 1, (3, 1, 0, 1)), FLATTEN), 4},
        {70, LAYERS(IMAGE(7, 2, 5), LAYER_NORM("a"), A(NN_GELU), FLATTEN, DENSE("b", 6), LAYER_NORM_PLAIN("c")), 6},
        {70, LAYERS(IMAGE(7, 2, 5), A(NN_TANH), LAYER_NORM("a"), A(NN_SILU), FLATTEN), 5},
        {70,
         LAYERS(A(NN_RESIDUAL), DENSE("a", 70), A(NN_RESIDUAL), A(NN_TANH), A(NN_SHORTCUT), A(NN_JOIN), A(NN_SHORTCUT),
                A(NN_RESIDUAL), DENSE("b", 70), A(NN_SHORTCUT), A(NN_JOIN), A(NN_JOIN), A(NN_SIGMOID)),
         13},
    };
    for (size_t i = 0; i < sizeof smooth / sizeof smooth[0]; i++) {
        check_gradients(&smooth[i], 5, 3, 1.0f / 512);
    }
}

/* Fixed layers. */

/* What stands below the decoder's dense layer is trained, what stands above is not. */
static const nn_spec half_fixed = {
    20,
    LAYERS(DENSE("decoder.0", 192), IMAGE(3, 8, 8), CONVOLUTION("decoder.1", 3, 3, 1, 1),
           {.kind = NN_CONVOLUTION, .name = "a", .outputs = 8, .kernel = 3, .stride = 1, .padding = 1, .fixed = true},
           {.kind = NN_BATCH_NORM, .name = "b", .no_affine = true, .fixed = true}, {.kind = NN_RELU, .fixed = true},
           {.kind = NN_MAX_POOL, .kernel = 2, .stride = 2, .fixed = true},
           {.kind = NN_CONVOLUTION, .name = "c", .outputs = 9, .kernel = 3, .stride = 1, .fixed = true},
           {.kind = NN_BATCH_NORM, .name = "d", .fixed = true}, {.kind = NN_RELU, .fixed = true},
           {.kind = NN_FLATTEN, .fixed = true}, {.kind = NN_DROPOUT, .rate = 0.5f, .fixed = true},
           {.kind = NN_DENSE, .name = "e", .outputs = 5, .fixed = true}),
    13,
};

/* The layers from `first` on. Naive nets know no dropout, which is nothing in a fixed layer. */
static nn_spec layers_from(const nn_spec *spec, size_t first, uint32_t inputs) {
    nn_spec rest = {.inputs = inputs};
    for (size_t i = first; i < spec->count; i++) {
        if (spec->layers[i].kind != NN_DROPOUT) {
            rest.layers[rest.count++] = spec->layers[i];
        }
    }
    return rest;
}

static void fixed_layers_pass_gradients_on(void **state) {
    (void)state;
    net_case c = {"half fixed", 7, 5, layers_from(&half_fixed, 0, 20)};
    check_against_naive(&c, 5, true, NULL);
    check_against_naive(&c, 7, false, NULL);
    c = (net_case){"all fixed", 7, 5, layers_from(&half_fixed, 3, 192)};
    c.spec.layers[0] = (nn_layer_spec)IMAGE(3, 8, 8);
    memmove(c.spec.layers + 1, half_fixed.layers + 3, 8 * sizeof(nn_layer_spec));
    c.spec.layers[9] = half_fixed.layers[12];
    c.spec.count = 10;
    check_against_naive(&c, 5, true, NULL);
    check_against_naive(&c, 5, false, NULL);
}

static void fixed_layers_stay_as_they_are(void **state) {
    (void)state;
    enum { ROWS = 5 };
    nn_net *net = make_net(&half_fixed, ROWS, NULL), *before = make_net(&half_fixed, ROWS, NULL);
    fill_scaled(net);
    fill_scaled(before);
    float *x = random_floats(1, ROWS * 20, -1, 1), *dy = random_floats(2, ROWS * 5, -1, 1);
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.01f};
    for (int step = 0; step < 3; step++) {
        train_step(net, x, dy, ROWS, &o);
    }
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        const nn_tensor *t = nn_net_tensor(net, i), *u = nn_net_tensor(before, i);
        bool is_decoder = strstr(t->name, "decoder");
        assert_int_equal(t->is_parameter, is_decoder);
        assert_int_equal(t->gradient != NULL && t->state[0] != NULL && t->state[1] != NULL, is_decoder);
        assert_int_equal(memcmp(t->value, u->value, t->count * sizeof(float)) != 0, is_decoder);
    }
    free(x);
    free(dy);
    nn_net_free(net);
    nn_net_free(before);
}

/* Below the lowest trained layer nothing runs backwards, and above nothing makes a gradient nobody wants. */
static void nothing_runs_back_for_nothing(void **state) {
    (void)state;
    nn_spec spec = {192,
                    LAYERS(IMAGE(3, 8, 8), CONVOLUTION("a", 8, 3, 1, 1), NORM("b"), A(NN_RELU),
                           CONVOLUTION("c", 9, 3, 1, 0), A(NN_RELU), FLATTEN, DENSE("d", 5)),
                    8};
    spec.layers[1].fixed = spec.layers[2].fixed = true;
    nn_net *net = make_net_with(&spec, (nn_net_options){.max_rows = 3, .training = true});
    assert_int_equal(net->count, 6); /* image, a, b and ReLU, c and ReLU, flatten, d */
    for (size_t i = 0; i < net->count; i++) {
        assert_int_equal(net->wiring[i].is_reached, i >= 3);
        assert_int_equal(net->layers[i].wants_dx, i >= 4);
        assert_int_equal(net->layers[i].update_tasks > 0, i == 3 || i == 5);
    }
    nn_net_free(net);
}

/* The layouts of fixed weights are kept from step to step; nn_net_thaw says that they changed. */
static void fixed_weights_may_change_after_thawing(void **state) {
    (void)state;
    enum { ROWS = 3 };
    nn_net *used = make_net(&half_fixed, ROWS, NULL), *fresh = make_net(&half_fixed, ROWS, NULL);
    nn_net_init(used, 1, 1);
    leave_traces(used, ROWS);
    fill_scaled(used);
    fill_scaled(fresh);
    float *x = random_floats(1, ROWS * 20, -1, 1);
    const float *y = nn_net_forward(used, x, ROWS, NN_TRAIN), *wanted = nn_net_forward(fresh, x, ROWS, NN_TRAIN);
    assert_memory_equal(y, wanted, ROWS * 5 * sizeof(float));
    free(x);
    nn_net_free(used);
    nn_net_free(fresh);
}

/* Dropout. */

enum { DROPPED_ROWS = 250, DROPPED = 400 };

static const nn_spec dropout = {DROPPED, LAYERS(DROPOUT(0.3f)), 1};

static float *dropped_ones(nn_net *net, size_t rows, uint64_t seed, uint32_t stream, uint32_t step) {
    float *ones = random_floats(0, rows * DROPPED, 1, 1);
    nn_net_set_step(net, seed, stream, step);
    memcpy(ones, nn_net_forward(net, ones, rows, NN_TRAIN), rows * DROPPED * sizeof(float));
    return ones;
}

static size_t count_zeroes(const float *numbers, size_t n) {
    size_t zeroes = 0;
    for (size_t i = 0; i < n; i++) {
        zeroes += numbers[i] == 0.0f;
    }
    return zeroes;
}

static void dropout_drops_and_scales(void **state) {
    (void)state;
    enum { N = DROPPED_ROWS * DROPPED };
    nn_net *net = make_net(&dropout, DROPPED_ROWS, NULL);
    float *y = dropped_ones(net, DROPPED_ROWS, 1, 2, 3);
    double share = (double)count_zeroes(y, N) / N;
    assert_true(fabs(share - 0.3) < 5 * sqrt(0.21 / N)); /* five deviations */
    for (size_t i = 0; i < N; i++) {
        assert_true(y[i] == 0.0f || fabsf(y[i] - 1 / 0.7f) < 1e-6f);
    }
    float *dy = random_floats(1, N, 2, 3);
    const float *dx = nn_net_backward(net, dy);
    for (size_t i = 0; i < N; i++) {
        assert_true(dx[i] == (y[i] == 0.0f ? 0.0f : dy[i] * y[i]));
    }
    const float *evaluated = nn_net_forward(net, dy, DROPPED_ROWS, NN_EVALUATE);
    assert_memory_equal(evaluated, dy, N * sizeof(float));
    free(y);
    free(dy);
    nn_net_free(net);
}

/* How often two masks agree, of N; independent ones do 58 % of the time. */
static size_t count_alike(const float *a, const float *b, size_t n) {
    size_t alike = 0;
    for (size_t i = 0; i < n; i++) {
        alike += (a[i] == 0.0f) == (b[i] == 0.0f);
    }
    return alike;
}

static void dropout_depends_on_its_key_alone(void **state) {
    (void)state;
    enum { ROWS = 25, N = ROWS * DROPPED };
    const nn_spec later = {DROPPED, LAYERS(A(NN_BINARIZE), DROPOUT(0.3f)), 2};
    nn_net *net = make_net(&dropout, DROPPED_ROWS, NULL), *other = make_net(&later, ROWS, NULL);
    float *first = dropped_ones(net, ROWS, 1, 2, 3);
    float *others[] = {dropped_ones(net, ROWS, 2, 2, 3), dropped_ones(net, ROWS, 1, 3, 3),
                       dropped_ones(net, ROWS, 1, 2, 4), dropped_ones(other, ROWS, 1, 2, 3),
                       dropped_ones(net, ROWS, 1ull << 32 | 1, 2, 3)};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        double share = (double)count_alike(first, others[i], N) / N;
        assert_true(fabs(share - 0.58) < 5 * sqrt(0.25 / N));
        free(others[i]);
    }
    float *again = dropped_ones(net, ROWS, 1, 2, 3), *longer = dropped_ones(net, DROPPED_ROWS, 1, 2, 3);
    assert_memory_equal(first, again, N * sizeof(float));
    assert_memory_equal(first, longer, N * sizeof(float));
    free(first);
    free(again);
    free(longer);
    nn_net_free(net);
    nn_net_free(other);
}

int main(void) {
    openblas_set_num_threads(1); /* as the programs do */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_their_definitions),   cmocka_unit_test(parts_are_their_definitions),
        cmocka_unit_test(equals_go_to_the_first),         cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(fixed_layers_pass_gradients_on), cmocka_unit_test(fixed_layers_stay_as_they_are),
        cmocka_unit_test(nothing_runs_back_for_nothing),  cmocka_unit_test(fixed_weights_may_change_after_thawing),
        cmocka_unit_test(dropout_drops_and_scales),       cmocka_unit_test(dropout_depends_on_its_key_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
