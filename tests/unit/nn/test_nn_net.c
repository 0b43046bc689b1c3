/* Nets as a whole: how they begin, that the numbers depend on nothing but the inputs, and what the presets
 * describe. */
#include "nn/graph_build.h"
#include "nn/layers/layers.h"
#include "nn/net.h"
#include "nn/presets/presets.h"
#include "nn/shape_infer.h"
#include "tests/lib/nets.h"

#include <cblas.h>
#include <math.h>
#include <stdio.h>

/* Every kind of layer, a dense pair, and layers large enough to be cut into tasks. */
static const nn_spec everything = {
    301,
    {{.kind = NN_DENSE, .name = "a", .outputs = 300},
     {.kind = NN_RELU, .name = "b"},
     {.kind = NN_DENSE, .name = "c", .outputs = 5},
     {.kind = NN_BATCH_NORM, .name = "d"},
     {.kind = NN_SIGMOID, .name = "e"},
     {.kind = NN_RESIGMOID, .name = "f"},
     {.kind = NN_BINARIZE, .name = "g"},
     {.kind = NN_DENSE, .name = "h", .outputs = 40},
     {.kind = NN_DENSE, .name = "i", .outputs = 260},
     {.kind = NN_RELU, .name = "j"},
     {.kind = NN_DENSE, .name = "k", .outputs = 7}},
    11,
};

enum { MOST_ROWS = 16, STEPS = 3 };

/* Initial parameters. */

static void assert_uniform(const nn_tensor *t, float bound) {
    double sum = 0, squares = 0, largest = 0;
    for (size_t i = 0; i < t->count; i++) {
        double v = (double)t->value[i];
        sum += v;
        squares += v * v;
        largest = fmax(largest, fabs(v));
    }
    double n = (double)t->count, limit = (double)bound, deviation = limit / sqrt(3);
    assert_true(largest <= limit);
    if (t->count >= 1000) { /* five deviations of a mean of n, and of a variance of n */
        assert_true(largest > 0.99 * limit);
        assert_true(fabs(sum / n) < 5 * deviation / sqrt(n));
        assert_true(fabs(squares / n / (deviation * deviation) - 1) < 5 * sqrt(0.8 / n));
    } else {
        assert_true(largest > 0.3 * limit);
    }
}

static void init_draws_as_torch_does(void **state) {
    (void)state;
    nn_net *net = make_net(&everything, MOST_ROWS, NULL);
    nn_net_init(net, 1, 1);
    const struct {
        const char *layer;
        float inputs;
    } dense[] = {{"a", 301}, {"c", 300}, {"h", 5}, {"i", 40}, {"k", 260}};
    for (size_t i = 0; i < sizeof dense / sizeof dense[0]; i++) {
        char name[NN_NAME_MAX];
        snprintf(name, sizeof name, "%s.weight", dense[i].layer);
        assert_uniform(tensor_named(net, name), 1.0f / sqrtf(dense[i].inputs));
        snprintf(name, sizeof name, "%s.bias", dense[i].layer);
        assert_uniform(tensor_named(net, name), 1.0f / sqrtf(dense[i].inputs));
    }
    for (size_t f = 0; f < 5; f++) {
        assert_true(tensor_named(net, "d.weight")->value[f] == 1.0f);
        assert_true(tensor_named(net, "d.bias")->value[f] == 0.0f);
        assert_true(tensor_named(net, "d.running_mean")->value[f] == 0.0f);
        assert_true(tensor_named(net, "d.running_var")->value[f] == 1.0f);
    }
    nn_net_free(net);
}

static void init_forgets_what_was_trained(void **state) {
    (void)state;
    nn_net *used = make_net(&everything, MOST_ROWS, NULL), *fresh = make_net(&everything, MOST_ROWS, NULL);
    float *x = random_floats(1, MOST_ROWS * 301, -1, 1), *dy = random_floats(2, MOST_ROWS * 7, -1, 1);
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.01f};
    nn_net_init(used, 3, 4);
    train_step(used, x, dy, MOST_ROWS, &o);
    nn_net_init(used, 1, 2);
    nn_net_init(fresh, 1, 2);
    for (size_t i = 0; i < nn_net_tensor_count(used); i++) { /* a gradient is no state */
        const nn_tensor *t = nn_net_tensor(used, i);
        if (t->is_parameter) {
            memset(t->gradient, 0, t->count * sizeof(float));
        }
    }
    assert_same_tensors(used, fresh);
    free(x);
    free(dy);
    nn_net_free(used);
    nn_net_free(fresh);
}

