#include "decoder_server/train/class_metrics.h"

#include "base/json.h"
#include "nn/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct class_metrics {
    uint32_t classes;
    uint64_t samples;
    uint32_t *confusion; /* [classes of the sample, class taken for] */
    class_metrics_bin bins[CLASS_METRICS_BINS];
    uint32_t *keys; /* [samples]; of two classes alone: score_key */
};

err class_metrics_new(class_metrics **out, uint32_t classes, uint32_t samples) {
    size_t keys = classes == 2 ? samples : 0;
    class_metrics *m = calloc(1, sizeof *m);
    if (m) {
        m->classes = classes;
        m->confusion = calloc((size_t)classes * classes, sizeof *m->confusion);
        m->keys = malloc((keys + 1) * sizeof *m->keys);
    }
    if (!m || !m->confusion || !m->keys) {
        class_metrics_free(m);
        return err_fail(ERR_MEMORY, "no memory for the metrics of %u classes", classes);
    }
    *out = m;
    return ERR_OK;
}

void class_metrics_free(class_metrics *m) {
    if (m) {
        free(m->confusion);
        free(m->keys);
        free(m);
    }
}

void class_metrics_start(class_metrics *m) {
    m->samples = 0;
    memset(m->confusion, 0, (size_t)m->classes * m->classes * sizeof *m->confusion);
    memset(m->bins, 0, sizeof m->bins);
}

/* Adding. */

static float probability_of(float p) {
    return p > 0.0f && p <= 1.0f ? p : 0.0f;
}

/* The bits of a float from 0 to 1 rise with it and leave the highest two free: a number that sorts by score, and says
 * in its lowest bit whether the sample is of class 1. */
static uint32_t score_key(float score, uint8_t label) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits << 1 | label;
}

static class_metrics_bin *bin_of(class_metrics *m, float confidence) {
    size_t bin = (size_t)((double)confidence * CLASS_METRICS_BINS);
    return &m->bins[bin < CLASS_METRICS_BINS ? bin : CLASS_METRICS_BINS - 1];
}

void class_metrics_add(class_metrics *m, const float *probabilities, const uint8_t *labels, size_t rows) {
    for (size_t row = 0; row < rows; row++) {
        const float *p = probabilities + row * m->classes;
        size_t taken = loss_largest(p, m->classes);
        float confidence = probability_of(p[taken]);
        class_metrics_bin *bin = bin_of(m, confidence);
        bin->samples++;
        bin->correct += taken == labels[row];
        bin->confidence_sum += (double)confidence;
        m->confusion[labels[row] * m->classes + taken]++;
        if (m->classes == 2) {
            m->keys[m->samples] = score_key(probability_of(p[1]), labels[row]);
        }
        m->samples++;
    }
}

/* By class. */

uint64_t class_metrics_count(const class_metrics *m, uint32_t truth, uint32_t taken) {
    return m->confusion[truth * m->classes + taken];
}

static uint64_t samples_of(const class_metrics *m, uint32_t class) {
    uint64_t sum = 0;
    for (uint32_t c = 0; c < m->classes; c++) {
        sum += class_metrics_count(m, class, c);
    }
    return sum;
}

static uint64_t taken_for(const class_metrics *m, uint32_t class) {
    uint64_t sum = 0;
    for (uint32_t c = 0; c < m->classes; c++) {
        sum += class_metrics_count(m, c, class);
    }
    return sum;
}

static double share(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

double class_metrics_precision(const class_metrics *m, uint32_t class) {
    return share(class_metrics_count(m, class, class), taken_for(m, class));
}

double class_metrics_recall(const class_metrics *m, uint32_t class) {
    return share(class_metrics_count(m, class, class), samples_of(m, class));
}

double class_metrics_f1(const class_metrics *m, uint32_t class) {
    return share(2 * class_metrics_count(m, class, class), samples_of(m, class) + taken_for(m, class));
}

double class_metrics_macro_f1(const class_metrics *m) {
    double sum = 0;
    for (uint32_t c = 0; c < m->classes; c++) {
        sum += class_metrics_f1(m, c);
    }
    return sum / m->classes;
}

/* The area under the ROC curve. */

static int compare_keys(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

double class_metrics_auc(class_metrics *m) {
    uint64_t counts[2] = {samples_of(m, 0), samples_of(m, 1)}, zeroes_below = 0, halves = 0;
    if (m->classes != 2 || counts[0] == 0 || counts[1] == 0) {
        return (double)NAN;
    }
    qsort(m->keys, m->samples, sizeof *m->keys, compare_keys);
    for (size_t i = 0; i < m->samples;) {
        uint64_t equal[2] = {0, 0};
        uint32_t score = m->keys[i] >> 1;
        for (; i < m->samples && m->keys[i] >> 1 == score; i++) {
            equal[m->keys[i] & 1]++;
        }
        halves += equal[1] * (2 * zeroes_below + equal[0]);
        zeroes_below += equal[0];
    }
    return (double)halves / (2.0 * (double)counts[0] * (double)counts[1]);
}

/* Calibration. */

const class_metrics_bin *class_metrics_bins(const class_metrics *m) {
    return m->bins;
}

double class_metrics_calibration_error(const class_metrics *m) {
    double sum = 0;
    for (size_t i = 0; i < CLASS_METRICS_BINS; i++) {
        sum += fabs((double)m->bins[i].correct - m->bins[i].confidence_sum);
    }
    return m->samples > 0 ? sum / (double)m->samples : 0;
}

/* JSON. What memory runs out for is NULL, and so is all it would be in. */

static json_t *confusion_json(const class_metrics *m) {
    json_t *rows = json_array();
    for (uint32_t truth = 0; truth < m->classes; truth++) {
        json_t *row = json_array();
        for (uint32_t taken = 0; taken < m->classes; taken++) {
            json_list_add(&row, json_integer((json_int_t)class_metrics_count(m, truth, taken)));
        }
        json_list_add(&rows, row);
    }
    return rows;
}

static json_t *by_class(const class_metrics *m, double (*of)(const class_metrics *, uint32_t)) {
    json_t *list = json_array();
    for (uint32_t c = 0; c < m->classes; c++) {
        json_list_add(&list, json_real(of(m, c)));
    }
    return list;
}

static json_t *reliability_json(const class_metrics *m) {
    json_t *list = json_array();
    for (size_t i = 0; i < CLASS_METRICS_BINS; i++) {
        const class_metrics_bin *b = &m->bins[i];
        double mean = b->samples > 0 ? b->confidence_sum / (double)b->samples : (double)NAN;
        json_list_add(&list, json_pack("{s:I, s:I, s:o}", "samples", (json_int_t)b->samples, "correct",
                                       (json_int_t)b->correct, "confidence", json_finite(mean)));
    }
    return list;
}

json_t *class_metrics_json(class_metrics *m) {
    json_t *j = json_pack("{s:I, s:o, s:o, s:o, s:o, s:f, s:f, s:o}", "samples", (json_int_t)m->samples, "confusion",
                          confusion_json(m), "precision", by_class(m, class_metrics_precision), "recall",
                          by_class(m, class_metrics_recall), "f1", by_class(m, class_metrics_f1), "macro_f1",
                          class_metrics_macro_f1(m), "calibration_error", class_metrics_calibration_error(m),
                          "reliability", reliability_json(m));
    if (m->classes == 2) {
        json_put(&j, "auc", json_finite(class_metrics_auc(m)));
    }
    return j;
}
