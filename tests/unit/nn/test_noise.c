/* Noise before the decision: its distribution, its gradient, its temperature, and that only (seed, stream, step) and
 * the place in the batch decide. */
#include "experiment/derive.h"
#include "experiment/experiment.h"
#include "tests/lib/nets.h"
#include "tests/lib/slopes.h"

#include <math.h>

enum { WIDTH = 7, ROWS = 3000 };

static const nn_spec noise = {WIDTH, {{.kind = NN_NOISE, .rate = 1}}, 1};
static const nn_spec soft = {5,
                             {{.kind = NN_DENSE, .name = "a", .outputs = 3},
                              {.kind = NN_BATCH_NORM, .name = "b"},
                              {.kind = NN_NOISE, .rate = 1},
                              {.kind = NN_SIGMOID}},
                             4};

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* A bit is 1 with probability sigmoid(x), whatever the temperature, and its relaxation comes near it as T falls. */
static void it_rounds_stochastically(void **state) {
    (void)state;
    static float x[ROWS * WIDTH];
    const float temperatures[] = {1, 0.1f};
    double distance[2] = {0, 0};
    nn_net *net = make_net(&noise, ROWS, NULL);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        x[i] = (float)(i % WIDTH) - 3;
    }
    for (int t = 0; t < 2; t++) {
        size_t ones[WIDTH] = {0};
        nn_net_set_step(net, 1, 2, 3);
        nn_net_set_temperature(net, temperatures[t]);
        const float *y = nn_net_forward(net, x, ROWS, NN_TRAIN);
        for (size_t i = 0; i < ROWS * WIDTH; i++) {
            ones[i % WIDTH] += y[i] > 0;
            distance[t] += fmin(sigmoid((double)y[i]), sigmoid(-(double)y[i])) / (ROWS * WIDTH);
        }
        for (size_t c = 0; c < WIDTH; c++) {
            double p = sigmoid((double)c - 3), spread = sqrt(p * (1 - p) / ROWS);
            assert_true(fabs((double)ones[c] / ROWS - p) < 4 * spread);
        }
    }
    assert_true(distance[0] > 0.15 && distance[1] < 0.04);
    const float *y = nn_net_forward(net, x, ROWS, NN_EVALUATE);
    for (size_t i = 0; i < ROWS * WIDTH; i++) {
        assert_true(fabsf(y[i] - x[i] / temperatures[1]) < 1e-5f);
    }
    nn_net_free(net);
}

/* Through batch norm and sigmoid, at a temperature. */
static void its_gradient_is_the_slope(void **state) {
    (void)state;
    enum { FEW = 6 };
    nn_net *net = make_net(&soft, FEW, NULL);
    fill_tensors(net, 1);
    nn_net_set_step(net, 1, 2, 3);
    nn_net_set_temperature(net, 0.5f);
    trial t = {.net = net, .rows = FEW, .step = 1.0f / 256};
    t.x = random_floats(2, FEW * 5, -1, 1);
    t.weights = random_floats(3, FEW * 3, -1, 1);
    nn_net_forward(net, t.x, FEW, NN_TRAIN);
    float gradient[FEW * 5];
    memcpy(gradient, nn_net_backward(net, t.weights), sizeof gradient);
    nn_net_update(net, NULL);
    check_slopes(&t, 1e-3, "input", t.x, gradient, FEW * 5);
    nn_tensor *weight = tensor_named(net, "a.weight");
    check_slopes(&t, 1e-3, "a.weight", weight->value, weight->gradient, weight->count);
    free(t.x);
    free(t.weights);
    nn_net_free(net);
}

static void draws(nn_net *net, uint64_t seed, uint32_t stream, uint32_t step, size_t rows, float *to) {
    static const float zeroes[ROWS * WIDTH];
    nn_net_set_step(net, seed, stream, step);
    memcpy(to, nn_net_forward(net, zeroes, rows, NN_TRAIN), rows * WIDTH * sizeof(float));
}

static void it_depends_on_its_key_alone(void **state) {
    (void)state;
    static float one[ROWS * WIDTH], other[ROWS * WIDTH];
    thread_pool *l;
    assert_int_equal(thread_pool_new(&l, 3, true), ERR_OK);
    nn_net *net = make_net(&noise, ROWS, NULL), *partitioned = make_net(&noise, ROWS, l);
    draws(net, 1, 2, 3, ROWS, one);
    draws(partitioned, 1, 2, 3, ROWS, other);
    assert_memory_equal(one, other, sizeof one);
    draws(net, 1, 2, 3, 11, other);
    assert_memory_equal(one, other, 11 * WIDTH * sizeof(float));
    const uint32_t keys[][3] = {{2, 2, 3}, {1, 3, 3}, {1, 2, 4}};
    for (size_t i = 0; i < 3; i++) {
        draws(net, keys[i][0], keys[i][1], keys[i][2], ROWS, other);
        size_t same = 0;
        for (size_t n = 0; n < ROWS * WIDTH; n++) {
            same += one[n] == other[n];
        }
        assert_true(same < 10);
    }
    nn_net_free(net);
    nn_net_free(partitioned);
    thread_pool_free(l);
}

static void the_temperature_falls_late(void **state) {
    (void)state;
    experiment e = {.portions = {{.encoder = {.temperature = 0.25f}}},
                    .portion_count = 1,
                    .training = {.epochs = 4, .batch_size = 10}};
    assert_true(experiment_temperature(&e, 0, 0, 95) == 1);
    assert_true(fabsf(experiment_temperature(&e, 0, 20, 95) - 0.917004f) < 1e-6f);
    assert_true(fabsf(experiment_temperature(&e, 0, 40, 95) - 0.25f) < 1e-6f);
    assert_true(fabsf(experiment_temperature(&e, 0, 99, 95) - 0.25f) < 1e-6f);
    e.portions[0].encoder.temperature = 0;
    assert_true(experiment_temperature(&e, 0, 20, 95) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_rounds_stochastically),
        cmocka_unit_test(its_gradient_is_the_slope),
        cmocka_unit_test(it_depends_on_its_key_alone),
        cmocka_unit_test(the_temperature_falls_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