static double correlation(const nn_tensor *t, const nn_tensor *u) {
    double product = 0, first = 0, second = 0;
    for (size_t i = 0; i < t->count; i++) {
        product += (double)t->value[i] * (double)u->value[i];
        first += (double)t->value[i] * (double)t->value[i];
        second += (double)u->value[i] * (double)u->value[i];
    }
    return product / sqrt(first * second);
}

static void streams_and_seeds_are_independent(void **state) {
    (void)state;
    const struct {
        uint64_t seed;
        uint32_t stream;
    } draws[] = {{1, rng_stream(RNG_INIT_HEAD, 0)},
                 {1, rng_stream(RNG_INIT_ENCODER, 0)},
                 {1, rng_stream(RNG_INIT_ENCODER, 1)},
                 {2, rng_stream(RNG_INIT_ENCODER, 1)},
                 {1ull << 32, rng_stream(RNG_INIT_ENCODER, 1)}};
    enum { DRAWS = sizeof draws / sizeof draws[0] };
    nn_net *nets[DRAWS];
    for (size_t i = 0; i < DRAWS; i++) {
        nets[i] = make_net(&everything, MOST_ROWS, NULL);
        nn_net_init(nets[i], draws[i].seed, draws[i].stream);
        nn_net_init(nets[i], draws[i].seed, draws[i].stream); /* where it began must not matter */
        const nn_tensor *t = tensor_named(nets[i], "a.weight");
        for (size_t k = 0; k < i; k++) {
            assert_true(fabs(correlation(t, tensor_named(nets[k], "a.weight"))) < 5 / sqrt((double)t->count));
        }
    }
    for (size_t i = 0; i < DRAWS; i++) {
        nn_net_free(nets[i]);
    }
}

/* Two dense layers in a row begin with the same numbers, whether a batch is large enough to pair them or not.
 */
static void init_does_not_depend_on_the_batch(void **state) {
    (void)state;
    const nn_spec spec = {
        4, {{.kind = NN_DENSE, .name = "a", .outputs = 40}, {.kind = NN_DENSE, .name = "b", .outputs = 50}}, 2};
    assert_true(nn_dense_pair_pays(64, 4, 40, 50) && !nn_dense_pair_pays(1, 4, 40, 50));
    nn_net *small = make_net(&spec, 1, NULL), *large = make_net(&spec, 64, NULL);
    nn_net_init(small, 5, 6);
    nn_net_init(large, 5, 6);
    assert_same_tensors(small, large);
    nn_net_free(small);
    nn_net_free(large);
}

/* The same bits, whoever computes. */

typedef struct outcome {
    nn_net *net;
    float y[STEPS][MOST_ROWS * 7], dx[STEPS][MOST_ROWS * 301], evaluated[MOST_ROWS * 7];
} outcome;

typedef void (*update_function)(nn_net *net, const nn_optimiser *o);

static void train_some(outcome *out, thread_pool *l, nn_optimiser o, update_function update) {
    memset(out, 0, sizeof *out);
    out->net = make_net(&everything, MOST_ROWS, l);
    nn_net_init(out->net, 8, 9);
    for (uint32_t step = 0; step < STEPS; step++) {
        size_t rows = MOST_ROWS - 3 * step;
        float *x = random_floats(20 + step, rows * 301, -1, 1), *dy = random_floats(30 + step, rows * 7, -1, 1);
        memcpy(out->y[step], nn_net_forward(out->net, x, rows, NN_TRAIN), rows * 7 * sizeof(float));
        memcpy(out->dx[step], nn_net_backward(out->net, dy), rows * 301 * sizeof(float));
        nn_optimiser_begin(&o);
        update(out->net, &o);
        free(x);
        free(dy);
    }
    float *x = random_floats(40, MOST_ROWS * 301, -1, 1);
    memcpy(out->evaluated, nn_net_forward(out->net, x, MOST_ROWS, NN_EVALUATE), sizeof out->evaluated);
    free(x);
}

