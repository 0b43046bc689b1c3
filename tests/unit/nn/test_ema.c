/* The moving average of a net's tensors: its formula, its place, and that training does not feel it. */
#include "model/checkpoint.h"
#include "nn/ema.h"
#include "tests/lib/folder.h"
#include "tests/lib/nets.h"

#include <math.h>

static const nn_spec spec = {
    5,
    {{.kind = NN_DENSE, .name = "encoder.0", .outputs = 6},
     {.kind = NN_BATCH_NORM, .name = "encoder.1"},
     {.kind = NN_RELU, .name = "encoder.2"},
     {.kind = NN_DENSE, .name = "encoder.3", .outputs = 3}},
    4,
};

enum { ROWS = 8, STEPS = 30 };

static const float decay = 0.6f;

static nn_net *averaged_net(void) {
    nn_net *net;
    nn_net_options options = {.max_rows = ROWS, .training = true, .ema = true};
    assert_int_equal(nn_net_new(&net, &spec, &options), ERR_OK);
    nn_net_init(net, 1, 2);
    return net;
}

static void train(nn_net *net, nn_optimiser *o, uint32_t first, uint32_t last, bool averages) {
    for (uint32_t i = first; i < last; i++) {
        float *x = random_floats(10 + i, ROWS * 5, -1, 1), *dy = random_floats(100 + i, ROWS * 3, -1, 1);
        train_step(net, x, dy, ROWS, o);
        if (averages) {
            nn_net_update_ema(net, decay, o->step);
        }
        free(x);
        free(dy);
    }
}

/* Every tensor, also batch norm's statistics, against the formula in double. */
static void the_average_follows_its_formula(void **state) {
    (void)state;
    nn_net *net = averaged_net();
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.05f};
    double wanted[4096], furthest = 0;
    for (uint32_t step = 1; step <= STEPS; step++) {
        train(net, &o, step - 1, step, true);
        double d = fmin((double)decay, (step - 1.0) / (step + 9.0));
        size_t at = 0;
        for (size_t t = 0; t < nn_net_tensor_count(net); t++) {
            const nn_tensor *tensor = nn_net_tensor(net, t);
            for (size_t i = 0; i < tensor->count; i++, at++) {
                double value = (double)tensor->value[i];
                wanted[at] = step == 1 ? value : d * wanted[at] + (1 - d) * value;
                assert_true(fabs((double)tensor->ema[i] - wanted[at]) <= 1e-5 * (1 + fabs(wanted[at])));
                furthest = fmax(furthest, fabs((double)tensor->ema[i] - value));
            }
        }
    }
    assert_true(furthest > 0.01);
    nn_net_free(net);
}

/* Evaluating with it, and the checkpoint, leave the trained values as they were. */
static void training_does_not_feel_it(void **state) {
    (void)state;
    nn_net *net = averaged_net(), *plain = make_net(&spec, ROWS, NULL);
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.05f}, p = o;
    nn_net_init(plain, 1, 2);
    float *x = random_floats(7, ROWS * 5, -1, 1), with[ROWS * 3], without[ROWS * 3];
    train(net, &o, 0, 5, true);
    memcpy(without, nn_net_forward(net, x, ROWS, NN_EVALUATE), sizeof without);
    nn_net_use_ema(net, true);
    nn_net_use_ema(net, true);
    memcpy(with, nn_net_forward(net, x, ROWS, NN_EVALUATE), sizeof with);
    assert_memory_not_equal(with, without, sizeof with);
    nn_net_use_ema(net, false);
    train(net, &o, 5, 10, true);
    train(plain, &p, 0, 10, false);
    assert_same_tensors(net, plain);
    nn_net_use_ema(plain, true); /* it keeps none */
    assert_same_tensors(net, plain);
    free(x);
    nn_net_free(net);
    nn_net_free(plain);
}

/* Saved while the averages stand in place, loaded elsewhere and trained on: the same bits. What serves it finds the
 * averages under the plain names. */
static void checkpoints_keep_both(void **state) {
    (void)state;
    nn_net *net = averaged_net(), *other = averaged_net(), *served = make_net(&spec, ROWS, NULL);
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.05f}, p = o;
    checkpoint_id id = {.run = 1, .step = 6, .part = "head"};
    uint8_t digest[SHA256_BYTES];
    train(net, &o, 0, 6, true);
    nn_net_use_ema(net, true);
    assert_int_equal(checkpoint_save(in_folder("part"), &id, net, &o, digest), ERR_OK);
    nn_net_use_ema(other, true);
    assert_int_equal(checkpoint_load(in_folder("part"), &id, other, &p, digest), ERR_OK);
    assert_int_equal(checkpoint_load(in_folder("part"), &id, served, NULL, digest), ERR_OK);
    for (size_t t = 0; t < nn_net_tensor_count(net); t++) {
        const nn_tensor *kept = nn_net_tensor(net, t);
        assert_memory_equal(nn_net_tensor(served, t)->value, kept->ema, kept->count * sizeof(float));
    }
    train(net, &o, 6, 9, true);
    train(other, &p, 6, 9, true);
    assert_same_tensors(net, other);
    nn_net_use_ema(net, true);
    nn_net_use_ema(other, true);
    assert_same_tensors(net, other);
    nn_net_free(net);
    nn_net_free(other);
    nn_net_free(served);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_average_follows_its_formula),
        cmocka_unit_test(training_does_not_feel_it),
        IN_FOLDER(checkpoints_keep_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
