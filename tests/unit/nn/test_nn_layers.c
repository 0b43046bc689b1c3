/* Layers: every gradient against central differences, every forward pass against its definition in double. */
#include "nn/layer.h"
#include "nn/layers/layers.h"
#include "tests/lib/nets.h"
#include "tests/lib/slopes.h"

#include <math.h>
#include <stdio.h>

/* Central differences. */

static float *copy_of(const float *numbers, size_t n) {
    float *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, numbers, n * sizeof *copy);
    return copy;
}

static void leave_traces(nn_net *net, size_t rows) {
    float *x = random_floats(50, rows * nn_net_inputs(net), -2, 2);
    float *dy = random_floats(51, rows * nn_net_outputs(net), -2, 2);
    train_step(net, x, dy, rows, NULL);
    free(x);
    free(dy);
}

typedef struct gradient_case {
    nn_spec spec;
    size_t max_rows, rows;
    float x_low, x_high;
    float step;
    const char *flat; /* a tensor that cannot matter: a bias that batch norm takes away again */
} gradient_case;

/* Batch norm of two rows and more; a larger batch before must leave nothing behind. */
static void check_gradients(const gradient_case *c) {
    nn_net *net = make_net(&c->spec, c->max_rows, NULL);
    fill_tensors(net, 1);
    leave_traces(net, c->max_rows);
    size_t inputs = c->rows * nn_net_inputs(net), outputs = c->rows * nn_net_outputs(net);
    trial t = {.net = net, .rows = c->rows, .step = c->step};
    t.x = random_floats(2, inputs, c->x_low, c->x_high);
    t.weights = random_floats(3, outputs, -1, 1);
    nn_net_forward(net, t.x, c->rows, NN_TRAIN);
    const float *dx = nn_net_backward(net, t.weights);
    assert_non_null(dx);
    nn_net_update(net, NULL);
    float *gradient = copy_of(dx, inputs);
    check_slopes(&t, 3e-4, "input", t.x, gradient, inputs);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *tensor = nn_net_tensor(net, i);
        if (!tensor->is_parameter) {
            assert_null(tensor->gradient);
        } else if (c->flat && strcmp(tensor->name, c->flat) == 0) {
            for (size_t k = 0; k < tensor->count; k++) {
                assert_true(fabsf(tensor->gradient[k]) < 1e-5f);
            }
        } else {
            check_slopes(&t, 3e-4, tensor->name, tensor->value, tensor->gradient, tensor->count);
        }
    }
    free(gradient);
    free(t.x);
    free(t.weights);
    nn_net_free(net);
}

static void gradients_of_dense(void **state) {
    (void)state;
    const gradient_case cases[] = {
        {{7, {{.kind = NN_DENSE, .name = "a", .outputs = 3}}, 1}, 6, 5, -1, 1, 1.0f / 64, NULL},
        {{1, {{.kind = NN_DENSE, .name = "a", .outputs = 1}}, 1}, 3, 1, -1, 1, 1.0f / 64, NULL},
        {{13, {{.kind = NN_DENSE, .name = "a", .outputs = 11}}, 1}, 9, 9, -1, 1, 1.0f / 64, NULL},
        {{5, {{.kind = NN_DENSE, .name = "a", .outputs = 3}, {.kind = NN_DENSE, .name = "b", .outputs = 7}}, 2},
         4,
         3,
         -1,
         1,
         1.0f / 64,
         NULL},
    };
    assert_false(nn_dense_pair_pays(4, 5, 3, 7));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_gradients(&cases[i]);
    }
}

static void gradients_of_a_dense_pair(void **state) {
    (void)state;
    const gradient_case alone = {
        {3, {{.kind = NN_DENSE, .name = "a", .outputs = 17}, {.kind = NN_DENSE, .name = "b", .outputs = 13}}, 2},
        9,
        5,
        -1,
        1,
        1.0f / 64,
        NULL};
    const gradient_case in_a_chain = {{3,
                                       {{.kind = NN_SIGMOID, .name = "s"},
                                        {.kind = NN_DENSE, .name = "a", .outputs = 17},
                                        {.kind = NN_DENSE, .name = "b", .outputs = 13},
                                        {.kind = NN_SIGMOID, .name = "t"},
                                        {.kind = NN_DENSE, .name = "c", .outputs = 2}},
                                       5},
                                      9,
                                      7,
                                      -1,
                                      1,
                                      1.0f / 128,
                                      NULL};
    assert_true(nn_dense_pair_pays(9, 3, 17, 13));
    check_gradients(&alone);
    check_gradients(&in_a_chain);
}