static void assert_same_outcome(const outcome *a, const outcome *b) {
    assert_same_tensors(a->net, b->net);
    assert_memory_equal(a->y, b->y, sizeof a->y);
    assert_memory_equal(a->dx, b->dx, sizeof a->dx);
    assert_memory_equal(a->evaluated, b->evaluated, sizeof a->evaluated);
}

static const nn_optimiser optimisers[] = {{.kind = NN_ADAM, .learning_rate = 0.01f},
                                          {.kind = NN_SGD, .learning_rate = 0.01f, .momentum = 0.9f}};

static outcome reference, other;

static void lanes_do_not_change_the_numbers(void **state) {
    (void)state;
    assert_true(nn_dense_tasks(301, 300) > 1 && nn_dense_pair_pays(MOST_ROWS, 5, 40, 260));
    for (size_t k = 0; k < 2; k++) {
        train_some(&reference, NULL, optimisers[k], nn_net_update);
        for (size_t count = 1; count <= 4; count++) {
            for (int spin = 0; spin < 2; spin++) {
                thread_pool *l;
                assert_int_equal(thread_pool_new(&l, count, spin), ERR_OK);
                train_some(&other, l, optimisers[k], nn_net_update);
                assert_same_outcome(&reference, &other);
                nn_net_free(other.net);
                thread_pool_free(l);
            }
        }
        nn_net_free(reference.net);
    }
}

static void update_backwards(nn_net *net, const nn_optimiser *o) {
    for (size_t task = nn_net_update_tasks(net); task-- > 0;) {
        nn_net_update_task(net, o, task);
    }
    nn_net_update_finish(net, o);
}

static void update_shuffled(nn_net *net, const nn_optimiser *o) {
    uint32_t order[64];
    size_t tasks = nn_net_update_tasks(net);
    assert_in_range(tasks, 1, 64);
    for (size_t i = 0; i < tasks; i++) {
        order[i] = (uint32_t)i;
    }
    rng draws = rng_at(o->step, rng_stream(RNG_TEST, 0), 0);
    rng_shuffle(&draws, order, tasks);
    for (size_t i = 0; i < tasks; i++) {
        nn_net_update_task(net, o, order[i]);
    }
    nn_net_update_finish(net, o);
}

/* First all gradients, then the optimiser on whole tensors. */
static void update_in_two_passes(nn_net *net, const nn_optimiser *o) {
    nn_net_update(net, NULL);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        if (t->is_parameter) {
            nn_optimiser_apply(o, t, 0, t->count);
        }
    }
}

static void updates_in_pieces_are_the_same(void **state) {
    (void)state;
    const update_function ways[] = {update_backwards, update_shuffled, update_in_two_passes};
    for (size_t k = 0; k < 2; k++) {
        train_some(&reference, NULL, optimisers[k], nn_net_update);
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            train_some(&other, NULL, optimisers[k], ways[w]);
            assert_same_outcome(&reference, &other);
            nn_net_free(other.net);
        }
        nn_net_free(reference.net);
    }
}

/* An update without an optimiser leaves gradients only; tasks of tensors' parts do not count twice. */
static void gradients_alone_change_nothing(void **state) {
    (void)state;
    nn_net *net = make_net(&everything, MOST_ROWS, NULL), *untouched = make_net(&everything, MOST_ROWS, NULL);
    fill_tensors(net, 10);
    fill_tensors(untouched, 10);
    float *x = random_floats(1, MOST_ROWS * 301, -1, 1), *dy = random_floats(2, MOST_ROWS * 7, -1, 1);
    train_step(net, x, dy, MOST_ROWS, NULL);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        const nn_tensor *t = nn_net_tensor(net, i), *u = nn_net_tensor(untouched, i);
        if (t->is_parameter) {
            assert_memory_equal(t->value, u->value, t->count * sizeof(float));
            memcpy(u->gradient, t->gradient, t->count * sizeof(float));
        }
    }
    nn_net_update(net, NULL);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        if (t->is_parameter) {
            assert_memory_equal(t->gradient, nn_net_tensor(untouched, i)->gradient, t->count * sizeof(float));
        }
    }
    free(x);
    free(dy);
    nn_net_free(net);
    nn_net_free(untouched);
}

