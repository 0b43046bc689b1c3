/* Large dense layers step a tile of their gradient at a time, and in bf16 leave their weights ready for the next pass:
 * as if the whole gradient had been taken first, and the weights made ready anew. */
#include "tests/lib/nets.h"

#include <math.h>

/* Tiles that are whole, and what is left of outputs and inputs. */
enum { INPUTS = 1100, OUTPUTS = 1006, ROWS = 5, STEPS = 3 };

static const nn_spec dense = {INPUTS, {{.kind = NN_DENSE, .name = "a", .outputs = OUTPUTS}}, 1};

static nn_net *make(nn_precision precision, thread_pool *l) {
    nn_net_options options = {
        .max_rows = ROWS, .training = true, .input_gradient = true, .pool = l, .precision = precision};
    nn_net *net = NULL;
    assert_int_equal(nn_net_new(&net, &dense, &options), ERR_OK);
    nn_net_init(net, 1, 1);
    return net;
}

static void assert_near(const float *a, const float *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        assert_true(fabsf(a[i] - b[i]) < 1e-5f);
    }
}

/* The same step from the whole gradient. */
static void step_by_hand(nn_net *net, const float *x, const float *dy, nn_optimiser *o) {
    train_step(net, x, dy, ROWS, NULL);
    nn_optimiser_begin(o);
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        nn_optimiser_apply(o, t, 0, t->count);
    }
    nn_net_thaw(net);
}

static void assert_steps_alike(nn_precision precision, const float *x, const float *dy) {
    nn_net *tiled = make(precision, NULL), *whole = make(precision, NULL);
    nn_optimiser first = {.kind = NN_SGD, .learning_rate = 0.1f, .momentum = 0.9f}, second = first;
    for (int step = 0; step < STEPS; step++) {
        train_step(tiled, x, dy, ROWS, &first);
        step_by_hand(whole, x, dy, &second);
    }
    for (size_t i = 0; i < nn_net_tensor_count(tiled); i++) {
        const nn_tensor *t = nn_net_tensor(tiled, i), *u = nn_net_tensor(whole, i);
        assert_near(t->value, u->value, t->count);
        assert_near(t->state[0], u->state[0], t->count);
    }
    nn_net_free(tiled);
    nn_net_free(whole);
}

static void tiles_step_as_the_whole_gradient_does(void **state) {
    (void)state;
    float *x = random_floats(1, ROWS * INPUTS, -1, 1), *dy = random_floats(2, ROWS * OUTPUTS, -0.1f, 0.1f);
    assert_steps_alike(NN_F32, x, dy);
    assert_steps_alike(NN_BF16, x, dy);
    free(x);
    free(dy);
}

static void assert_forward_knows_the_weights(nn_net *net, const float *x) {
    float *kept = random_floats(3, ROWS * OUTPUTS, 0, 1);
    memcpy(kept, nn_net_forward(net, x, ROWS, NN_EVALUATE), ROWS * OUTPUTS * sizeof(float));
    nn_net_thaw(net);
    assert_memory_equal(kept, nn_net_forward(net, x, ROWS, NN_EVALUATE), ROWS * OUTPUTS * sizeof(float));
    free(kept);
}

static void steps_leave_the_weights_ready(void **state) {
    (void)state;
    float *x = random_floats(1, ROWS * INPUTS, -1, 1), *dy = random_floats(2, ROWS * OUTPUTS, -0.1f, 0.1f);
    nn_net *net = make(NN_BF16, NULL);
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.01f};
    for (int step = 0; step < STEPS; step++) {
        train_step(net, x, dy, ROWS, &o);
        assert_forward_knows_the_weights(net, x);
    }
    fill_tensors(net, 1); /* thaws */
    assert_forward_knows_the_weights(net, x);
    train_step(net, x, dy, ROWS, &o);
    train_step(net, x, dy, ROWS, NULL);
    assert_forward_knows_the_weights(net, x);
    free(x);
    free(dy);
    nn_net_free(net);
}

static void lanes_do_not_change_the_numbers(void **state) {
    (void)state;
    float *x = random_floats(1, ROWS * INPUTS, -1, 1), *dy = random_floats(2, ROWS * OUTPUTS, -0.1f, 0.1f);
    thread_pool *l;
    assert_int_equal(thread_pool_new(&l, 2, false), ERR_OK);
    for (nn_precision precision = NN_F32; precision <= NN_BF16; precision++) {
        nn_net *alone = make(precision, NULL), *with = make(precision, l);
        nn_optimiser first = {.kind = NN_ADAM, .learning_rate = 0.01f}, second = first;
        for (int step = 0; step < STEPS; step++) {
            train_step(alone, x, dy, ROWS, &first);
            train_step(with, x, dy, ROWS, &second);
        }
        assert_same_tensors(alone, with);
        nn_net_free(alone);
        nn_net_free(with);
    }
    thread_pool_free(l);
    free(x);
    free(dy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_step_as_the_whole_gradient_does),
        cmocka_unit_test(steps_leave_the_weights_ready),
        cmocka_unit_test(lanes_do_not_change_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
