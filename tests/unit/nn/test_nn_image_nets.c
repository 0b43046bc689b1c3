/* Nets of images as a whole: that the numbers depend on nothing but the inputs, how they begin, what is refused, and
 * the memory they take. */
#include "nn/bf16.h"
#include "nn/memory_plan.h"
#include "nn/shape_infer.h"
#include "tests/lib/image_nets.h"

#include <cblas.h>
#include <errno.h>
#include <stdio.h>

/* Everything there is, and large enough to be cut into parts at 15 rows. */
static const nn_spec everything = {
    300,
    LAYERS(DENSE("a", 1600), IMAGE(4, 20, 20), CONVOLUTION_NO_BIAS("b", 32, 3, 1, 1), NORM_PLAIN("c"), A(NN_RELU),
           A(NN_RESIDUAL), CONVOLUTION("d", 32, 5, 1, 2), NORM("e"), A(NN_RELU), CONVOLUTION("f", 32, 3, 1, 1),
           NORM("g"), A(NN_SHORTCUT), CONVOLUTION("h", 32, 1, 1, 0), A(NN_JOIN), A(NN_RELU), POOL(NN_MAX_POOL, 3, 2, 1),
           DROPOUT(0.5f), RESIZE(NN_UPSAMPLE, 20, 20), CONVOLUTION("i", 12, 5, 1, 2), A(NN_RELU),
           POOL(NN_MAX_POOL, 2, 1, 0), POOL(NN_AVERAGE_POOL, 2, 2, 0), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 6, 6),
           CONVOLUTION("j", 64, 3, 2, 1), A(NN_SIGMOID), CONVOLUTION_NO_BIAS("k", 130, 3, 1, 1), A(NN_RELU), FLATTEN,
           DROPOUT(0.2f), DENSE("l", 200), A(NN_RELU), DENSE("m", 5)),
    32,
};

/* The same bits, whoever computes. */

enum { MOST_ROWS = 15, STEPS = 3, LOGITS = 5 };

typedef struct outcome {
    nn_net *net;
    float y[STEPS][MOST_ROWS * LOGITS], dx[STEPS][MOST_ROWS * 300], evaluated[MOST_ROWS * LOGITS];
} outcome;

static void train_some(outcome *out, thread_pool *l, nn_precision precision) {
    memset(out, 0, sizeof *out);
    out->net = make_net_with(
        &everything,
        (nn_net_options){
            .max_rows = MOST_ROWS, .training = true, .input_gradient = true, .pool = l, .precision = precision});
    nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.01f};
    nn_net_init(out->net, 8, 9);
    for (uint32_t step = 0; step < STEPS; step++) {
        size_t rows = MOST_ROWS - 4 * (step % 2);
        float *x = random_floats(20 + step, rows * 300, -1, 1), *dy = random_floats(30 + step, rows * LOGITS, -1, 1);
        nn_net_set_step(out->net, 1, 2, step);
        memcpy(out->y[step], nn_net_forward(out->net, x, rows, NN_TRAIN), rows * LOGITS * sizeof(float));
        memcpy(out->dx[step], nn_net_backward(out->net, dy), rows * 300 * sizeof(float));
        nn_optimiser_begin(&o);
        nn_net_update(out->net, &o);
        free(x);
        free(dy);
    }
    float *x = random_floats(40, MOST_ROWS * 300, -1, 1);
    memcpy(out->evaluated, nn_net_forward(out->net, x, MOST_ROWS, NN_EVALUATE), sizeof out->evaluated);
    free(x);
}

static void assert_same_outcome(const outcome *a, const outcome *b) {
    assert_same_tensors(a->net, b->net);
    assert_memory_equal(a->y, b->y, sizeof a->y);
    assert_memory_equal(a->dx, b->dx, sizeof a->dx);
    assert_memory_equal(a->evaluated, b->evaluated, sizeof a->evaluated);
}

static outcome reference, other;