/* Frozen nets answer as others do, and what ends the promise ends it. */

static void assert_evaluates_alike(nn_net *a, nn_net *b, size_t rows) {
    float *x = random_floats(11, rows * 301, -1, 1);
    const float *first = nn_net_forward(a, x, rows, NN_EVALUATE), *second = nn_net_forward(b, x, rows, NN_EVALUATE);
    assert_memory_equal(first, second, rows * 7 * sizeof(float));
    free(x);
}

static void frozen_nets_answer_alike(void **state) {
    (void)state;
    nn_net *frozen = make_net(&everything, MOST_ROWS, NULL), *plain = make_net(&everything, MOST_ROWS, NULL);
    float *x = random_floats(1, MOST_ROWS * 301, -1, 1), *dy = random_floats(2, MOST_ROWS * 7, -1, 1);
    nn_net_init(frozen, 1, 1);
    nn_net_init(plain, 1, 1);
    nn_net_freeze(frozen);
    assert_evaluates_alike(frozen, plain, MOST_ROWS);
    assert_evaluates_alike(frozen, plain, 1);
    nn_net_init(frozen, 2, 1); /* other weights end it */
    nn_net_init(plain, 2, 1);
    assert_evaluates_alike(frozen, plain, 3);
    nn_net_freeze(frozen); /* training ends it */
    nn_optimiser first = optimisers[0], second = optimisers[0];
    train_step(frozen, x, dy, MOST_ROWS, &first);
    train_step(plain, x, dy, MOST_ROWS, &second);
    assert_evaluates_alike(frozen, plain, 3);
    assert_same_tensors(frozen, plain);
    nn_net_freeze(frozen); /* and thawing, after a change by hand */
    fill_tensors(plain, 12);
    fill_tensors(frozen, 12);
    assert_evaluates_alike(frozen, plain, 3);
    free(x);
    free(dy);
    nn_net_free(frozen);
    nn_net_free(plain);
}

/* That the product of a dense pair's weights is not formed again can be seen by breaking the promise. */
static void frozen_pairs_keep_their_product(void **state) {
    (void)state;
    nn_net *net = make_net(&everything, MOST_ROWS, NULL), *twin = make_net(&everything, MOST_ROWS, NULL);
    nn_net_init(net, 1, 1);
    nn_net_init(twin, 1, 1);
    nn_net_freeze(net);
    tensor_named(net, "h.weight")->value[0] += 100;
    assert_evaluates_alike(net, twin, 3);
    nn_net_thaw(net);
    nn_net_freeze(net);
    tensor_named(twin, "h.weight")->value[0] += 100;
    assert_evaluates_alike(net, twin, 3);
    nn_net_free(net);
    nn_net_free(twin);
}

/* A net that only evaluates has no gradients and gives the same answers. */
static void evaluation_needs_no_training_memory(void **state) {
    (void)state;
    nn_net_options options = {.max_rows = MOST_ROWS};
    nn_net *lean, *full = make_net(&everything, MOST_ROWS, NULL);
    assert_int_equal(nn_net_new(&lean, &everything, &options), ERR_OK);
    nn_net_init(lean, 3, 3);
    nn_net_init(full, 3, 3);
    for (size_t i = 0; i < nn_net_tensor_count(lean); i++) {
        assert_null(nn_net_tensor(lean, i)->gradient);
        assert_null(nn_net_tensor(lean, i)->state[0]);
    }
    assert_int_equal(nn_net_inputs(lean), 301);
    assert_int_equal(nn_net_outputs(lean), 7);
    assert_evaluates_alike(lean, full, MOST_ROWS);
    nn_net_free(lean);
    nn_net_free(full);
}

static void without_input_gradient_there_is_none(void **state) {
    (void)state;
    nn_net_options options = {.max_rows = MOST_ROWS, .training = true};
    nn_net *lean, *full = make_net(&everything, MOST_ROWS, NULL);
    assert_int_equal(nn_net_new(&lean, &everything, &options), ERR_OK);
    fill_tensors(lean, 4);
    fill_tensors(full, 4);
    float *x = random_floats(1, 5 * 301, -1, 1), *dy = random_floats(2, 5 * 7, -1, 1);
    train_step(lean, x, dy, 5, NULL);
    train_step(full, x, dy, 5, NULL);
    assert_null(nn_net_backward(lean, dy));
    assert_same_tensors(lean, full);
    free(x);
    free(dy);
    nn_net_free(lean);
    nn_net_free(full);
}

