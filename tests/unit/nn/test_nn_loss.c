/* Losses: values against their definitions in double, gradients against central differences. */
#include "nn/loss.h"
#include "tests/lib/nets.h"

#include <math.h>

enum { CLASSES = 7, ROWS = 5 };

static const uint8_t labels[ROWS] = {0, 6, 3, 3, 1};

static double naive_cross_entropy(const float *logits, size_t rows, double smoothing) {
    double total = 0;
    for (size_t row = 0; row < rows; row++) {
        const float *z = logits + row * CLASSES;
        double sum = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            sum += exp((double)z[c]);
        }
        for (size_t c = 0; c < CLASSES; c++) {
            double target = smoothing / CLASSES + (c == labels[row] ? 1 - smoothing : 0);
            total += target * (log(sum) - (double)z[c]);
        }
    }
    return total / (double)rows;
}

static void cross_entropy_is_what_it_says(void **state) {
    (void)state;
    float *logits = random_floats(1, ROWS * CLASSES, -4, 4);
    for (size_t rows = 1; rows <= ROWS; rows++) {
        size_t correct = 0;
        for (float smoothing = 0; smoothing < 0.5f; smoothing += 0.2f) {
            double loss = loss_cross_entropy(logits, labels, rows, CLASSES, smoothing, NULL, &correct);
            assert_true(fabs(loss - naive_cross_entropy(logits, rows, (double)smoothing)) < 1e-6);
        }
    }
    free(logits);
}

/* gradient [rows, CLASSES], against central differences of the loss's definition. */
static void assert_is_slope(double (*naive)(const float *logits, size_t rows, double smoothing), float *logits,
                            size_t rows, double smoothing, const float *gradient, double tolerance) {
    const double step = 1.0 / 64;
    for (size_t i = 0; i < rows * CLASSES; i++) {
        float kept = logits[i];
        logits[i] = kept + (float)step;
        double up = naive(logits, rows, smoothing);
        logits[i] = kept - (float)step;
        double down = naive(logits, rows, smoothing);
        logits[i] = kept;
        assert_true(fabs((up - down) / (2 * step) - (double)gradient[i]) < tolerance);
    }
}

static void cross_entropy_gradient_is_its_slope(void **state) {
    (void)state;
    float *logits = random_floats(2, ROWS * CLASSES, -2, 2);
    for (size_t rows = 1; rows <= ROWS; rows += 4) {
        for (float smoothing = 0; smoothing < 0.5f; smoothing += 0.2f) {
            float gradient[ROWS * CLASSES];
            size_t correct = 0;
            double with = loss_cross_entropy(logits, labels, rows, CLASSES, smoothing, gradient, &correct);
            assert_true(with == loss_cross_entropy(logits, labels, rows, CLASSES, smoothing, NULL, &correct));
            assert_is_slope(naive_cross_entropy, logits, rows, (double)smoothing, gradient, 2e-5);
        }
    }
    free(logits);
}

static const float class_weights[CLASSES] = {0.5f, 2, 1, 3, 0, 0.125f, 1.5f}; /* no label is a 4 */

static double naive_weighted(const float *logits, size_t rows, double smoothing) {
    double total = 0, whole = 0;
    for (size_t row = 0; row < rows; row++) {
        const float *z = logits + row * CLASSES;
        double sum = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            sum += exp((double)z[c]);
        }
        for (size_t c = 0; c < CLASSES; c++) {
            double target = smoothing / CLASSES + (c == labels[row] ? 1 - smoothing : 0);
            total += (double)class_weights[c] * target * (log(sum) - (double)z[c]);
        }
        whole += (double)class_weights[labels[row]];
    }
    return total / whole;
}

static void weighted_cross_entropy_and_its_gradient_are_what_they_say(void **state) {
    (void)state;
    float *logits = random_floats(8, ROWS * CLASSES, -2, 2);
    for (size_t rows = 1; rows <= ROWS; rows++) {
        for (float smoothing = 0; smoothing < 0.5f; smoothing += 0.2f) {
            float gradient[ROWS * CLASSES];
            size_t correct = 0, alike = 0;
            double loss = loss_weighted_cross_entropy(logits, labels, rows, CLASSES, smoothing, class_weights, gradient,
                                                      &correct);
            assert_true(fabs(loss - naive_weighted(logits, rows, (double)smoothing)) < 1e-6);
            assert_true(loss == loss_weighted_cross_entropy(logits, labels, rows, CLASSES, smoothing, class_weights,
                                                            NULL, &correct));
            loss_cross_entropy(logits, labels, rows, CLASSES, smoothing, NULL, &alike);
            assert_int_equal(correct, 2 * alike);
            assert_is_slope(naive_weighted, logits, rows, (double)smoothing, gradient, 5e-5);
        }
    }
    free(logits);
}

/* The scale of the weights is of no matter, and equal ones are as none. */
static void equal_weights_are_as_none(void **state) {
    (void)state;
    float *logits = random_floats(9, ROWS * CLASSES, -4, 4), plain[ROWS * CLASSES], weighted[ROWS * CLASSES];
    for (float weight = 0.25f; weight < 1000; weight *= 8) {
        float all[CLASSES];
        size_t correct = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            all[c] = weight;
        }
        double none = loss_cross_entropy(logits, labels, ROWS, CLASSES, 0.1f, plain, &correct);
        double loss = loss_weighted_cross_entropy(logits, labels, ROWS, CLASSES, 0.1f, all, weighted, &correct);
        assert_true(fabs(none - loss) < 1e-5);
        for (size_t i = 0; i < ROWS * CLASSES; i++) {
            assert_true(fabsf(plain[i] - weighted[i]) < 1e-6f);
        }
    }
    free(logits);
}