static void lanes_do_not_change_the_numbers(void **state) {
    (void)state;
    for (nn_precision precision = NN_F32; precision <= NN_BF16; precision++) {
        train_some(&reference, NULL, precision);
        assert_true(in_parts(reference.net, MOST_ROWS) && in_parts(reference.net, MOST_ROWS - 4));
        for (size_t count = 1; count <= 3; count++) {
            thread_pool *l;
            assert_int_equal(thread_pool_new(&l, count, false), ERR_OK);
            train_some(&other, l, precision);
            assert_same_outcome(&reference, &other);
            nn_net_free(other.net);
            thread_pool_free(l);
        }
        nn_net_free(reference.net);
    }
}

/* A promise that the parameters stay saves work and changes nothing; what ends it, ends it. */
static void frozen_nets_answer_alike(void **state) {
    (void)state;
    nn_net *frozen = make_net(&everything, MOST_ROWS, NULL), *plain = make_net(&everything, MOST_ROWS, NULL);
    float *x = random_floats(40, MOST_ROWS * 300, -1, 1), *dy = random_floats(41, MOST_ROWS * LOGITS, -1, 1);
    nn_optimiser first = {.kind = NN_ADAM, .learning_rate = 0.01f}, second = first;
    for (int round = 0; round < 4; round++) {
        if (round % 2 == 0) {
            nn_net_init(frozen, (uint64_t)round, 1);
            nn_net_init(plain, (uint64_t)round, 1);
        } else {
            train_step(frozen, x, dy, MOST_ROWS, &first);
            train_step(plain, x, dy, MOST_ROWS, &second);
        }
        nn_net_freeze(frozen);
        for (size_t rows = MOST_ROWS; rows > 0; rows = rows / 2) {
            const float *a = nn_net_forward(frozen, x, rows, NN_EVALUATE);
            const float *b = nn_net_forward(plain, x, rows, NN_EVALUATE);
            assert_memory_equal(a, b, rows * LOGITS * sizeof(float));
        }
    }
    free(x);
    free(dy);
    nn_net_free(frozen);
    nn_net_free(plain);
}

/* More sizes of batches than there is room for primitives. */
static void any_number_of_rows_will_do(void **state) {
    (void)state;
    const nn_spec spec = {189, LAYERS(IMAGE(3, 7, 9), CONVOLUTION("a", 5, 3, 2, 1), FLATTEN), 3};
    enum { MOST = 31 };
    nn_net *net = make_net(&spec, MOST, NULL);
    fill_scaled(net);
    float *x = random_floats(1, MOST * 189, -1, 1), wanted[MOST * 100];
    size_t out = nn_net_outputs(net);
    assert_true(out == 100);
    memcpy(wanted, nn_net_forward(net, x, MOST, NN_EVALUATE), sizeof wanted);
    for (size_t round = 0; round < 2; round++) {
        for (size_t rows = 1; rows <= MOST; rows++) {
            const float *y = nn_net_forward(net, x, rows, NN_EVALUATE);
            for (size_t i = 0; i < rows * out; i++) {
                assert_true(fabsf(y[i] - wanted[i]) < 1e-5f);
            }
        }
    }
    free(x);
    nn_net_free(net);
}

/* How nets begin. */

static void assert_uniform(const nn_tensor *t, float bound) {
    double largest = 0, sum = 0;
    for (size_t i = 0; i < t->count; i++) {
        largest = fmax(largest, fabs((double)t->value[i]));
        sum += (double)t->value[i];
    }
    double n = (double)t->count, limit = (double)bound;
    assert_true(largest <= limit && largest > 0.5 * limit);
    assert_true(fabs(sum / n) < 5 * limit / sqrt(3 * n)); /* five deviations of the mean */
}

