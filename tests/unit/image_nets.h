/* Nets of images for tests: put together, filled with known numbers, stepped. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_UNIT_IMAGE_NETS_H
#define FEWBIT_TESTS_UNIT_IMAGE_NETS_H

#include "base/rng.h"
#include "nn/build.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LAYERS(...)                                                                                                    \
    { __VA_ARGS__ }
#define IMAGE(c, h, w)                                                                                                 \
    {                                                                                                                  \
        .kind = NN_IMAGE, .shape = { c, h, w }                                                                         \
    }
#define FLATTEN                                                                                                        \
    { .kind = NN_FLATTEN }
#define CONVOLUTION(id, o, k, s, p)                                                                                    \
    { .kind = NN_CONVOLUTION, .name = id, .outputs = o, .kernel = k, .stride = s, .padding = p }
#define CONVOLUTION_NO_BIAS(id, o, k, s, p)                                                                            \
    { .kind = NN_CONVOLUTION, .name = id, .outputs = o, .kernel = k, .stride = s, .padding = p, .no_bias = true }
#define POOL(what, k, s, p)                                                                                            \
    { .kind = what, .kernel = k, .stride = s, .padding = p }
#define RESIZE(what, h, w)                                                                                             \
    {                                                                                                                  \
        .kind = what, .shape = { 0, h, w }                                                                             \
    }
#define DENSE(id, o)                                                                                                   \
    { .kind = NN_DENSE, .name = id, .outputs = o }
#define NORM(id)                                                                                                       \
    { .kind = NN_BATCH_NORM, .name = id }
#define NORM_PLAIN(id)                                                                                                 \
    { .kind = NN_BATCH_NORM, .name = id, .no_affine = true }
#define DROPOUT(p)                                                                                                     \
    { .kind = NN_DROPOUT, .rate = p }
#define A(what)                                                                                                        \
    { .kind = what }

/* Exactly as long as asked for, so that a sanitizer sees a read behind them. */
static inline float *random_floats(uint32_t stream, size_t n, float low, float high) {
    float *numbers = malloc(n * sizeof *numbers);
    assert_non_null(numbers);
    rng draws = rng_at(7, rng_stream(RNG_TEST, stream), 0);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = low + (high - low) * rng_float(&draws);
    }
    return numbers;
}

static inline nn_net *make_net(const nn_spec *spec, nn_net_options options) {
    nn_net *net = NULL;
    err failed = nn_net_new(&net, spec, &options);
    if (failed) {
        fail_msg("%s", err_text());
    }
    return net;
}

static inline nn_net *make_training(const nn_spec *spec, size_t max_rows, lanes *l) {
    return make_net(spec, (nn_net_options){.max_rows = max_rows, .training = true, .input_gradient = true, .lanes = l});
}

/* Parameters as large as keeps activations near 1; nothing keeps its neutral value. */
static inline void fill_tensors(nn_net *net) {
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        bool is_variance = strstr(t->name, "running_var");
        float bound = t->rank == 1 ? 1.0f : sqrtf(3.0f * (float)t->shape[0] / (float)t->count);
        float *numbers = random_floats(64 + (uint32_t)i, t->count, is_variance ? 0.5f : -bound, bound);
        memcpy(t->value, numbers, t->count * sizeof(float));
        free(numbers);
    }
    nn_net_thaw(net);
}

static inline void train_step(nn_net *net, const float *x, const float *dy, size_t rows, nn_optimiser *o) {
    nn_net_forward(net, x, rows, NN_TRAIN);
    nn_net_backward(net, dy);
    if (o) {
        nn_optimiser_begin(o);
    }
    nn_net_update(net, o);
}

/* A larger batch before, which must leave nothing behind. */
static inline void leave_traces(nn_net *net, size_t rows) {
    float *x = random_floats(1, rows * nn_net_inputs(net), -2, 2);
    float *dy = random_floats(2, rows * nn_net_outputs(net), -2, 2);
    train_step(net, x, dy, rows, NULL);
    free(x);
    free(dy);
}

static inline bool in_parts(const nn_net *net, size_t rows) {
    bool any = false;
    for (size_t i = 0; i < net->count; i++) {
        any |= nn_parts(&net->layers[i], rows) > 1;
    }
    return any;
}

static inline nn_tensor *tensor_named(nn_net *net, const char *name) {
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        if (strcmp(nn_net_tensor(net, i)->name, name) == 0) {
            return nn_net_tensor(net, i);
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

#endif
