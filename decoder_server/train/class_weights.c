#include "decoder_server/train/class_weights.h"

#include <string.h>

static void balance(const uint8_t *labels, size_t samples, uint32_t classes, float *weights) {
    size_t counts[DATASET_CLASSES_MAX] = {0};
    for (size_t i = 0; i < samples; i++) {
        counts[labels[i]]++;
    }
    for (uint32_t c = 0; c < classes; c++) {
        weights[c] = counts[c] > 0 ? (float)((double)samples / ((double)classes * (double)counts[c])) : 0;
    }
}

bool class_weights_of(const experiment *e, const uint8_t *labels, size_t samples, uint32_t classes, float *weights) {
    if (e->loss.class_weights_count > 0) {
        memcpy(weights, e->loss.class_weights, classes * sizeof *weights);
        return true;
    }
    if (e->loss.class_weighting == EXPERIMENT_BALANCED) {
        balance(labels, samples, classes, weights);
        return true;
    }
    return false;
}

err class_weights_check(const experiment *e, uint32_t classes) {
    uint32_t count = e->loss.class_weights_count;
    return count == 0 || count == classes
               ? ERR_OK
               : err_fail(ERR_INPUT, "key loss.class_weights lists %u weights, the data has %u classes", count,
                          classes);
}
