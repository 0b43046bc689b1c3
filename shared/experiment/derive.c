#include "experiment/derive.h"

#include "base/file.h"
#include "data/dataset.h"
#include "nn/shape_infer.h"

#include <math.h>
#include <string.h>

err experiment_partition(const experiment *e, partition *s, uint32_t *classes) {
    const dataset *set;
    err failed = dataset_find(e->dataset.name, &set);
    if (failed) {
        return failed;
    }
    *s = (partition){e->dataset.partition, e->dataset.portions, set->channels, set->height, set->width};
    if (classes) {
        *classes = set->classes;
    }
    return partition_check(s);
}

/* Slices that are whole rows of one plane are images too, such as the halves of a digit. */
nn_shape experiment_portion_shape(const partition *s) {
    uint32_t shape[3];
    partition_box box;
    if (s->kind == PARTITION_SLICES && !partition_find_box(s, 0, &box)) {
        return (nn_shape){box.channels, box.height, box.width};
    }
    partition_portion_shape(s, shape);
    return (nn_shape){shape[0], shape[1], shape[2]};
}

preset_head experiment_head(const experiment *e, const partition *s, uint32_t classes) {
    return (preset_head){
        .decoder = e->decoder.net,
        .classifier = e->classifier.net,
        .training = e->classifier.train,
        .hidden = e->classifier.hidden,
        .classes = classes,
        .portions = s->portions,
        .bits = e->encoder.bits,
        .sample = {s->channels, s->height, s->width},
    };
}

void experiment_describe_encoder(const experiment *e, const partition *s, nn_spec *spec) {
    preset_describe_encoder(&e->encoder, experiment_portion_shape(s), spec);
}

void experiment_describe_head(const experiment *e, const partition *s, uint32_t classes, nn_spec *spec) {
    preset_head head = experiment_head(e, s, classes);
    preset_describe_head(&head, spec);
}

double experiment_step_macs(const experiment *e) {
    partition s;
    uint32_t classes;
    if (experiment_partition(e, &s, &classes)) {
        return 0;
    }
    nn_spec encoder, head;
    experiment_describe_encoder(e, &s, &encoder);
    experiment_describe_head(e, &s, classes, &head);
    return s.portions * nn_spec_step_macs(&encoder, e->training.batch_size, false) +
           nn_spec_step_macs(&head, e->training.batch_size, !experiment_is_classifier_alone(e));
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

codeword experiment_codeword(const experiment *e) {
    codeword c = codeword_empty();
    refinement r = experiment_refinement(e);
    for (uint32_t p = 0; p < e->dataset.portions; p++) {
        codeword_append(&c, &r);
    }
    return c;
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
