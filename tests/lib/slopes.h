/* Gradients against central differences. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_LIB_SLOPES_H
#define FEWBIT_TESTS_LIB_SLOPES_H

#include "tests/lib/nets.h"

#include <math.h>

/* A net as a function of one number at a time: the sum of weights * outputs. */
typedef struct trial {
    nn_net *net;
    float *x;
    float *weights;
    size_t rows;
    float step;
} trial;

static inline double objective(const trial *t) {
    const float *y = nn_net_forward(t->net, t->x, t->rows, NN_TRAIN);
    double sum = 0;
    for (size_t i = 0; i < t->rows * nn_net_outputs(t->net); i++) {
        sum += (double)y[i] * (double)t->weights[i];
    }
    return sum;
}

/* The gradient of each of `n` numbers, which the net reads; at least one of them must matter. `tolerance` is
 * absolute and relative. */
static inline void check_slopes(trial *t, double tolerance, const char *what, float *numbers, const float *gradient,
                                size_t n) {
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        float kept = numbers[i];
        numbers[i] = kept + t->step;
        double up = objective(t), width = (double)numbers[i];
        numbers[i] = kept - t->step;
        double down = objective(t);
        width -= (double)numbers[i];
        numbers[i] = kept;
        double slope = (up - down) / width, error = fabs(slope - (double)gradient[i]);
        if (!(error <= tolerance + tolerance * fabs(slope))) {
            fail_msg("%s[%zu]: gradient %g, slope %g", what, i, (double)gradient[i], slope);
        }
        largest = fmax(largest, fabs((double)gradient[i]));
    }
    if (largest < 0.05) {
        fail_msg("%s: gradients of at most %g prove nothing", what, largest);
    }
}

#endif
