#include "experiment/experiment.h"

#include "base/file.h"
#include "data/dataset.h"
#include "experiment/load.h"
#include "experiment/validate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static err refuse(const char *where, const char *text, size_t length, const char *key, const char *demand) {
    unsigned line = load_line_of(text, length, key);
    if (line == 0) {
        return err_fail(ERR_INPUT, "%s: key %s %s", where, key, demand);
    }
    return err_fail(ERR_INPUT, "%s:%u: key %s %s", where, line, key, demand);
}

err experiment_validate(const experiment *e) {
    validate_failure found;
    return validate_experiment(e, &found) ? err_fail(ERR_INPUT, "key %s %s", found.key, found.demand) : ERR_OK;
}

err experiment_parse(const char *where, const char *text, size_t length, experiment *e) {
    validate_failure found;
    experiment loaded;
    err failed = load_text(where, text, length, &loaded);
    if (failed) {
        return failed;
    }
    *e = loaded;
    return validate_experiment(e, &found) ? refuse(where, text, length, found.key, found.demand) : ERR_OK;
}

err experiment_load(const char *path, experiment *e) {
    uint8_t *text;
    size_t length;
    err failed = file_read(path, 64 * 1024, &text, &length);
    if (failed) {
        return failed;
    }
    failed = experiment_parse(path, (const char *)text, length, e);
    free(text);
    return failed;
}

err experiment_compare(const experiment *a, const experiment *b, bool *is_same) {
    char text[2][EXPERIMENT_TEXT_MAX];
    size_t length[2];
    err failed = experiment_serialize(a, text[0], &length[0]);
    failed = failed ? failed : experiment_serialize(b, text[1], &length[1]);
    *is_same = !failed && length[0] == length[1] && memcmp(text[0], text[1], length[0]) == 0;
    return failed;
}

err experiment_partition(const experiment *e, partition *s, uint32_t *classes) {
    const dataset *set;
    err failed = dataset_find(e->dataset.name, &set);
    if (failed) {
        return failed;
    }
    *s = (partition){e->dataset.partition, e->dataset.portions, set->channels, set->height, set->width};
    *classes = set->classes;
    return partition_check(s);
}

refinement experiment_refinement(const experiment *e) {
    refinement r = {.count = 1, .upto = {e->encoder.bits}};
    uint32_t bits = 0;
    for (uint32_t i = 0; i < e->refinement.bits_count; i++) {
        bits += e->refinement.bits[i];
        r.upto[i] = bits;
        r.count = i + 1;
    }
    return r;
}

void experiment_refinement_weights(const experiment *e, float weights[REFINEMENT_STAGES_MAX]) {
    uint32_t count = experiment_refinement(e).count;
    float sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        weights[i] = e->refinement.weights_count ? e->refinement.weights[i] : 1.0f;
        sum += weights[i];
    }
    for (uint32_t i = 0; i < count; i++) {
        weights[i] /= sum;
    }
}

err experiment_weights_path(const experiment *e, const char *file, char *path, size_t size) {
    const char *weights = e->classifier.weights, *slash = strrchr(file, '/');
    if (weights[0] == '/' || !slash) {
        return file_path(path, size, "%s", weights);
    }
    return file_path(path, size, "%.*s/%s", (int)(slash - file), file, weights);
}

nn_optimiser experiment_optimiser(const experiment *e, uint32_t train_samples) {
    return (nn_optimiser){
        .kind = e->optimiser.kind,
        .learning_rate = e->optimiser.learning_rate,
        .momentum = e->optimiser.momentum,
        .weight_decay = e->optimiser.weight_decay,
        .schedule = e->optimiser.schedule,
        .steps = (uint64_t)e->training.epochs * experiment_steps(e, train_samples),
    };
}

float experiment_temperature(const experiment *e, uint64_t step, uint32_t train_samples) {
    double last = (double)e->encoder.temperature,
           steps = e->training.epochs * (double)experiment_steps(e, train_samples);
    double passed = fmin(1, (double)step / steps);
    return last > 0 ? (float)pow(last, passed * passed * passed * passed) : 1;
}
