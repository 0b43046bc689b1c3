/* What a classifier gets right and wrong, class by class: the confusion matrix and what follows from it, the area under
 * the ROC curve, and how far its probabilities may be believed.
 *
 * Pure: it is given probabilities and labels, batch by batch. What is undefined is 0: the precision of a class that no
 * sample was taken for, the recall of one without samples, the F1 of one that is neither. */
#ifndef FEWBIT_DECODER_SERVER_TRAIN_CLASS_METRICS_H
#define FEWBIT_DECODER_SERVER_TRAIN_CLASS_METRICS_H

#include "base/err.h"

#include <jansson.h>

enum { CLASS_METRICS_BINS = 15 };

/* Samples by their confidence (the largest probability): bin i is from i / 15, up to but not (i + 1) / 15; 1 is in the
 * last. */
typedef struct class_metrics_bin {
    uint64_t samples, correct;
    double confidence_sum;
} class_metrics_bin;

typedef struct class_metrics class_metrics;

/* For `samples` at most, of at most 256 classes; nothing is allocated later but for JSON. */
err class_metrics_new(class_metrics **m, uint32_t classes, uint32_t samples);
void class_metrics_free(class_metrics *m);

/* Forgets all samples. */
void class_metrics_start(class_metrics *m);

/* probabilities [rows, classes], each from 0 to 1 (what is no number counts as 0); labels [rows], each < classes. A
 * sample is taken for its class of the largest probability, the first of equals. */
void class_metrics_add(class_metrics *m, const float *probabilities, const uint8_t *labels, size_t rows);

/* Samples of class `truth` that were taken for class `taken`. */
uint64_t class_metrics_count(const class_metrics *m, uint32_t truth, uint32_t taken);

/* Of the samples taken for a class, the share that is of it; of those of it, the share taken for it; the harmonic mean
 * of both, and its mean over all classes. */
double class_metrics_precision(const class_metrics *m, uint32_t class);
double class_metrics_recall(const class_metrics *m, uint32_t class);
double class_metrics_f1(const class_metrics *m, uint32_t class);
double class_metrics_macro_f1(const class_metrics *m);

/* Of two classes: how probable it is that a sample of class 1 has a higher probability of class 1 than one of class 0;
 * equal ones count half. Exact. NAN: there are not two classes, or one has no sample. */
double class_metrics_auc(class_metrics *m);

/* Expected calibration error: over the bins, the mean distance of the share that is right from the mean confidence,
 * weighted by their samples (Guo et al., "On Calibration of Modern Neural Networks", 2017). */
const class_metrics_bin *class_metrics_bins(const class_metrics *m); /* [CLASS_METRICS_BINS] */
double class_metrics_calibration_error(const class_metrics *m);

/* A new reference; NULL: no memory. {"samples", "confusion": [a row a class, by the class taken for], "precision": [a
 * class], "recall": [...], "f1": [...], "macro_f1", "calibration_error", "reliability": [{"samples", "correct",
 * "confidence": their mean, null of none}, a bin], "auc": of two classes alone, null where it is not defined} */
json_t *class_metrics_json(class_metrics *m);

#endif
