/* Losses and their gradients. */
#ifndef FEWBIT_NN_LOSS_H
#define FEWBIT_NN_LOSS_H

#include <stddef.h>
#include <stdint.h>

/* Cross entropy of softmax(logits), mean over the rows, against targets that are 1 - smoothing + smoothing / classes
 * for the label and smoothing / classes for every other class (Szegedy et al., "Rethinking the Inception Architecture",
 * 2016). logits, gradient: [rows, classes]; labels: [rows], each < classes; gradient = (softmax - target) / rows, or
 * NULL. Adds to `*correct` the rows whose largest logit (the first of equals) is the label. */
double loss_cross_entropy(const float *logits, const uint8_t *labels, size_t rows, size_t classes, float smoothing,
                          float *gradient, size_t *correct);

/* The same with a weight for each class, [classes], each at least 0 and those of the labels above it: the mean weighted
 * by that of each row's label, a target's share of a class multiplied by the weight of that class. So does PyTorch's
 * CrossEntropyLoss with `weight` and `label_smoothing`. */
double loss_weighted_cross_entropy(const float *logits, const uint8_t *labels, size_t rows, size_t classes,
                                   float smoothing, const float *weights, float *gradient, size_t *correct);

/* The paper's quantization term for one encoder: mean squared error between soft [n] and its binarised
 * values, taken as constants. Adds weight * d(mse)/d(soft) to gradient [n] (NULL: not wanted) and returns the
 * mse without the weight. */
double loss_quantization(const float *soft, size_t n, float weight, float *gradient);

/* Softmax of one row in place. */
void loss_softmax(float *row, size_t classes);

/* Index of the largest, the first of equals. */
size_t loss_largest(const float *row, size_t classes);

#endif
