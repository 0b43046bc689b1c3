#include "experiment/validate.h"

#include "data/dataset.h"
#include "experiment/derive.h"

#include <math.h>
#include <string.h>

typedef struct rule {
    const char *key; /* "section.key" */
    bool holds;
    const char *demand;
} rule;

static bool finite_in(float value, float low, float high) {
    return isfinite(value) && value >= low && value <= high;
}

static bool is_in(uint32_t value, uint32_t low, uint32_t high) {
    return value >= low && value <= high;
}

static err first_broken(const rule *rules, size_t count, const char **key) {
    for (size_t i = 0; i < count; i++) {
        if (!rules[i].holds) {
            *key = rules[i].key;
            return err_fail(ERR_INPUT, "key %s %s", *key, rules[i].demand);
        }
    }
    return ERR_OK;
}

static err check_dataset(const experiment *e, const char **key) {
    const dataset *set = NULL;
    bool known = dataset_find(e->dataset.name, &set) == ERR_OK;
    const rule rules[] = {
        {"dataset.name", known, "must be a data set that is known: mnist, fashion-mnist, cifar10 or cifar100"},
        {"dataset.portions", is_in(e->dataset.portions, 1, PARTITION_PORTIONS_MAX), "must be from 1 to 64"},
        {"dataset.mean", finite_in(e->dataset.mean, -10, 10), "must be from -10 to 10"},
        {"dataset.std", e->dataset.std == 0 || finite_in(e->dataset.std, 1e-4f, 100), "must be from 0.0001 to 100"},
        {"dataset.validation", !known || e->dataset.validation < set->train_samples,
         "must be below the training samples"},
        {"dataset.evaluate_test", e->dataset.evaluate_test || e->dataset.validation > 0,
         "false needs dataset.validation"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_augmentation(const experiment *e, const char **key) {
    const augmentation *a = &e->augment;
    const rule rules[] = {
        {"augment.shift", finite_in(a->shift, 0, 1000), "must be from 0 to 1000"},
        {"augment.rotation", finite_in(a->rotation, 0, 180), "must be from 0 to 180"},
        {"augment.scale", finite_in(a->scale, 0, 0.9f), "must be from 0 to 0.9"},
        {"augment.shear", finite_in(a->shear, 0, 2), "must be from 0 to 2"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

/* The classifier alone: no key of an encoder, a decoder, or of what only they need says anything. */
static err check_alone(const experiment *e, const char **key) {
    const preset_encoder *c = &e->encoder;
    bool is_bare = !c->hidden && !c->bits && !c->batch_norm && !c->activation && !c->binarize && !c->noise &&
                   c->temperature == 0 && !e->refinement.bits_count && !e->tta.flip && !e->tta.shift;
    const rule rules[] = {
        {"encoder.net", is_bare, "none takes no other key beside it"},
        {"decoder.net", e->decoder.net == PRESET_NO_DECODER, "must be none where encoder.net is"},
        {"dataset.portions", e->dataset.portions == 1, "must be 1 where encoder.net is none"},
        {"loss.quantization", e->loss.quantization == 0, "must be 0 where encoder.net is none"},
        {"training.portion_dropout", e->training.portion_dropout == 0, "must be 0 where encoder.net is none"},
        {"classifier.train", e->classifier.train != PRESET_TRAIN_FROZEN, "leaves nothing to train"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_encoders(const experiment *e, const char **key) {
    const preset_encoder *c = &e->encoder;
    bool has_hidden = preset_encoder_has_hidden(c->net);
    const rule rules[] = {
        {"encoder.hidden", !has_hidden || is_in(c->hidden, 1, 65536), "must be from 1 to 65536"},
        {"encoder.hidden", has_hidden || !c->hidden, "is for simple-1d and conv-norm only"},
        {"encoder.bits", is_in(c->bits, 1, 64), "must be from 1 to 64"},
        {"encoder.temperature", c->temperature == 0 || finite_in(c->temperature, 0.001f, 1), "must be from 0.001 to 1"},
        {"tta.flip", !e->tta.flip || c->activation == PRESET_SIGMOID, "needs encoder.activation sigmoid"},
        {"tta.shift", !e->tta.shift || c->activation == PRESET_SIGMOID, "needs encoder.activation sigmoid"},
        {"tta.shift", is_in(e->tta.shift, 0, 16), "must be from 0 to 16"},
        {"decoder.net", e->decoder.net != PRESET_NO_DECODER, "none is for encoder.net none only"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static bool sums_up_to_bits(const experiment *e) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < e->refinement.bits_count; i++) {
        sum += e->refinement.bits[i];
        if (e->refinement.bits[i] == 0) {
            return false;
        }
    }
    return e->refinement.bits_count == 0 || sum == e->encoder.bits;
}

static bool are_weights(const experiment *e) {
    float sum = 0;
    for (uint32_t i = 0; i < e->refinement.weights_count; i++) {
        sum += e->refinement.weights[i];
        if (!finite_in(e->refinement.weights[i], 0, 1000)) {
            return false;
        }
    }
    return e->refinement.weights_count == 0 || sum > 0;
}

static bool are_rising_thresholds(const experiment *e) {
    for (uint32_t i = 0; i < e->refinement.thresholds_count; i++) {
        if (!finite_in(e->refinement.thresholds[i], i ? e->refinement.thresholds[i - 1] : 0, 1.1f)) {
            return false;
        }
    }
    return true;
}

static bool are_class_weights(const experiment *e) {
    for (uint32_t c = 0; c < e->loss.class_weights_count; c++) {
        if (!finite_in(e->loss.class_weights[c], 0.001f, 1000)) {
            return false;
        }
    }
    return true;
}

static err check_refinement(const experiment *e, const char **key) {
    uint32_t count = e->refinement.bits_count;
    const rule rules[] = {
        {"encoder.refinement", sums_up_to_bits(e), "must be numbers above 0 that add up to encoder.bits"},
        {"loss.refinement_weights", e->refinement.weights_count == 0 || e->refinement.weights_count == count,
         "must have an entry for each of encoder.refinement"},
        {"loss.refinement_weights", are_weights(e), "must be from 0 to 1000, not all 0"},
        {"training.confidence_thresholds", e->refinement.thresholds_count == 0 || count > 1,
         "needs encoder.refinement"},
        {"training.confidence_thresholds", are_rising_thresholds(e), "must be numbers from 0 to 1.1 in rising order"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_classifier(const experiment *e, const char **key) {
    bool has_hidden = e->classifier.net != PRESET_PLAYGROUND;
    bool is_loaded = e->classifier.train != PRESET_TRAIN_JOINT;
    const rule rules[] = {
        {"classifier.hidden", !has_hidden || is_in(e->classifier.hidden, 1, 65536), "must be from 1 to 65536"},
        {"classifier.hidden", has_hidden || !e->classifier.hidden, "is for mnist and mlp only"},
        {"classifier.train", !is_loaded || e->classifier.weights[0], "needs classifier.weights"},
        {"classifier.weights", is_loaded || !e->classifier.weights[0], "needs classifier.train frozen or fine-tune"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_training(const experiment *e, const char **key) {
    const rule rules[] = {
        {"loss.quantization", finite_in(e->loss.quantization, 0, 1e6f), "must be from 0 to 1000000"},
        {"optimiser.learning_rate", e->optimiser.learning_rate > 0 && e->optimiser.learning_rate <= 100,
         "must be above 0, at most 100"},
        {"optimiser.momentum", finite_in(e->optimiser.momentum, 0, 0.9999f), "must be from 0 to 0.9999"},
        {"optimiser.momentum", e->optimiser.kind == NN_SGD || e->optimiser.momentum == 0, "is for sgd only"},
        {"optimiser.weight_decay", finite_in(e->optimiser.weight_decay, 0, 10), "must be from 0 to 10"},
        {"optimiser.weight_decay", e->optimiser.kind != NN_ADAM || e->optimiser.weight_decay == 0,
         "is for adamw and sgd only"},
        {"loss.label_smoothing", finite_in(e->loss.label_smoothing, 0, 0.9f), "must be from 0 to 0.9"},
        {"loss.class_weights", are_class_weights(e), "must be from 0.001 to 1000"},
        {"training.epochs", is_in(e->training.epochs, 1, 100000), "must be from 1 to 100000"},
        {"training.batch_size", is_in(e->training.batch_size, 1, 8192), "must be from 1 to 8192"},
        {"training.batch_size", e->training.batch_size >= 2 || !experiment_norms_rows(e),
         "must be at least 2 with batch norm"},
        {"training.early_stopping_patience", e->training.early_stopping_patience == 0 || e->dataset.validation > 0,
         "needs dataset.validation"},
        {"training.portion_dropout", finite_in(e->training.portion_dropout, 0, 0.9f), "must be from 0 to 0.9"},
        {"training.ema_decay", finite_in(e->training.ema_decay, 0, 0.99999f), "must be from 0 to 0.99999"},
        {"training.keep_best", !e->training.keep_best || e->dataset.validation > 0, "needs dataset.validation"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err misfit(const char *of, const char **key) {
    *key = of;
    return err_fail(ERR_INPUT, "key %s does not fit: %s", of, err_text());
}

static err check_sizes(const experiment *e, const char **key) {
    partition s;
    uint32_t classes;
    if (experiment_partition(e, &s, &classes)) {
        return misfit("dataset.partition", key);
    }
    if (augment_check(&e->augment, &s)) {
        return misfit("augment", key);
    }
    if (e->tta.flip && augment_check(&(augmentation){.flip = true}, &s)) {
        return misfit("tta.flip", key);
    }
    if (e->tta.shift && augment_check(&(augmentation){.shift = 1}, &s)) {
        return misfit("tta.shift", key);
    }
    if (preset_check_encoder(&e->encoder, experiment_portion_shape(&s))) {
        return misfit("encoder.net", key);
    }
    preset_head head = experiment_head(e, &s, classes);
    const char *part;
    if (preset_check_head(&head, &part)) {
        return misfit(strcmp(part, "decoder") == 0 ? "decoder.net" : "classifier.net", key);
    }
    return ERR_OK;
}

err experiment_validate(const experiment *e, const char **at) {
    const char *unasked, **key = at ? at : &unasked;
    err failed = check_dataset(e, key);
    failed = failed ? failed : experiment_is_classifier_alone(e) ? check_alone(e, key) : check_encoders(e, key);
    failed = failed ? failed : check_refinement(e, key);
    failed = failed ? failed : check_augmentation(e, key);
    failed = failed ? failed : check_classifier(e, key);
    failed = failed ? failed : check_training(e, key);
    return failed ? failed : check_sizes(e, key);
}
