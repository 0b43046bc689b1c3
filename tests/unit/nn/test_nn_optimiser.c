/* Optimisers: 50 steps against PyTorch's rules written out in double, and the same bits however a tensor is
 * cut. */
#include "nn/optimiser.h"
#include "tests/lib/nets.h"

#include <math.h>

enum { STEPS = 50, N = 37 };

static nn_tensor tensor_of(float *value, float *gradient, float *first, float *second) {
    nn_tensor t = {.name = "a", .rank = 1, .shape = {N}, .count = N, .is_parameter = 1, .value = value};
    t.gradient = gradient;
    t.state[0] = first;
    t.state[1] = second;
    return t;
}

/* Gradients of very different sizes: among them 0, which must move nothing, and some where Adam's epsilon
 * counts. */
static void draw_gradients(float *gradient, uint32_t step) {
    float *drawn = random_floats(1000 + step, N, -1, 1);
    for (size_t i = 0; i < N; i++) {
        gradient[i] = i % 7 == 0 ? 0.0f : drawn[i] * powf(10.0f, (float)(i % 13) - 9.0f);
    }
    free(drawn);
}

static void naive_adam(double *value, double *m, double *v, const float *gradient, double rate, int step) {
    for (size_t i = 0; i < N; i++) {
        double g = (double)gradient[i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.999 * v[i] + 0.001 * g * g;
        double corrected_m = m[i] / (1 - pow(0.9, step)), corrected_v = v[i] / (1 - pow(0.999, step));
        value[i] -= rate * corrected_m / (sqrt(corrected_v) + 1e-8);
    }
}

static void naive_sgd(double *value, double *velocity, const float *gradient, double rate, double momentum,
                      double decay) {
    for (size_t i = 0; i < N; i++) {
        velocity[i] = momentum * velocity[i] + (double)gradient[i] + decay * value[i];
        value[i] -= rate * velocity[i];
    }
}

/* The distance gone must agree; what rounding each of the steps may lose is counted from the value itself. */
static void assert_gone_alike(const float *value, const double *wanted, const float *start, bool decays) {
    for (size_t i = 0; i < N; i++) {
        double gone = wanted[i] - (double)start[i];
        double lost = STEPS * 6e-8 * fmax(fabs((double)start[i]), fabs(wanted[i]));
        if (!(fabs((double)value[i] - wanted[i]) <= lost + 1e-5 * fabs(gone))) {
            fail_msg("%zu went %g, not %g", i, (double)value[i] - (double)start[i], gone);
        }
        assert_true(decays || i % 7 != 0 || value[i] == start[i]);
    }
}

static void check_optimiser(nn_optimiser o) {
    float *start = random_floats(1, N, -0.01f, 0.01f), value[N], gradient[N], first[N] = {0}, second[N] = {0};
    double wanted[N], a[N] = {0}, b[N] = {0};
    for (size_t i = 0; i < N; i++) {
        wanted[i] = (double)(value[i] = start[i]);
    }
    nn_tensor t = tensor_of(value, gradient, first, second);
    for (int step = 1; step <= STEPS; step++) {
        draw_gradients(gradient, (uint32_t)step);
        nn_optimiser_begin(&o);
        assert_int_equal(o.step, step);
        nn_optimiser_apply(&o, &t, 0, N);
        double rate = nn_optimiser_rate(&o, (uint64_t)step - 1), decay = (double)o.weight_decay;
        if (o.kind == NN_SGD) {
            naive_sgd(wanted, a, gradient, rate, (double)o.momentum, decay);
            continue;
        }
        for (size_t i = 0; i < N; i++) {
            wanted[i] *= 1 - rate * decay;
        }
        naive_adam(wanted, a, b, gradient, rate, step);
    }
    assert_gone_alike(value, wanted, start, o.weight_decay > 0);
    free(start);
}

static void adam_is_torchs(void **state) {
    (void)state;
    check_optimiser((nn_optimiser){.kind = NN_ADAM, .learning_rate = 0.001f});
    check_optimiser((nn_optimiser){.kind = NN_ADAM, .learning_rate = 0.3f});
}

static void sgd_is_torchs(void **state) {
    (void)state;
    check_optimiser((nn_optimiser){.kind = NN_SGD, .learning_rate = 0.1f});
    check_optimiser((nn_optimiser){.kind = NN_SGD, .learning_rate = 0.01f, .momentum = 0.9f});
}

static void weight_decay_is_torchs(void **state) {
    (void)state;
    check_optimiser((nn_optimiser){.kind = NN_ADAMW, .learning_rate = 0.01f, .weight_decay = 0.5f});
    check_optimiser((nn_optimiser){.kind = NN_ADAMW, .learning_rate = 0.01f});
    check_optimiser((nn_optimiser){.kind = NN_SGD, .learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f});
}

/* The numbers are PyTorch 1.13's: CosineAnnealingLR(T_max=100) and OneCycleLR(max_lr=0.1, total_steps=100). */
static void schedules_are_torchs(void **state) {
    (void)state;
    static const struct {
        uint64_t step;
        double cosine, one_cycle;
    } wanted[] = {
        {0, 0.100000000000, 0.004000000000},  {1, 0.099975328018, 0.004281378057},
        {10, 0.097552825815, 0.029516394846}, {28, 0.081871199487, 0.099718621943},
        {29, 0.080645352683, 0.100000000000}, {30, 0.079389262615, 0.099949653528},
        {31, 0.078104168893, 0.099798715505}, {50, 0.050000000000, 0.079389345058},
        {75, 0.014644660941, 0.026306861650}, {98, 0.000098663579, 0.000050746472},
        {99, 0.000024671982, 0.000000400000},
    };
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.1f, .steps = 100};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        o.schedule = NN_CONSTANT;
        assert_true(nn_optimiser_rate(&o, wanted[i].step) == (double)0.1f);
        o.schedule = NN_COSINE;
        assert_true(fabs(nn_optimiser_rate(&o, wanted[i].step) - wanted[i].cosine) < 1e-8);
        o.schedule = NN_ONE_CYCLE;
        assert_true(fabs(nn_optimiser_rate(&o, wanted[i].step) - wanted[i].one_cycle) < 1e-8);
    }
    assert_true(nn_optimiser_rate(&o, 1000) == nn_optimiser_rate(&o, 99));
    o.schedule = NN_COSINE;
    assert_true(nn_optimiser_rate(&o, 1000) == 0);
    check_optimiser((nn_optimiser){.kind = NN_ADAMW, .learning_rate = 0.01f, .schedule = NN_ONE_CYCLE, .steps = STEPS});
    check_optimiser((nn_optimiser){.kind = NN_SGD, .learning_rate = 0.01f, .schedule = NN_COSINE, .steps = STEPS});
}