/* Normal, as torchvision's ResNet: mean 0, variance 2 / (outputs * kernel * kernel), two thirds within a deviation. */
static void convolutions_may_begin_normal(void **state) {
    (void)state;
    nn_spec spec = {36, LAYERS(IMAGE(4, 3, 3), CONVOLUTION("a", 300, 3, 1, 0), FLATTEN), 3};
    spec.layers[1].init_fan_out = true;
    nn_net *net = make_net(&spec, 2, NULL);
    nn_net_init(net, 3, 4);
    const nn_tensor *weight = tensor_named(net, "a.weight");
    double sum = 0, squares = 0, variance = 2.0 / (300 * 9), n = (double)weight->count;
    size_t within = 0;
    for (size_t i = 0; i < weight->count; i++) {
        double value = (double)weight->value[i];
        sum += value;
        squares += value * value;
        within += value * value < variance;
    }
    assert_int_equal(weight->count, 300 * 36);
    assert_true(fabs(sum / n) < 5 * sqrt(variance / n));
    assert_true(fabs(squares / n / variance - 1) < 5 * sqrt(2 / n));
    assert_true(fabs((double)within / n - 0.6827) < 0.025);
    assert_uniform(tensor_named(net, "a.bias"), 1.0f / 6);
    nn_net_free(net);
}

/* Uniform in +-1/sqrt(channels * kernel * kernel), as torch's Conv2d. */
static void convolutions_begin_as_torchs(void **state) {
    (void)state;
    const nn_spec spec = {225, LAYERS(IMAGE(9, 5, 5), CONVOLUTION("a", 40, 3, 1, 0), NORM("b"), FLATTEN), 4};
    nn_net *net = make_net(&spec, 2, NULL);
    nn_net_init(net, 3, 4);
    const nn_tensor *weight = tensor_named(net, "a.weight"), *bias = tensor_named(net, "a.bias");
    const uint32_t shape[] = {40, 9, 3, 3};
    assert_int_equal(weight->rank, 4);
    assert_memory_equal(weight->shape, shape, sizeof shape);
    assert_int_equal(weight->count, 40 * 81);
    assert_uniform(weight, 1.0f / 9);
    assert_uniform(bias, 1.0f / 9);
    for (size_t i = 0; i < 40; i++) {
        assert_true(tensor_named(net, "b.weight")->value[i] == 1 && tensor_named(net, "b.bias")->value[i] == 0);
        assert_true(tensor_named(net, "b.running_mean")->value[i] == 0);
        assert_true(tensor_named(net, "b.running_var")->value[i] == 1);
    }
    nn_net_free(net);
}

/* What cannot be made. */

typedef struct refusal {
    const char *reason;
    nn_spec spec;
} refusal;

static void impossible_nets_are_refused(void **state) {
    (void)state;
    const refusal refusals[] = {
        {"leaves nothing", {27, LAYERS(IMAGE(3, 3, 3), CONVOLUTION("a", 5, 5, 1, 0), FLATTEN), 3}},
        {"other size", {27, LAYERS(IMAGE(3, 3, 4), FLATTEN), 2}},
        {"open", {27, LAYERS(IMAGE(3, 3, 3), A(NN_RELU)), 2}},
        {"needs an image", {27, LAYERS(CONVOLUTION("a", 5, 3, 1, 0)), 1}},
        {"needs a row", {27, LAYERS(IMAGE(3, 3, 3), DENSE("a", 4), FLATTEN), 3}},
        {"at most 254 points", {900, LAYERS(IMAGE(1, 30, 30), POOL(NN_MAX_POOL, 16, 1, 0), FLATTEN), 3}},
        {"different shapes",
         {27, LAYERS(IMAGE(3, 3, 3), A(NN_RESIDUAL), CONVOLUTION("a", 4, 3, 1, 1), A(NN_SHORTCUT), A(NN_JOIN), FLATTEN),
          6}},
    };
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        nn_net *net = NULL;
        nn_net_options options = {.max_rows = 2, .training = true};
        assert_int_equal(nn_net_new(&net, &refusals[i].spec, &options), ERR_INPUT);
        assert_null(net);
        if (!strstr(err_text(), refusals[i].reason)) {
            fail_msg("'%s' does not say '%s'", err_text(), refusals[i].reason);
        }
    }
}

