#include "experiment/derive.h"

#include "nn/shape_infer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

err experiment_partition(const experiment *e, partition *s, uint32_t *classes) {
    const dataset *set;
    if (experiment_lists_portions(e)) {
        return err_fail(ERR_INPUT, "the portions are listed, so there is no partition");
    }
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

err experiment_identify(const experiment *e, const labels *l, run_identity *i) {
    char names[PARTITION_PORTIONS_MAX][PORTION_NAME_MAX + 1];
    for (uint32_t k = 0; k < e->portion_count; k++) {
        snprintf(names[k], sizeof names[k], "%s", e->portions[k].name);
    }
    return run_identity_of(i, l, (const char(*)[PORTION_NAME_MAX + 1]) names, e->portion_count);
}

void experiment_hold_back(experiment *e, const labels *l) {
    e->dataset.validation = e->dataset.validation ? e->dataset.validation : l->validation;
}

nn_shape experiment_portion_shape(const experiment *e, uint32_t portion) {
    uint32_t shape[3];
    portion_shape_image(&e->portions[portion].shape, shape);
    return (nn_shape){shape[0], shape[1], shape[2]};
}

nn_shape experiment_sample_shape(const experiment *e) {
    partition s;
    if (!experiment_partition(e, &s, NULL)) {
        return (nn_shape){s.channels, s.height, s.width};
    }
    size_t elements = 0;
    for (uint32_t k = 0; k < e->portion_count; k++) {
        elements += portion_shape_elements(&e->portions[k].shape);
    }
    return (nn_shape){1, 1, (uint32_t)elements};
}

preset_head experiment_head(const experiment *e, uint32_t classes) {
    codeword c = experiment_codeword(e);
    return (preset_head){
        .decoder = e->decoder.net,
        .classifier = e->classifier.net,
        .lists = &e->nets,
        .decoder_list = e->decoder.list,
        .classifier_list = e->classifier.list,
        .training = e->classifier.train,
        .hidden = e->classifier.hidden,
        .classes = classes,
        .portions = c.portions,
        .bits = codeword_bits(&c),
        .sample = experiment_sample_shape(e),
    };
}

void experiment_describe_encoder(const experiment *e, uint32_t portion, nn_spec *spec) {
    preset_describe_encoder(&e->portions[portion].encoder, &e->nets, experiment_portion_shape(e, portion), spec);
}

void experiment_describe_head(const experiment *e, uint32_t classes, nn_spec *spec) {
    preset_head head = experiment_head(e, classes);
    preset_describe_head(&head, spec);
}

nn_net_options experiment_encoder_options(const experiment *e, const nn_spec *spec, bool trains) {
    return (nn_net_options){.max_rows = nn_rows_at_once(spec, e->training.batch_size, EXPERIMENT_NODE_ROWS),
                            .training = trains,
                            .ema = e->training.ema_decay > 0,
                            .precision = e->training.precision};
}

double experiment_step_macs(const experiment *e, uint32_t classes) {
    nn_spec spec;
    experiment_describe_head(e, classes, &spec);
    double macs = nn_spec_step_macs(&spec, e->training.batch_size, !experiment_is_classifier_alone(e));
    for (uint32_t k = 0; k < e->portion_count; k++) {
        experiment_describe_encoder(e, k, &spec);
        macs += nn_spec_step_macs(&spec, e->training.batch_size, false);
    }
    return macs;
}

refinement experiment_refinement(const experiment *e, uint32_t portion) {
    const experiment_portion *p = &e->portions[portion];
    refinement r = {.count = 1, .upto = {p->encoder.bits}};
    uint32_t bits = 0;
    for (uint32_t i = 0; i < p->refinement_count; i++) {
        bits += p->refinement[i];
        r.upto[i] = bits;
        r.count = i + 1;
    }
    return r;
}

codeword experiment_codeword(const experiment *e) {
    codeword c = codeword_empty();
    for (uint32_t k = 0; k < e->portion_count; k++) {
        refinement r = experiment_refinement(e, k);
        codeword_append(&c, &r);
    }
    return c;
}

uint32_t experiment_bits(const experiment *e) {
    codeword c = experiment_codeword(e);
    return codeword_bits(&c);
}

void experiment_refinement_weights(const experiment *e, float weights[REFINEMENT_STAGES_MAX]) {
    uint32_t count = experiment_refinement(e, 0).count;
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

float experiment_temperature(const experiment *e, uint32_t portion, uint64_t step, uint32_t train_samples) {
    double last = (double)e->portions[portion].encoder.temperature,
           steps = e->training.epochs * (double)experiment_steps(e, train_samples);
    double passed = fmin(1, (double)step / steps);
    return last > 0 ? (float)pow(last, passed * passed * passed * passed) : 1;
}

err experiment_fill_portions(experiment *e) {
    partition s;
    if (experiment_lists_portions(e)) {
        return ERR_OK;
    }
    e->portion_count = 0;
    err failed = experiment_partition(e, &s, NULL);
    if (failed) {
        return failed;
    }
    experiment_portion p = {
        .shape = partition_shape_of_portions(&s), .encoder = e->encoder, .refinement_count = e->refinement.bits_count};
    memcpy(p.refinement, e->refinement.bits, sizeof p.refinement);
    for (; e->portion_count < s.portions; e->portion_count++) {
        snprintf(p.name, sizeof p.name, "%u", e->portion_count);
        e->portions[e->portion_count] = p;
    }
    return ERR_OK;
}

const experiment_portion *experiment_find_portion(const experiment *e, const char *name, uint32_t *number) {
    for (*number = 0; *number < e->portion_count; (*number)++) {
        if (strcmp(e->portions[*number].name, name) == 0) {
            return &e->portions[*number];
        }
    }
    return NULL;
}
