/* Nets of images for tests: put together and filled; the rest is nets.h. */
#ifndef FEWBIT_TESTS_LIB_IMAGE_NETS_H
#define FEWBIT_TESTS_LIB_IMAGE_NETS_H

#include "nn/graph_build.h"
#include "tests/lib/nets.h"

#include <math.h>

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
/* `down` and `across` are (kernel, stride, padding, dilation). */
#define DOWN(k, s, p, d) .kernel = k, .stride = s, .padding = p, .dilation = d
#define ACROSS(k, s, p, d)                                                                                             \
    { k, s, p, d }
#define SLIDING(what, id, o, g, down, other)                                                                           \
    { .kind = what, .name = id, .outputs = o, .groups = g, DOWN down, .across = ACROSS other }
#define LINE(id, o, g, other)                                                                                          \
    {                                                                                                                  \
        .kind = NN_CONVOLUTION, .name = id, .outputs = o, .groups = g, .kernel = 1, .stride = 1,                       \
        .across = ACROSS other, .is_line = true                                                                        \
    }
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
#define LAYER_NORM(id)                                                                                                 \
    { .kind = NN_LAYER_NORM, .name = id }
#define LAYER_NORM_PLAIN(id)                                                                                           \
    { .kind = NN_LAYER_NORM, .name = id, .no_affine = true }
#define DROPOUT(p)                                                                                                     \
    { .kind = NN_DROPOUT, .rate = p }
#define A(what)                                                                                                        \
    { .kind = what }

static inline nn_net *make_net_with(const nn_spec *spec, nn_net_options options) {
    nn_net *net = NULL;
    err failed = nn_net_new(&net, spec, &options);
    if (failed) {
        fail_msg("%s", err_text());
    }
    return net;
}

/* Parameters as large as keeps activations near 1; nothing keeps its neutral value. */
static inline void fill_scaled(nn_net *net) {
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

#endif