/* bf16. */

static double norm_of(const float *numbers, size_t n) {
    double squares = 0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)numbers[i] * (double)numbers[i];
    }
    return sqrt(squares);
}

/* Relative to the size of all numbers together: single ones may lose more. */
static void assert_close(const char *what, const float *have, const float *wanted, size_t n, double tolerance) {
    float *difference = malloc(n * sizeof *difference);
    assert_non_null(difference);
    for (size_t i = 0; i < n; i++) {
        difference[i] = have[i] - wanted[i];
    }
    double off = norm_of(difference, n) / norm_of(wanted, n);
    free(difference);
    if (!(off < tolerance)) {
        fail_msg("%s is off by %g", what, off);
    }
}

/* Numbers that bf16 holds. */
static float *coarse_floats(uint32_t stream, size_t n) {
    float *numbers = random_floats(stream, n, -1, 1);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = bf16_to_float(bf16_from_float(numbers[i]));
    }
    return numbers;
}

static void check_bf16(const nn_spec *spec, size_t rows, double tolerance, bool gradients) {
    nn_net_options options = {.max_rows = rows, .training = true, .input_gradient = true};
    nn_net *exact = make_net_with(spec, options);
    options.precision = NN_BF16;
    nn_net *coarse = make_net_with(spec, options);
    fill_scaled(exact);
    fill_scaled(coarse);
    size_t inputs = rows * nn_net_inputs(exact), outputs = rows * nn_net_outputs(exact);
    float *x = coarse_floats(1, inputs), *dy = coarse_floats(2, outputs);
    const float *y = nn_net_forward(coarse, x, rows, NN_TRAIN);
    assert_close("y", y, nn_net_forward(exact, x, rows, NN_TRAIN), outputs, tolerance);
    const float *dx = nn_net_backward(coarse, dy), *wanted = nn_net_backward(exact, dy);
    nn_net_update(coarse, NULL);
    nn_net_update(exact, NULL);
    if (gradients) {
        assert_close("dx", dx, wanted, inputs, tolerance);
    }
    for (size_t i = 0; gradients && i < nn_net_tensor_count(exact); i++) {
        const nn_tensor *t = nn_net_tensor(coarse, i), *u = nn_net_tensor(exact, i);
        if (t->is_parameter && t->rank > 1) {
            assert_close(t->name, t->gradient, u->gradient, t->count, tolerance);
        }
    }
    free(x);
    free(dy);
    nn_net_free(exact);
    nn_net_free(coarse);
}

/* A number loses up to 2^-9 of itself each time it is stored. Where a ReLU or a maximum decides otherwise for that,
 * a whole gradient goes another way; so gradients are compared where nothing decides, or on numbers that bf16 holds. */