/* The first steps of Adam by hand: whatever the gradient's size, the step is the learning rate. */
static void adam_begins_with_the_learning_rate(void **state) {
    (void)state;
    float value[N] = {0}, gradient[N] = {0}, first[N] = {0}, second[N] = {0};
    gradient[1] = 100, gradient[2] = -1e-3f;
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.25f};
    nn_tensor t = tensor_of(value, gradient, first, second);
    nn_optimiser_begin(&o);
    nn_optimiser_apply(&o, &t, 0, N);
    assert_true(fabsf(value[1] + 0.25f) < 1e-6f && fabsf(value[2] - 0.25f) < 1e-5f && value[0] == 0.0f);
    assert_true(fabsf(first[1] - 10.0f) < 1e-5f && fabsf(second[1] - 10.0f) < 1e-4f);
}

static void slices_add_up_to_the_whole(void **state) {
    (void)state;
    const nn_optimiser kinds[] = {{.kind = NN_ADAM, .learning_rate = 0.01f},
                                  {.kind = NN_SGD, .learning_rate = 0.01f, .momentum = 0.5f}};
    const size_t cuts[] = {0, 1, 4, 4, 21, 36, N};
    for (size_t k = 0; k < 2; k++) {
        nn_optimiser o = kinds[k];
        float value[2][N] = {{0}}, gradient[N], first[2][N] = {{0}}, second[2][N] = {{0}};
        nn_tensor whole = tensor_of(value[0], gradient, first[0], second[0]);
        nn_tensor cut = tensor_of(value[1], gradient, first[1], second[1]);
        for (uint32_t step = 0; step < 5; step++) {
            draw_gradients(gradient, step);
            nn_optimiser_begin(&o);
            nn_optimiser_apply(&o, &whole, 0, N);
            for (size_t c = 6; c-- > 0;) {
                nn_optimiser_apply(&o, &cut, cuts[c], cuts[c + 1] - cuts[c]);
            }
        }
        assert_memory_equal(value[0], value[1], sizeof value[0]);
        assert_memory_equal(first[0], first[1], sizeof first[0]);
        assert_memory_equal(second[0], second[1], sizeof second[0]);
        assert_true(value[0][1] != 0.0f);
    }
}

static void state_has_its_names(void **state) {
    (void)state;
    size_t count;
    const nn_optimiser adam = {.kind = NN_ADAM}, sgd = {.kind = NN_SGD};
    const char *const *names = nn_optimiser_state_names(&adam, &count);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "exp_avg");
    assert_string_equal(names[1], "exp_avg_sq");
    names = nn_optimiser_state_names(&sgd, &count);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "momentum");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adam_is_torchs),
        cmocka_unit_test(sgd_is_torchs),
        cmocka_unit_test(weight_decay_is_torchs),
        cmocka_unit_test(schedules_are_torchs),
        cmocka_unit_test(adam_begins_with_the_learning_rate),
        cmocka_unit_test(slices_add_up_to_the_whole),
        cmocka_unit_test(state_has_its_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