static void impossible_nets_are_refused(void **state) {
    (void)state;
    nn_net *net = NULL;
    const nn_spec none = {5, {{.kind = NN_RELU, .name = "a"}}, 0}, narrow = {0, {{.kind = NN_RELU, .name = "a"}}, 1};
    const nn_spec many = {5, {{.kind = NN_RELU, .name = "a"}}, NN_LAYERS_MAX + 1},
                  fine = {5, {{.kind = NN_RELU, .name = "a"}}, 1};
    const nn_net_options rows = {.max_rows = 1}, no_rows = {.max_rows = 0};
    assert_int_equal(nn_net_new(&net, &none, &rows), ERR_INTERNAL);
    assert_int_equal(nn_net_new(&net, &narrow, &rows), ERR_INTERNAL);
    assert_int_equal(nn_net_new(&net, &many, &rows), ERR_INTERNAL);
    assert_int_equal(nn_net_new(&net, &fine, &no_rows), ERR_INTERNAL);
    assert_null(net);
    nn_net_free(NULL);
}

/* What the presets say. */

/* What a tensor must be; columns 0: a vector. */
typedef struct wanted_tensor {
    const char *name;
    uint32_t rows, columns;
} wanted_tensor;

static void assert_tensors(const nn_spec *spec, const wanted_tensor *wanted, size_t count) {
    nn_net *net = make_net(spec, 100, NULL);
    assert_int_equal(nn_net_tensor_count(net), count);
    for (size_t i = 0; i < count; i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        assert_string_equal(t->name, wanted[i].name);
        assert_int_equal(t->rank, wanted[i].columns ? 2 : 1);
        assert_int_equal(t->shape[0], wanted[i].rows);
        assert_int_equal(t->count, wanted[i].rows * (wanted[i].columns ? wanted[i].columns : 1));
        assert_true(!wanted[i].columns || t->shape[1] == wanted[i].columns);
        assert_int_equal(t->is_parameter, !strstr(t->name, "running"));
    }
    nn_net_free(net);
}

static void assert_kinds(const nn_spec *spec, const nn_kind *wanted, size_t count) {
    assert_int_equal(spec->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(spec->layers[i].kind, wanted[i]);
    }
}

static void encoders_are_numbered_as_in_torch(void **state) {
    (void)state;
    const wanted_tensor wanted[] = {
        {"encoder.0.weight", 200, 196},   {"encoder.0.bias", 200, 0},      {"encoder.2.weight", 4, 200},
        {"encoder.2.bias", 4, 0},         {"encoder.3.weight", 4, 0},      {"encoder.3.bias", 4, 0},
        {"encoder.3.running_mean", 4, 0}, {"encoder.3.running_var", 4, 0},
    };
    for (int i = 0; i < 8; i++) {
        bool norm = i & 1, steep = i & 2, straight = i & 4;
        const preset_encoder about = {.net = PRESET_SIMPLE_1D,
                                      .hidden = 200,
                                      .bits = 4,
                                      .batch_norm = norm,
                                      .activation = steep ? PRESET_RESIGMOID : PRESET_SIGMOID,
                                      .binarize = straight ? PRESET_STRAIGHT_THROUGH : PRESET_AFTER_TRAINING};
        nn_kind kinds[9] = {NN_DENSE, NN_RELU, NN_DENSE};
        size_t count = 3;
        if (norm) {
            kinds[count++] = NN_BATCH_NORM;
        }
        kinds[count++] = NN_SIGMOID;
        for (int r = 0; steep && r < 3; r++) {
            kinds[count++] = NN_RESIGMOID;
        }
        if (straight) {
            kinds[count++] = NN_BINARIZE;
        }
        nn_spec spec;
        memset(&spec, 0xff, sizeof spec);
        preset_describe_encoder(&about, NULL, (nn_shape){1, 1, 196}, &spec);
        assert_int_equal(spec.inputs, 196);
        assert_kinds(&spec, kinds, count);
        assert_tensors(&spec, wanted, norm ? 8 : 4);
    }
}