/* Numbers on one side of the kink, then on the other. */
static void gradients_of_relu(void **state) {
    (void)state;
    const gradient_case cases[] = {
        {{5, {{.kind = NN_RELU, .name = "a"}}, 1}, 8, 7, 0.1f, 1, 1.0f / 64, NULL},
        {{7,
          {{.kind = NN_DENSE, .name = "a", .outputs = 5},
           {.kind = NN_RELU, .name = "b"},
           {.kind = NN_DENSE, .name = "c", .outputs = 3}},
          3},
         4,
         3,
         -1,
         1,
         1.0f / 1024,
         NULL},
    };
    check_gradients(&cases[0]);
    check_gradients(&cases[1]);
    nn_net *net = make_net(&cases[0].spec, 8, NULL);
    float x[5] = {-1, -0.1f, 0, 0.1f, 1};
    const float dy[5] = {3, 3, 3, 3, 3}, wanted[5] = {0, 0, 0, 3, 3};
    nn_net_forward(net, x, 1, NN_TRAIN);
    assert_memory_equal(nn_net_backward(net, dy), wanted, sizeof wanted); /* torch too gives 0 at the kink */
    nn_net_free(net);
}

static void gradients_of_batch_norm(void **state) {
    (void)state;
    const gradient_case cases[] = {
        {{3, {{.kind = NN_BATCH_NORM, .name = "a"}}, 1}, 11, 7, -1, 1, 1.0f / 128, NULL},
        {{1, {{.kind = NN_BATCH_NORM, .name = "a"}}, 1}, 5, 3, -1, 1, 1.0f / 128, NULL},
        {{5,
          {{.kind = NN_DENSE, .name = "a", .outputs = 3},
           {.kind = NN_BATCH_NORM, .name = "b"},
           {.kind = NN_SIGMOID, .name = "c"}},
          3},
         13,
         9,
         -1,
         1,
         1.0f / 128,
         "a.bias"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_gradients(&cases[i]);
    }
}

static void gradients_of_sigmoids(void **state) {
    (void)state;
    const gradient_case cases[] = {
        {{3, {{.kind = NN_SIGMOID, .name = "a"}}, 1}, 8, 5, -4, 4, 1.0f / 64, NULL},
        {{3, {{.kind = NN_RESIGMOID, .name = "a"}}, 1}, 8, 5, 0, 1, 1.0f / 1024, NULL},
        {{7,
          {{.kind = NN_DENSE, .name = "a", .outputs = 3},
           {.kind = NN_SIGMOID, .name = "b"},
           {.kind = NN_RESIGMOID, .name = "c"}},
          3},
         4,
         3,
         -0.4f,
         0.4f,
         1.0f / 512,
         NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_gradients(&cases[i]);
    }
}

/* Forward passes against their definitions. */

static double logistic(double x) {
    return 1.0 / (1.0 + exp(-x));
}

static void activations_are_what_they_say(void **state) {
    (void)state;
    enum { N = 37 };
    float *x = random_floats(4, N, -9, 9);
    x[0] = 1000, x[1] = -1000, x[2] = 0, x[3] = 0.5f, x[4] = -0.0f;
    for (nn_mode mode = NN_TRAIN; mode <= NN_EVALUATE; mode++) {
        const nn_kind kinds[] = {NN_RELU, NN_SIGMOID, NN_RESIGMOID};
        for (size_t k = 0; k < 3; k++) {
            nn_net *net = make_net(&(nn_spec){N, {{.kind = kinds[k], .name = "a"}}, 1}, 2, NULL);
            const float *y = nn_net_forward(net, x, 1, mode);
            for (size_t i = 0; i < N; i++) {
                double v = (double)x[i];
                double wanted = k == 0 ? fmax(v, 0) : k == 1 ? logistic(v) : logistic(14 * v - 7);
                assert_true(fabs((double)y[i] - wanted) <= 1e-6);
            }
            nn_net_free(net);
        }
    }
    free(x);
}

static void quantize_decides_in_training_only(void **state) {
    (void)state;
    const float x[6] = {0, 0.49f, 0.5f, 0.50000006f, 0.51f, 1}, hard[6] = {0, 0, 0, 1, 1, 1};
    const float dy[6] = {-3, 0.25f, 1e-20f, 7, -0.0f, 1e20f};
    nn_net *net = make_net(&(nn_spec){3, {{.kind = NN_BINARIZE, .name = "a"}}, 1}, 4, NULL);
    assert_memory_equal(nn_net_forward(net, x, 2, NN_EVALUATE), x, sizeof x);
    assert_memory_equal(nn_net_forward(net, x, 2, NN_TRAIN), hard, sizeof hard);
    assert_memory_equal(nn_net_backward(net, dy), dy, sizeof dy);
    nn_net_free(net);
}

/* Below the decision everything gets the gradient as if nothing had been decided. */
static void quantize_passes_the_gradient_straight(void **state) {
    (void)state;
    enum { ROWS = 5 };
    nn_spec spec = {7,
                    {{.kind = NN_DENSE, .name = "a", .outputs = 3},
                     {.kind = NN_SIGMOID, .name = "b"},
                     {.kind = NN_BINARIZE, .name = "c"}},
                    3};
    nn_net *with = make_net(&spec, ROWS, NULL);
    spec.count = 2;
    nn_net *without = make_net(&spec, ROWS, NULL);
    fill_tensors(with, 5);
    fill_tensors(without, 5);
    float *x = random_floats(6, ROWS * 7, -1, 1), *dy = random_floats(8, ROWS * 3, -1, 1);
    train_step(with, x, dy, ROWS, NULL);
    train_step(without, x, dy, ROWS, NULL);
    assert_same_tensors(with, without);
    assert_true(tensor_named(with, "a.weight")->gradient[0] != 0.0f);
    float *dx = copy_of(nn_net_backward(with, dy), ROWS * 7);
    assert_memory_equal(dx, nn_net_backward(without, dy), ROWS * 7 * sizeof(float));
    free(dx);
    free(x);
    free(dy);
    nn_net_free(with);
    nn_net_free(without);
}

/* Two dense layers in a row as plain loops in double. */

typedef struct naive_dense {
    size_t in, out;
    const float *weight, *bias;
    double *y, *dx, *dw, *db;
} naive_dense;

static naive_dense naive_from(nn_net *net, const char *layer, size_t rows) {
    char weight[NN_NAME_MAX], bias[NN_NAME_MAX];
    snprintf(weight, sizeof weight, "%s.weight", layer);
    snprintf(bias, sizeof bias, "%s.bias", layer);
    const nn_tensor *w = tensor_named(net, weight);
    naive_dense n = {w->shape[1], w->shape[0], w->value, tensor_named(net, bias)->value, NULL, NULL, NULL, NULL};
    n.y = calloc(rows * n.out, sizeof(double));
    n.dx = calloc(rows * n.in, sizeof(double));
    n.dw = calloc(n.out * n.in, sizeof(double));
    n.db = calloc(n.out, sizeof(double));
    assert_true(n.y && n.dx && n.dw && n.db);
    return n;
}

static void naive_free(naive_dense *n) {
    free(n->y);
    free(n->dx);
    free(n->dw);
    free(n->db);
}

static void naive_forward(naive_dense *n, const double *x, size_t rows) {
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = 0; o < n->out; o++) {
            double sum = (double)n->bias[o];
            for (size_t i = 0; i < n->in; i++) {
                sum += x[row * n->in + i] * (double)n->weight[o * n->in + i];
            }
            n->y[row * n->out + o] = sum;
        }
    }
}

