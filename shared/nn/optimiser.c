#include "nn/optimiser.h"

#include "base/vector.h"

#include <math.h>

static const double beta1 = 0.9, beta2 = 0.999;
static const float epsilon = 1e-8f;

/* Half a cosine from `from` to `to` as `share` goes from 0 to 1. */
static double anneal(double from, double to, double share) {
    return to + (from - to) / 2 * (1 + cos(M_PI * share));
}

static double one_cycle(double rate, double step, double steps) {
    const double first = rate / 25, last = first / 1e4, top = 0.3 * steps - 1;
    if (step <= top) {
        return anneal(first, rate, step / top);
    }
    return anneal(rate, last, fmin(1, (step - top) / (steps - 1 - top)));
}

double nn_optimiser_rate(const nn_optimiser *o, uint64_t step) {
    double rate = (double)o->learning_rate, at = (double)step, steps = (double)o->steps;
    switch (o->schedule) {
    case NN_COSINE:
        return anneal(rate, 0, fmin(1, at / steps));
    case NN_ONE_CYCLE:
        return one_cycle(rate, at, steps);
    case NN_CONSTANT:
        break;
    }
    return rate;
}

void nn_optimiser_begin(nn_optimiser *o) {
    double rate = nn_optimiser_rate(o, o->step++), step = (double)o->step;
    o->rate = (float)rate;
    o->keep = o->kind == NN_ADAMW ? (float)(1.0 - rate * (double)o->weight_decay) : 1.0f;
    o->step_size = (float)(rate / (1.0 - pow(beta1, step)));
    o->root_correction = (float)sqrt(1.0 - pow(beta2, step));
}

VECTOR_VERSIONS
static void apply_adam(float *restrict value, const float *restrict gradient, float *restrict average,
                       float *restrict square, size_t n, float step_size, float root_correction, float keep) {
    const float b1 = (float)beta1, b2 = (float)beta2;
    const float c1 = (float)(1.0 - beta1), c2 = (float)(1.0 - beta2);
    for (size_t i = 0; i < n; i++) {
        float g = gradient[i];
        float m = average[i] * b1 + g * c1;
        float v = square[i] * b2 + g * g * c2;
        average[i] = m;
        square[i] = v;
        value[i] = value[i] * keep - step_size * (m / (sqrtf(v) / root_correction + epsilon));
    }
}

VECTOR_VERSIONS
static void apply_sgd(float *restrict value, const float *restrict gradient, float *restrict velocity, size_t n,
                      float learning_rate, float momentum, float decay) {
    for (size_t i = 0; i < n; i++) {
        float v = velocity[i] * momentum + (gradient[i] + decay * value[i]);
        velocity[i] = v;
        value[i] -= learning_rate * v;
    }
}

void nn_optimiser_apply_from(const nn_optimiser *o, nn_tensor *t, size_t first, size_t count, const float *gradient) {
    float *value = t->value + first;
    if (o->kind == NN_SGD) {
        apply_sgd(value, gradient, t->state[0] + first, count, o->rate, o->momentum, o->weight_decay);
    } else {
        apply_adam(value, gradient, t->state[0] + first, t->state[1] + first, count, o->step_size, o->root_correction,
                   o->keep);
    }
}

void nn_optimiser_apply(const nn_optimiser *o, nn_tensor *t, size_t first, size_t count) {
    nn_optimiser_apply_from(o, t, first, count, t->gradient + first);
}

const char *const *nn_optimiser_state_names(const nn_optimiser *o, size_t *count) {
    static const char *const adam[] = {"exp_avg", "exp_avg_sq"};
    static const char *const sgd[] = {"momentum"};
    *count = o->kind == NN_SGD ? 1 : 2;
    return o->kind == NN_SGD ? sgd : adam;
}