static void cross_entropy_stays_finite(void **state) {
    (void)state;
    const float logits[3] = {1000, -1000, 0};
    const uint8_t right = 0, wrong = 1;
    float gradient[3];
    size_t correct = 0;
    assert_true(loss_cross_entropy(logits, &right, 1, 3, 0, gradient, &correct) == 0);
    assert_true(gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f);
    assert_true(fabs(loss_cross_entropy(logits, &wrong, 1, 3, 0, gradient, &correct) - 2000) < 1e-3);
    assert_true(gradient[0] == 1.0f && gradient[1] == -1.0f && gradient[2] == 0.0f);
    assert_int_equal(correct, 1);
    const float weights[3] = {2, 0.5f, 0};
    assert_true(fabs(loss_weighted_cross_entropy(logits, &wrong, 1, 3, 0, weights, gradient, &correct) - 2000) < 1e-3);
    assert_true(gradient[0] == 1.0f && gradient[1] == -1.0f && gradient[2] == 0.0f);
}

/* The largest logit wins, the first of equals, and the count goes on from what it was. */
static void cross_entropy_counts_what_is_right(void **state) {
    (void)state;
    const float logits[4 * 3] = {1, 2, 3, 2, 2, 1, 2, 2, 1, 0, 0, 0};
    const uint8_t truth[4] = {2, 0, 1, 0};
    size_t correct = 40;
    loss_cross_entropy(logits, truth, 4, 3, 0, NULL, &correct);
    assert_int_equal(correct, 43);
    assert_int_equal(loss_largest(logits, 3), 2);
    assert_int_equal(loss_largest(logits + 3, 3), 0);
    assert_int_equal(loss_largest(logits, 1), 0);
}

static void softmax_is_what_it_says(void **state) {
    (void)state;
    float *row = random_floats(3, CLASSES, -5, 5), sum = 0;
    double wanted[CLASSES], total = 0;
    for (size_t c = 0; c < CLASSES; c++) {
        total += wanted[c] = exp((double)row[c]);
    }
    loss_softmax(row, CLASSES);
    for (size_t c = 0; c < CLASSES; c++) {
        assert_true(fabs((double)row[c] - wanted[c] / total) < 1e-6);
        sum += row[c];
    }
    assert_true(fabsf(sum - 1) < 1e-6f);
    free(row);
    float large[3] = {500, 499, -500};
    loss_softmax(large, 3);
    assert_true(fabsf(large[0] - 0.7310586f) < 1e-6f && fabsf(large[1] - 0.2689414f) < 1e-6f && large[2] == 0.0f);
    float one[1] = {-3};
    loss_softmax(one, 1);
    assert_true(one[0] == 1.0f);
}

static double naive_quantization(const float *soft, size_t n) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        double target = soft[i] > 0.5f ? 1 : 0;
        total += pow((double)soft[i] - target, 2);
    }
    return total / (double)n;
}

static void quantization_is_the_mean_squared_error(void **state) {
    (void)state;
    float *soft = random_floats(4, 33, 0, 1);
    for (size_t n = 1; n <= 33; n += 8) {
        assert_true(fabs(loss_quantization(soft, n, 5, NULL) - naive_quantization(soft, n)) < 1e-7);
    }
    free(soft);
    const float sure[4] = {0, 1, 1, 0}, torn[2] = {0.5f, 0.5f};
    assert_true(loss_quantization(sure, 4, 1, NULL) == 0);
    assert_true(loss_quantization(torn, 2, 1, NULL) == 0.25);
}

/* Added to what is there, times the weight, the decision taken as constant; the value is without the weight.
 */
static void quantization_gradient_is_its_weighted_slope(void **state) {
    (void)state;
    enum { N = 33 };
    const float weights[] = {0.25f, 1, 2};
    const double step = 1.0 / 256;
    float *soft = random_floats(5, N, 0, 1), *before = random_floats(6, N, -1, 1);
    for (size_t i = 0; i < N; i++) { /* a slope is taken on one side of the decision */
        soft[i] += fabsf(soft[i] - 0.5f) < 2 * (float)step ? 4 * (float)step : 0;
    }
    for (size_t w = 0; w < 3; w++) {
        float gradient[N];
        memcpy(gradient, before, sizeof gradient);
        double value = loss_quantization(soft, N, weights[w], gradient);
        assert_true(fabs(value - naive_quantization(soft, N)) < 1e-7);
        for (size_t i = 0; i < N; i++) {
            float kept = soft[i];
            assert_true(fabsf(kept - 0.5f) > (float)step); /* the slope is taken on one side of the decision */
            soft[i] = kept + (float)step;
            double up = naive_quantization(soft, N);
            soft[i] = kept - (float)step;
            double slope = (double)weights[w] * (up - naive_quantization(soft, N)) / (2 * step);
            soft[i] = kept;
            assert_true(fabs((double)gradient[i] - (double)before[i] - slope) < 1e-6);
        }
    }
    const float torn = 0.5f; /* is a 0: it is pushed down */
    float pushed = 0;
    loss_quantization(&torn, 1, 1, &pushed);
    assert_true(pushed == 1.0f);
    free(soft);
    free(before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cross_entropy_is_what_it_says),
        cmocka_unit_test(cross_entropy_gradient_is_its_slope),
        cmocka_unit_test(weighted_cross_entropy_and_its_gradient_are_what_they_say),
        cmocka_unit_test(equal_weights_are_as_none),
        cmocka_unit_test(cross_entropy_stays_finite),
        cmocka_unit_test(cross_entropy_counts_what_is_right),
        cmocka_unit_test(softmax_is_what_it_says),
        cmocka_unit_test(quantization_is_the_mean_squared_error),
        cmocka_unit_test(quantization_gradient_is_its_weighted_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