static void naive_backward(naive_dense *n, const double *x, const double *dy, size_t rows) {
    for (size_t row = 0; row < rows; row++) {
        for (size_t o = 0; o < n->out; o++) {
            double d = dy[row * n->out + o];
            n->db[o] += d;
            for (size_t i = 0; i < n->in; i++) {
                n->dw[o * n->in + i] += d * x[row * n->in + i];
                n->dx[row * n->in + i] += d * (double)n->weight[o * n->in + i];
            }
        }
    }
}

static double *doubles(const float *numbers, size_t n) {
    double *copy = malloc(n * sizeof *copy);
    assert_non_null(copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = (double)numbers[i];
    }
    return copy;
}

/* Within what a sum of single-precision numbers of this size may lose. */
static void assert_near(const char *what, const float *have, const double *wanted, size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs(wanted[i]));
    }
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)have[i] - wanted[i]) <= 2e-6 * largest)) {
            fail_msg("%s[%zu] is %.9g, not %.9g", what, i, (double)have[i], wanted[i]);
        }
    }
}

static void check_against_naive(size_t in, size_t middle, size_t out, size_t max_rows, size_t rows) {
    nn_spec spec = {(uint32_t)in,
                    {{.kind = NN_DENSE, .name = "a", .outputs = (uint32_t)middle},
                     {.kind = NN_DENSE, .name = "b", .outputs = (uint32_t)out}},
                    2};
    nn_net *net = make_net(&spec, max_rows, NULL);
    fill_tensors(net, 9);
    leave_traces(net, max_rows);
    float *x = random_floats(10, rows * in, -1, 1), *dy = random_floats(11, rows * out, -1, 1);
    double *x2 = doubles(x, rows * in), *dy2 = doubles(dy, rows * out);
    naive_dense a = naive_from(net, "a", rows), b = naive_from(net, "b", rows);
    naive_forward(&a, x2, rows);
    naive_forward(&b, a.y, rows);
    naive_backward(&b, a.y, dy2, rows);
    naive_backward(&a, x2, b.dx, rows);
    assert_near("evaluated", nn_net_forward(net, x, rows, NN_EVALUATE), b.y, rows * out);
    assert_near("y", nn_net_forward(net, x, rows, NN_TRAIN), b.y, rows * out);
    assert_near("dx", nn_net_backward(net, dy), a.dx, rows * in);
    nn_net_update(net, NULL);
    assert_near("a.weight", tensor_named(net, "a.weight")->gradient, a.dw, middle * in);
    assert_near("a.bias", tensor_named(net, "a.bias")->gradient, a.db, middle);
    assert_near("b.weight", tensor_named(net, "b.weight")->gradient, b.dw, out * middle);
    assert_near("b.bias", tensor_named(net, "b.bias")->gradient, b.db, out);
    naive_free(&a);
    naive_free(&b);
    free(x);
    free(dy);
    free(x2);
    free(dy2);
    nn_net_free(net);
}

