#include "nn/loss.h"

#include "bits/binarize.h"

#include <math.h>

size_t loss_largest(const float *row, size_t classes) {
    size_t best = 0;
    for (size_t c = 1; c < classes; c++) {
        best = row[c] > row[best] ? c : best;
    }
    return best;
}

void loss_softmax(float *row, size_t classes) {
    float top = row[loss_largest(row, classes)];
    float sum = 0.0f;
    for (size_t c = 0; c < classes; c++) {
        row[c] = expf(row[c] - top);
        sum += row[c];
    }
    for (size_t c = 0; c < classes; c++) {
        row[c] /= sum;
    }
}

static float mean_of(const float *row, size_t classes) {
    float sum = 0;
    for (size_t c = 0; c < classes; c++) {
        sum += row[c];
    }
    return sum / (float)classes;
}

double loss_cross_entropy(const float *logits, const uint8_t *labels, size_t rows, size_t classes, float smoothing,
                          float *gradient, size_t *correct) {
    const float elsewhere = smoothing / (float)classes, here = 1.0f - smoothing + elsewhere;
    double total = 0;
    for (size_t row = 0; row < rows; row++) {
        const float *z = logits + row * classes;
        size_t top = loss_largest(z, classes);
        float sum = 0.0f;
        for (size_t c = 0; c < classes; c++) {
            float power = expf(z[c] - z[top]);
            sum += power;
            if (gradient) {
                gradient[row * classes + c] = power;
            }
        }
        total += (double)(logf(sum) + z[top] - z[labels[row]]);
        total += smoothing > 0 ? (double)smoothing * (double)(z[labels[row]] - mean_of(z, classes)) : 0;
        *correct += top == labels[row];
        for (size_t c = 0; gradient && c < classes; c++) {
            float *g = &gradient[row * classes + c];
            *g = (*g / sum - (c == labels[row] ? here : elsewhere)) / (float)rows;
        }
    }
    return total / (double)rows;
}

/* The weight that a class has in one row's target. */
static float share_of(size_t class, size_t label, size_t classes, float smoothing, const float *weights) {
    return weights[class] * (smoothing / (float)classes + (class == label ? 1.0f - smoothing : 0.0f));
}

double loss_weighted_cross_entropy(const float *logits, const uint8_t *labels, size_t rows, size_t classes,
                                   float smoothing, const float *weights, float *gradient, size_t *correct) {
    double total = 0, whole = 0;
    for (size_t row = 0; row < rows; row++) {
        whole += (double)weights[labels[row]];
    }
    for (size_t row = 0; row < rows; row++) {
        const float *z = logits + row * classes;
        size_t label = labels[row], top = loss_largest(z, classes);
        float sum = 0.0f, shares = 0.0f;
        for (size_t c = 0; c < classes; c++) {
            sum += expf(z[c] - z[top]);
            shares += share_of(c, label, classes, smoothing, weights);
        }
        for (size_t c = 0; c < classes; c++) {
            float share = share_of(c, label, classes, smoothing, weights);
            total += share > 0 ? (double)share * (double)(logf(sum) + z[top] - z[c]) : 0;
            if (gradient) {
                gradient[row * classes + c] = (shares * (expf(z[c] - z[top]) / sum) - share) / (float)whole;
            }
        }
        *correct += top == label;
    }
    return total / whole;
}

double loss_quantization(const float *soft, size_t n, float weight, float *gradient) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        float d = soft[i] - binarize(soft[i]);
        total += (double)(d * d);
        if (gradient) {
            gradient[i] += weight * 2.0f * d / (float)n;
        }
    }
    return total / (double)n;
}