static const preset_head paper_head = {.hidden = 1000, .classes = 10, .portions = 4, .bits = 16, .sample = {1, 28, 28}};

static void heads_are_numbered_as_in_torch(void **state) {
    (void)state;
    const wanted_tensor wanted[] = {
        {"decoder.0.weight", 784, 16},  {"decoder.0.bias", 784, 0},        {"classifier.0.weight", 1000, 784},
        {"classifier.0.bias", 1000, 0}, {"classifier.2.weight", 10, 1000}, {"classifier.2.bias", 10, 0},
    };
    const nn_kind kinds[] = {NN_DENSE, NN_DENSE, NN_RELU, NN_DENSE};
    nn_spec spec;
    memset(&spec, 0xff, sizeof spec);
    preset_describe_head(&paper_head, &spec);
    assert_int_equal(spec.inputs, 16);
    assert_kinds(&spec, kinds, 4);
    assert_tensors(&spec, wanted, 6);
}

/* 196-200-4: forward 39,200 + 800, the gradients of the weights the same, and that of the hidden layer's 800;
 * with the gradient on the input 39,200 more. The head's 16-784-1000-10 has 806,544, three times. */
static void multiply_adds_by_hand(void **state) {
    (void)state;
    const preset_encoder about = {.net = PRESET_SIMPLE_1D, .hidden = 200, .bits = 4, .batch_norm = true};
    nn_spec spec;
    preset_describe_encoder(&about, NULL, (nn_shape){1, 1, 196}, &spec);
    assert_true(nn_spec_step_macs(&spec, 100, false) == 8080000);
    assert_true(nn_spec_step_macs(&spec, 100, true) == 12000000);
    assert_true(nn_spec_step_macs(&spec, 1, false) == 80800);
    preset_describe_head(&paper_head, &spec);
    assert_true(nn_spec_step_macs(&spec, 100, true) == 241963200);
}

/* Nothing of a net that has failed once is a number: it cannot be sent, served or saved for one. */
static void a_net_that_fails_puts_out_no_numbers(void **state) {
    (void)state;
    nn_net *net = make_net(&everything, MOST_ROWS, NULL);
    nn_net_init(net, 1, 1);
    float *x = random_floats(1, MOST_ROWS * 301, -1, 1), *dy = random_floats(2, MOST_ROWS * 7, -1, 1);
    nn_layer_note(&net->layers[0], ERR_OK);
    assert_true(isfinite(nn_net_forward(net, x, MOST_ROWS, NN_TRAIN)[0]));
    nn_layer_note(&net->layers[0], err_fail(ERR_MEMORY, "no memory, says the test"));
    const float *y = nn_net_forward(net, x, MOST_ROWS, NN_TRAIN), *dx = nn_net_backward(net, dy);
    for (size_t i = 0; i < MOST_ROWS * 7; i++) {
        assert_true(isnan(y[i]));
    }
    for (size_t i = 0; i < MOST_ROWS * 301; i++) {
        assert_true(isnan(dx[i]));
    }
    nn_net_update(net, NULL);
    assert_true(isnan(nn_net_tensor(net, 0)->value[0]));
    free(x);
    free(dy);
    nn_net_free(net);
}

int main(void) {
    openblas_set_num_threads(1); /* as the programs do */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(init_draws_as_torch_does),
        cmocka_unit_test(init_forgets_what_was_trained),
        cmocka_unit_test(streams_and_seeds_are_independent),
        cmocka_unit_test(init_does_not_depend_on_the_batch),
        cmocka_unit_test(lanes_do_not_change_the_numbers),
        cmocka_unit_test(updates_in_pieces_are_the_same),
        cmocka_unit_test(gradients_alone_change_nothing),
        cmocka_unit_test(frozen_nets_answer_alike),
        cmocka_unit_test(frozen_pairs_keep_their_product),
        cmocka_unit_test(evaluation_needs_no_training_memory),
        cmocka_unit_test(without_input_gradient_there_is_none),
        cmocka_unit_test(impossible_nets_are_refused),
        cmocka_unit_test(encoders_are_numbered_as_in_torch),
        cmocka_unit_test(heads_are_numbered_as_in_torch),
        cmocka_unit_test(multiply_adds_by_hand),
        cmocka_unit_test(a_net_that_fails_puts_out_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