static void two_dense_layers_are_their_loops(void **state) {
    (void)state;
    assert_false(nn_dense_pair_pays(9, 259, 257, 31));
    check_against_naive(259, 257, 31, 9, 6); /* the first is large enough for two tasks */
    check_against_naive(3, 2, 5, 2, 1);
}

static void a_dense_pair_is_its_loops(void **state) {
    (void)state;
    assert_true(nn_dense_pair_pays(11, 3, 130, 301)); /* each half of 301 is a block and a rest */
    check_against_naive(3, 130, 301, 11, 6);
    check_against_naive(3, 130, 301, 11, 11);
    assert_true(nn_dense_pair_pays(100, 1, 40, 2));
    check_against_naive(1, 40, 2, 100, 1);
    assert_false(nn_dense_pair_pays(100, 1, 40, 1)); /* two tasks need two outputs */
    check_against_naive(1, 40, 1, 100, 5);
}

/* Batch norm. */

enum { FEATURES = 3 };

typedef struct running {
    double mean[FEATURES], variance[FEATURES];
} running;

/* PyTorch's rule: normalise with the biased variance, remember the unbiased one; momentum 0.1, epsilon 1e-5.
 */
static void naive_batch_norm(running *r, const float *x, size_t rows, const float *weight, const float *bias,
                             double *y) {
    for (size_t f = 0; f < FEATURES; f++) {
        double mean = 0, squares = 0;
        for (size_t row = 0; row < rows; row++) {
            mean += (double)x[row * FEATURES + f] / (double)rows;
        }
        for (size_t row = 0; row < rows; row++) {
            squares += pow((double)x[row * FEATURES + f] - mean, 2);
        }
        for (size_t row = 0; row < rows; row++) {
            double h = ((double)x[row * FEATURES + f] - mean) / sqrt(squares / (double)rows + 1e-5);
            y[row * FEATURES + f] = h * (double)weight[f] + (double)bias[f];
        }
        r->mean[f] = 0.9 * r->mean[f] + 0.1 * mean;
        r->variance[f] = 0.9 * r->variance[f] + 0.1 * squares / (double)(rows - 1);
    }
}