static void bf16_stays_close(void **state) {
    (void)state;
    const nn_spec smooth[] = {
        {189,
         LAYERS(IMAGE(3, 7, 9), CONVOLUTION("a", 16, 3, 1, 1), A(NN_SIGMOID), CONVOLUTION("b", 7, 3, 2, 0), NORM("c"),
                A(NN_SIGMOID), FLATTEN, DENSE("d", 5)),
         8},
        {189, LAYERS(IMAGE(3, 7, 9), POOL(NN_MAX_POOL, 3, 2, 1), A(NN_RELU), FLATTEN), 4},
        {189,
         LAYERS(IMAGE(3, 7, 9), POOL(NN_AVERAGE_POOL, 3, 2, 1), RESIZE(NN_ADAPTIVE_AVERAGE_POOL, 6, 6),
                RESIZE(NN_UPSAMPLE, 9, 9), FLATTEN),
         5},
        {189,
         LAYERS(IMAGE(3, 7, 9), A(NN_RESIDUAL), CONVOLUTION("a", 4, 3, 1, 1), A(NN_SIGMOID), A(NN_SHORTCUT),
                CONVOLUTION("b", 4, 1, 1, 0), A(NN_JOIN), DROPOUT(0.3f), A(NN_SIGMOID), FLATTEN),
         10},
        {1024, LAYERS(IMAGE(64, 4, 4), CONVOLUTION("a", 130, 3, 1, 0), A(NN_SIGMOID), FLATTEN, DENSE("b", 5)), 5},
        {2240, LAYERS(IMAGE(64, 5, 7), CONVOLUTION_NO_BIAS("a", 128, 5, 2, 2), A(NN_SIGMOID), FLATTEN), 4},
        {300, LAYERS(DENSE("a", 400), A(NN_SIGMOID), DENSE("b", 300), DENSE("c", 5)), 4},
    };
    for (size_t i = 0; i < sizeof smooth / sizeof smooth[0]; i++) {
        check_bf16(&smooth[i], 7, 0.02, true);
    }
    const nn_spec deciding[] = {
        {1024, LAYERS(IMAGE(64, 4, 4), CONVOLUTION("a", 130, 3, 1, 0), A(NN_RELU), FLATTEN, DENSE("b", 5)), 5},
        {189, LAYERS(IMAGE(3, 7, 9), CONVOLUTION("a", 16, 3, 1, 1), A(NN_RELU), FLATTEN, DENSE("b", 5)), 5},
    };
    check_bf16(&deciding[0], 7, 0.25, true);
    check_bf16(&deciding[1], 7, 0.25, true);
    check_bf16(&everything, MOST_ROWS, 0.03, false);
}

/* Multiply-adds. */

/* conv 3x3x3 -> 4 of 6x6, twice (its input wants no gradient): 6*6*4*27 = 3,888; 144 -> 5: 720, three times. */
static void multiply_adds_by_hand(void **state) {
    (void)state;
    nn_spec spec = {108, LAYERS(IMAGE(3, 6, 6), CONVOLUTION("a", 4, 3, 1, 1), A(NN_RELU), FLATTEN, DENSE("b", 5)), 5};
    assert_true(nn_spec_step_macs(&spec, 10, false) == 10 * (2 * 3888 + 3 * 720));
    assert_true(nn_spec_step_macs(&spec, 10, true) == 10 * (3 * 3888 + 3 * 720));
    spec.layers[1].fixed = true;
    assert_true(nn_spec_step_macs(&spec, 10, false) == 10 * (3888 + 2 * 720));
    spec.layers[4].fixed = true;
    assert_true(nn_spec_step_macs(&spec, 10, true) == 10 * (2 * 3888 + 2 * 720));
}

/* Memory. */

static void planned_pieces_never_meet(void **state) {
    (void)state;
    enum { PIECES = 60 };
    for (uint32_t round = 0; round < 50; round++) {
        memory_plan_piece pieces[PIECES];
        rng draws = rng_at(1, rng_stream(RNG_TEST, 0), round);
        size_t sum = 0;
        for (size_t i = 0; i < PIECES; i++) {
            size_t from = rng_below(&draws, 50);
            pieces[i] =
                (memory_plan_piece){.bytes = rng_below(&draws, 5000), .from = from, .to = from + rng_below(&draws, 10)};
            sum += pieces[i].bytes;
        }
        size_t bytes = memory_plan(pieces, PIECES);
        for (size_t i = 0; i < PIECES; i++) {
            const memory_plan_piece *a = &pieces[i];
            assert_true(a->offset % ARENA_ALIGNMENT == 0 && a->offset + a->bytes <= bytes);
            for (size_t k = 0; k < i; k++) {
                const memory_plan_piece *b = &pieces[k];
                bool together = a->from <= b->to && b->from <= a->to;
                bool meet = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
                assert_false(together && meet);
            }
        }
        assert_true(bytes < sum / 2); /* a fifth of them is in use at a time */
    }
}

