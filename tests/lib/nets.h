/* Nets for tests: filled with known numbers, stepped, and compared bit for bit. Header only: a test is one
 * program. */
#ifndef FEWBIT_TESTS_LIB_NETS_H
#define FEWBIT_TESTS_LIB_NETS_H

#include "base/rng.h"
#include "nn/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* `n` floats, uniform in [low, high); exactly as long as asked for, so that a sanitizer sees a read behind
 * them. */
static inline float *random_floats(uint32_t stream, size_t n, float low, float high) {
    float *numbers = malloc(n * sizeof *numbers);
    assert_non_null(numbers);
    rng draws = rng_at(7, rng_stream(RNG_TEST, stream), 0);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = low + (high - low) * rng_float(&draws);
    }
    return numbers;
}

/* Every parameter anywhere in +-1, running variances positive: nothing keeps its neutral value. */
static inline void fill_tensors(nn_net *net, uint32_t stream) {
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        nn_tensor *t = nn_net_tensor(net, i);
        float low = strstr(t->name, "running_var") ? 0.5f : -1.0f;
        float *numbers = random_floats(stream * 64 + (uint32_t)i, t->count, low, 1.0f);
        memcpy(t->value, numbers, t->count * sizeof(float));
        free(numbers);
    }
    nn_net_thaw(net);
}

/* A net for training, with gradients down to its input. */
static inline nn_net *make_net(const nn_spec *spec, size_t max_rows, thread_pool *l) {
    nn_net_options options = {.max_rows = max_rows, .training = true, .input_gradient = true, .pool = l};
    nn_net *net = NULL;
    assert_int_equal(nn_net_new(&net, spec, &options), ERR_OK);
    return net;
}

/* One training step; `o` NULL leaves the gradients and changes no parameter. */
static inline void train_step(nn_net *net, const float *x, const float *dy, size_t rows, nn_optimiser *o) {
    nn_net_forward(net, x, rows, NN_TRAIN);
    nn_net_backward(net, dy);
    if (o) {
        nn_optimiser_begin(o);
    }
    nn_net_update(net, o);
}

static inline void assert_same_tensors(nn_net *a, nn_net *b) {
    assert_int_equal(nn_net_tensor_count(a), nn_net_tensor_count(b));
    for (size_t i = 0; i < nn_net_tensor_count(a); i++) {
        const nn_tensor *t = nn_net_tensor(a, i), *u = nn_net_tensor(b, i);
        size_t size = t->count * sizeof(float);
        assert_string_equal(t->name, u->name);
        assert_int_equal(t->count, u->count);
        assert_memory_equal(t->value, u->value, size);
        if (t->is_parameter) {
            assert_memory_equal(t->gradient, u->gradient, size);
            assert_memory_equal(t->state[0], u->state[0], size);
            assert_memory_equal(t->state[1], u->state[1], size);
        }
    }
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
