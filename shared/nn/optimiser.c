#include "nn/optimiser.h"

#include "base/vector.h"

#include <math.h>

static const double beta1 = 0.9, beta2 = 0.999;
static const float epsilon = 1e-8f;

void nn_optimiser_begin(nn_optimiser *o) {
    o->step++;
    double step = (double)o->step;
    o->step_size = (float)((double)o->learning_rate / (1.0 - pow(beta1, step)));
    o->root_correction = (float)sqrt(1.0 - pow(beta2, step));
}

VECTOR_VERSIONS
static void apply_adam(float *restrict value, const float *restrict gradient, float *restrict average,
                       float *restrict square, size_t n, float step_size, float root_correction) {
    const float b1 = (float)beta1, b2 = (float)beta2;
    const float c1 = (float)(1.0 - beta1), c2 = (float)(1.0 - beta2);
    for (size_t i = 0; i < n; i++) {
        float g = gradient[i];
        float m = average[i] * b1 + g * c1;
        float v = square[i] * b2 + g * g * c2;
        average[i] = m;
        square[i] = v;
        value[i] -= step_size * (m / (sqrtf(v) / root_correction + epsilon));
    }
}

VECTOR_VERSIONS
static void apply_sgd(float *restrict value, const float *restrict gradient, float *restrict velocity, size_t n,
                      float learning_rate, float momentum) {
    for (size_t i = 0; i < n; i++) {
        float v = velocity[i] * momentum + gradient[i];
        velocity[i] = v;
        value[i] -= learning_rate * v;
    }
}

void nn_optimiser_apply(const nn_optimiser *o, nn_tensor *t, size_t first, size_t count) {
    float *value = t->value + first, *gradient = t->gradient + first;
    if (o->kind == NN_ADAM) {
        apply_adam(value, gradient, t->state[0] + first, t->state[1] + first, count, o->step_size, o->root_correction);
    } else {
        apply_sgd(value, gradient, t->state[0] + first, count, o->learning_rate, o->momentum);
    }
}

const char *const *nn_optimiser_state_names(const nn_optimiser *o, size_t *count) {
    static const char *const adam[] = {"exp_avg", "exp_avg_sq"};
    static const char *const sgd[] = {"momentum"};
    *count = o->kind == NN_ADAM ? 2 : 1;
    return o->kind == NN_ADAM ? adam : sgd;
}