/* A net that only evaluates needs room for what goes into a layer and what comes out of it. */
static void evaluation_needs_little_memory(void **state) {
    (void)state;
    nn_spec spec = {4096, LAYERS(IMAGE(4, 32, 32)), 1};
    for (size_t i = 1; i <= 8; i++) {
        spec.layers[spec.count++] = (nn_layer_spec)CONVOLUTION("", 4, 3, 1, 1);
        snprintf(spec.layers[i].name, sizeof spec.layers[i].name, "a%zu", i);
    }
    spec.layers[spec.count++] = (nn_layer_spec)FLATTEN;
    nn_net *training = make_net(&spec, 8, NULL), *lean = make_net_with(&spec, (nn_net_options){.max_rows = 8});
    size_t image = 8 * 4096 * sizeof(float);
    assert_in_range(lean->activations.capacity, 2 * image, 3 * image);
    assert_true(training->activations.capacity > 9 * image);
    nn_net_init(training, 1, 1);
    nn_net_init(lean, 1, 1);
    float *x = random_floats(1, 8 * 4096, -1, 1);
    const float *y = nn_net_forward(lean, x, 8, NN_EVALUATE);
    assert_memory_equal(y, nn_net_forward(training, x, 8, NN_EVALUATE), image);
    free(x);
    nn_net_free(training);
    nn_net_free(lean);
}

#ifndef FEWBIT_SANITIZE
/* Allocations while `is_counting`: ours by who asks, anybody's by what is left. */
extern const char __executable_start, etext;
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static bool is_counting;
static long ours, left;

static void count_block(const void *asked_from) {
    if (is_counting) {
        ours += (const char *)asked_from >= &__executable_start && (const char *)asked_from < &etext;
        left++;
    }
}

void *malloc(size_t size) {
    count_block(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    count_block(__builtin_return_address(0));
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    if (!block) {
        count_block(__builtin_return_address(0));
    }
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count_block(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    count_block(__builtin_return_address(0));
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

void free(void *block) {
    left -= is_counting && block;
    __libc_free(block);
}

/* oneDNN asks for a little in every run, and gives it back. */
static void warm_steps_take_no_memory(void **state) {
    (void)state;
    for (nn_precision precision = NN_F32; precision <= NN_BF16; precision++) {
        nn_net *net = make_net_with(
            &everything,
            (nn_net_options){.max_rows = MOST_ROWS, .training = true, .input_gradient = true, .precision = precision});
        nn_net_init(net, 1, 1);
        float *x = random_floats(1, MOST_ROWS * 300, -1, 1), *dy = random_floats(2, MOST_ROWS * LOGITS, -1, 1);
        nn_optimiser o = {.kind = NN_ADAM, .learning_rate = 0.01f};
        for (int step = 0; step < 6; step++) {
            is_counting = step >= 2; /* the first two steps are of each size once */
            ours = left = 0;
            size_t rows = MOST_ROWS - 4 * (size_t)(step % 2);
            train_step(net, x, dy, rows, &o);
            nn_net_forward(net, x, rows, NN_EVALUATE);
            is_counting = false;
            assert_int_equal(ours, 0);
            assert_true(left <= 0);
        }
        free(x);
        free(dy);
        nn_net_free(net);
    }
}
#endif

int main(void) {
    openblas_set_num_threads(1); /* as the programs do */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lanes_do_not_change_the_numbers),
        cmocka_unit_test(frozen_nets_answer_alike),
        cmocka_unit_test(any_number_of_rows_will_do),
        cmocka_unit_test(convolutions_begin_as_torchs),
        cmocka_unit_test(convolutions_may_begin_normal),
        cmocka_unit_test(impossible_nets_are_refused),
        cmocka_unit_test(bf16_stays_close),
        cmocka_unit_test(multiply_adds_by_hand),
        cmocka_unit_test(planned_pieces_never_meet),
        cmocka_unit_test(evaluation_needs_little_memory),
#ifndef FEWBIT_SANITIZE
        cmocka_unit_test(warm_steps_take_no_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
