/* Folding: the folded net has fewer tensors and says what the net says. */
#include "nn/fold.h"

#include "nn/presets/presets.h"
#include "tests/lib/image_nets.h"

enum { ROWS = 5 };

/* Folds a net filled with known numbers, and holds it against itself; `tensors` is what must be left of them. */
static void assert_folds(const nn_spec *spec, size_t tensors, size_t tensors_folded) {
    nn_net_options options = {.max_rows = ROWS};
    nn_net *plain = make_net_with(spec, options), *folded = make_net_with(spec, options);
    fill_scaled(plain);
    fill_scaled(folded);
    assert_int_equal(nn_net_tensor_count(folded), tensors);
    nn_net_freeze(folded); /* what was prepared before must not stay */
    assert_int_equal(nn_fold(&folded, spec, &options), ERR_OK);
    assert_int_equal(nn_net_tensor_count(folded), tensors_folded);
    nn_net_freeze(folded);
    float *x = random_floats(1, ROWS * spec->inputs, -1, 1);
    size_t count = ROWS * nn_net_outputs(plain);
    const float *wanted = nn_net_forward(plain, x, ROWS, NN_EVALUATE);
    assert_int_equal(nn_net_outputs(folded), nn_net_outputs(plain));
    const float *got = nn_net_forward(folded, x, ROWS, NN_EVALUATE);
    double largest = 0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs((double)wanted[i]));
    }
    assert_true(largest > 0.01);
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)got[i] - (double)wanted[i]) <= 1e-5 * largest)) {
            fail_msg("output %zu: %g folded, %g plain, the largest is %g", i, (double)got[i], (double)wanted[i],
                     largest);
        }
    }
    free(x);
    nn_net_free(plain);
    nn_net_free(folded);
}

static void norms_fold_into_dense_layers(void **state) {
    (void)state;
    nn_spec spec = {.inputs = 30, .count = 6};
    const nn_layer_spec layers[] =
        LAYERS(DENSE("a", 20), NORM("b"), A(NN_RELU), DENSE("c", 12), NORM_PLAIN("d"), A(NN_SIGMOID));
    memcpy(spec.layers, layers, sizeof layers);
    assert_folds(&spec, 10, 4);
    spec.layers[0].no_bias = true;
    assert_folds(&spec, 9, 4);
}

static void norms_fold_into_convolutions(void **state) {
    (void)state;
    nn_spec spec = {.inputs = 3 * 8 * 8, .count = 9};
    const nn_layer_spec layers[] =
        LAYERS(IMAGE(3, 8, 8), CONVOLUTION("a", 6, 3, 1, 1), NORM("b"), A(NN_RELU), POOL(NN_MAX_POOL, 2, 2, 0),
               CONVOLUTION_NO_BIAS("c", 4, 3, 1, 1), NORM_PLAIN("d"), FLATTEN, DENSE("e", 7));
    memcpy(spec.layers, layers, sizeof layers);
    assert_folds(&spec, 11, 6);
}

/* A norm that stands behind anything else stays, and so does a path of a residual block. */
static void norms_fold_in_residual_blocks(void **state) {
    (void)state;
    nn_spec spec = {.inputs = 4 * 6 * 6, .count = 12};
    const nn_layer_spec layers[] =
        LAYERS(IMAGE(4, 6, 6), NORM("a"), A(NN_RESIDUAL), CONVOLUTION_NO_BIAS("b", 4, 3, 1, 1), NORM("c"), A(NN_RELU),
               CONVOLUTION_NO_BIAS("d", 4, 3, 1, 1), A(NN_SHORTCUT), NORM("e"), A(NN_JOIN), NORM("f"), FLATTEN);
    memcpy(spec.layers, layers, sizeof layers);
    assert_folds(&spec, 18, 15);
}

static void dense_layers_fold_where_that_pays(void **state) {
    (void)state;
    nn_spec spec = {.inputs = 16, .count = 4};
    const nn_layer_spec wide[] = LAYERS(DENSE("a", 80), DENSE("b", 50), A(NN_RELU), DENSE("c", 10));
    memcpy(spec.layers, wide, sizeof wide);
    assert_folds(&spec, 6, 4);
    const nn_layer_spec narrow[] = LAYERS(DENSE("a", 2), DENSE("b", 50), A(NN_RELU), DENSE("c", 10));
    memcpy(spec.layers, narrow, sizeof narrow); /* 16 to 2 to 50: one layer would be more work */
    assert_folds(&spec, 6, 6);
    const nn_layer_spec chain[] = LAYERS(DENSE("a", 80), NORM("n"), DENSE("b", 50), DENSE("c", 10));
    memcpy(spec.layers, chain, sizeof chain);
    assert_folds(&spec, 10, 2);
    spec.layers[2].fixed = true;
    assert_folds(&spec, 10, 2);
}

static void nothing_to_fold_leaves_the_net(void **state) {
    (void)state;
    nn_spec spec = {.inputs = 16, .count = 3};
    const nn_layer_spec layers[] = LAYERS(DENSE("a", 80), A(NN_RELU), DENSE("b", 50));
    memcpy(spec.layers, layers, sizeof layers);
    nn_net_options options = {.max_rows = ROWS};
    nn_net *net = make_net_with(&spec, options), *before = net;
    assert_int_equal(nn_fold(&net, &spec, &options), ERR_OK);
    assert_ptr_equal(net, before);
    nn_net_free(net);
}

static void the_heads_of_the_presets_fold(void **state) {
    (void)state;
    preset_head head = {.decoder = PRESET_LINEAR,
                        .classifier = PRESET_MNIST,
                        .hidden = 100,
                        .classes = 10,
                        .portions = 4,
                        .bits = 4 * 4,
                        .sample = {1, 28, 28}};
    nn_spec spec;
    for (int training = PRESET_TRAIN_JOINT; training <= PRESET_TRAIN_FINE_TUNE; training++) {
        head.training = (preset_classifier_training)training;
        preset_describe_head(&head, &spec);
        assert_folds(&spec, 6, 4);
    }
    head.classifier = PRESET_PLAYGROUND;
    head.sample = (nn_shape){3, 32, 32};
    preset_describe_head(&head, &spec);
    assert_folds(&spec, 2 + 7 * 4 + 2, 2 + 7 * 2 + 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_fold_into_dense_layers),   cmocka_unit_test(norms_fold_into_convolutions),
        cmocka_unit_test(norms_fold_in_residual_blocks),  cmocka_unit_test(dense_layers_fold_where_that_pays),
        cmocka_unit_test(nothing_to_fold_leaves_the_net), cmocka_unit_test(the_heads_of_the_presets_fold),
    };
    return cmocka_run_group_tests_name("folding", tests, NULL, NULL);
}