static void batch_norm_follows_torchs_rule(void **state) {
    (void)state;
    enum { MOST = 17 };
    nn_net *net = make_net(&(nn_spec){FEATURES, {{.kind = NN_BATCH_NORM, .name = "a"}}, 1}, MOST, NULL);
    fill_tensors(net, 12);
    const float *weight = tensor_named(net, "a.weight")->value, *bias = tensor_named(net, "a.bias")->value;
    const float *mean = tensor_named(net, "a.running_mean")->value, *var = tensor_named(net, "a.running_var")->value;
    running r;
    for (size_t f = 0; f < FEATURES; f++) {
        r.mean[f] = (double)mean[f], r.variance[f] = (double)var[f];
    }
    double y[MOST * FEATURES];
    for (uint32_t step = 0; step < 40; step++) {
        size_t rows = 2 + step % (MOST - 1);
        float *x = random_floats(100 + step, rows * FEATURES, -3, 5);
        naive_batch_norm(&r, x, rows, weight, bias, y);
        assert_near("y", nn_net_forward(net, x, rows, NN_TRAIN), y, rows * FEATURES);
        assert_near("running mean", mean, r.mean, FEATURES);
        assert_near("running variance", var, r.variance, FEATURES);
        free(x);
    }
    nn_net_free(net);
}

static void batch_norm_evaluates_with_what_it_remembers(void **state) {
    (void)state;
    enum { ROWS = 5 };
    nn_net *net = make_net(&(nn_spec){FEATURES, {{.kind = NN_BATCH_NORM, .name = "a"}}, 1}, ROWS, NULL);
    fill_tensors(net, 13);
    float *x = random_floats(14, ROWS * FEATURES, -3, 5);
    const nn_tensor *t[4] = {tensor_named(net, "a.weight"), tensor_named(net, "a.bias"),
                             tensor_named(net, "a.running_mean"), tensor_named(net, "a.running_var")};
    float *mean = copy_of(t[2]->value, FEATURES), *variance = copy_of(t[3]->value, FEATURES);
    double wanted[ROWS * FEATURES];
    for (size_t i = 0; i < ROWS * FEATURES; i++) {
        size_t f = i % FEATURES;
        double h = ((double)x[i] - (double)mean[f]) / sqrt((double)variance[f] + 1e-5);
        wanted[i] = h * (double)t[0]->value[f] + (double)t[1]->value[f];
    }
    assert_near("all", nn_net_forward(net, x, ROWS, NN_EVALUATE), wanted, ROWS * FEATURES);
    assert_near("one", nn_net_forward(net, x + 3 * FEATURES, 1, NN_EVALUATE), wanted + 3 * FEATURES, FEATURES);
    assert_memory_equal(t[2]->value, mean, sizeof(float) * FEATURES);
    assert_memory_equal(t[3]->value, variance, sizeof(float) * FEATURES);
    free(mean);
    free(variance);
    free(x);
    nn_net_free(net);
}

/* The last batch of an epoch may be one sample: it is its own mean, and nothing may become NaN. */
static void batch_norm_survives_a_batch_of_one(void **state) {
    (void)state;
    nn_net *net = make_net(&(nn_spec){FEATURES, {{.kind = NN_BATCH_NORM, .name = "a"}}, 1}, 4, NULL);
    fill_tensors(net, 15);
    const float x[FEATURES] = {3, -4, 0}, dy[FEATURES] = {1, 2, 3};
    const float *y = nn_net_forward(net, x, 1, NN_TRAIN);
    assert_memory_equal(y, tensor_named(net, "a.bias")->value, sizeof x);
    const float *dx = nn_net_backward(net, dy);
    for (size_t f = 0; f < FEATURES; f++) {
        assert_true(dx[f] == 0.0f);
        assert_true(isfinite(tensor_named(net, "a.running_var")->value[f]));
    }
    nn_net_free(net);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_of_dense),
        cmocka_unit_test(gradients_of_a_dense_pair),
        cmocka_unit_test(gradients_of_relu),
        cmocka_unit_test(gradients_of_batch_norm),
        cmocka_unit_test(gradients_of_sigmoids),
        cmocka_unit_test(activations_are_what_they_say),
        cmocka_unit_test(quantize_decides_in_training_only),
        cmocka_unit_test(quantize_passes_the_gradient_straight),
        cmocka_unit_test(two_dense_layers_are_their_loops),
        cmocka_unit_test(a_dense_pair_is_its_loops),
        cmocka_unit_test(batch_norm_follows_torchs_rule),
        cmocka_unit_test(batch_norm_evaluates_with_what_it_remembers),
        cmocka_unit_test(batch_norm_survives_a_batch_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
