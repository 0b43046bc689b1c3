#include "experiment/validate.h"

#include "experiment/derive.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct rule {
    const char *key; /* "section.key"; of an encoder without its section */
    bool holds;
    const char *demand;
} rule;

enum { CLASSES_ASSUMED = 2 }; /* of listed portions: how many there are, the labels say */

static bool finite_in(float value, float low, float high) {
    return isfinite(value) && value >= low && value <= high;
}

static bool is_in(uint32_t value, uint32_t low, uint32_t high) {
    return value >= low && value <= high;
}

/* Says what does not hold, and names it in `key`. */
static err refuse(char *key, const char *section, const char *name, const char *demand) {
    snprintf(key, EXPERIMENT_KEY_MAX, "%s%s", section, name);
    return err_fail(ERR_INPUT, "key %s %s", key, demand);
}

static err first_broken_in(const char *section, const rule *rules, size_t count, char *key) {
    for (size_t i = 0; i < count; i++) {
        if (!rules[i].holds) {
            return refuse(key, section, rules[i].key, rules[i].demand);
        }
    }
    return ERR_OK;
}

static err first_broken(const rule *rules, size_t count, char *key) {
    return first_broken_in("", rules, count, key);
}

static err check_partitioned(const experiment *e, char *key) {
    const dataset *set = NULL;
    bool known = dataset_find(e->dataset.name, &set) == ERR_OK;
    const rule rules[] = {
        {"dataset.name", known, "must be a data set that is known: mnist, fashion-mnist, cifar10 or cifar100"},
        {"dataset.portions", is_in(e->dataset.portions, 1, PARTITION_PORTIONS_MAX), "must be from 1 to 64"},
        {"dataset.validation", !known || e->dataset.validation < set->train_samples,
         "must be below the training samples"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_shapes(const experiment *e, char *key) {
    for (uint32_t k = 0; k < e->portion_count; k++) {
        const experiment_portion *p = &e->portions[k];
        if (portion_shape_check(&p->shape)) {
            snprintf(key, EXPERIMENT_KEY_MAX, "portions.%s.shape", p->name);
            return err_fail(ERR_INPUT, "key %s does not fit: %s", key, err_text());
        }
    }
    return ERR_OK;
}

/* What needs a partition: only then is it known where in a sample a portion lies. */
static err check_listed(const experiment *e, char *key) {
    const rule rules[] = {
        {"encoder.net", !experiment_is_classifier_alone(e), "none needs dataset.partition"},
        {"decoder.net",
         e->decoder.net == PRESET_LINEAR || e->decoder.net == PRESET_IDENTITY ||
             e->decoder.net == PRESET_LISTED_DECODER,
         "must be linear, identity or a list of layers where portions are listed"},
        {"augment", !augment_is_any(&e->augment), "needs dataset.partition"},
        {"tta", !e->tta.flip && !e->tta.shift, "needs dataset.partition"},
    };
    err failed = first_broken(rules, sizeof rules / sizeof rules[0], key);
    return failed ? failed : check_shapes(e, key);
}

static err check_dataset(const experiment *e, char *key) {
    const rule rules[] = {
        {"dataset.mean", finite_in(e->dataset.mean, -10, 10), "must be from -10 to 10"},
        {"dataset.std", e->dataset.std == 0 || finite_in(e->dataset.std, 1e-4f, 100), "must be from 0.0001 to 100"},
        {"dataset.evaluate_test", e->dataset.evaluate_test || e->dataset.validation > 0 || experiment_lists_portions(e),
         "false needs dataset.validation"},
        {"dataset.min_portions", e->dataset.min_portions <= 1 || e->dataset.missing == EXPERIMENT_MISSING_TRAIN,
         "needs dataset.missing train"},
        {"dataset.min_portions", e->portion_count == 0 || e->dataset.min_portions <= e->portion_count,
         "must be at most the number of portions"},
    };
    err failed = experiment_lists_portions(e) ? check_listed(e, key) : check_partitioned(e, key);
    return failed ? failed : first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_augmentation(const experiment *e, char *key) {
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
static err check_alone(const experiment *e, char *key) {
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

static err check_use(const experiment *e, char *key) {
    const preset_encoder *c = &e->encoder;
    const rule rules[] = {
        {"tta.flip", !e->tta.flip || c->activation == PRESET_SIGMOID, "needs encoder.activation sigmoid"},
        {"tta.shift", !e->tta.shift || c->activation == PRESET_SIGMOID, "needs encoder.activation sigmoid"},
        {"tta.shift", is_in(e->tta.shift, 0, 16), "must be from 0 to 16"},
        {"decoder.net", e->decoder.net != PRESET_NO_DECODER, "none is for encoder.net none only"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static bool sums_up(const uint32_t *stages, uint32_t count, uint32_t bits) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += stages[i];
        if (stages[i] == 0) {
            return false;
        }
    }
    return count == 0 || sum == bits;
}

/* `stages` [stage_count]; `section` is where in the text they stand. */
static err check_encoder(const preset_encoder *c, const uint32_t *stages, uint32_t stage_count, const char *section,
                         char *key) {
    bool has_hidden = preset_encoder_has_hidden(c->net);
    const rule rules[] = {
        {"net", c->net != PRESET_NO_ENCODER, "none is not for one portion"},
        {"hidden", !has_hidden || is_in(c->hidden, 1, 65536), "must be from 1 to 65536"},
        {"hidden", has_hidden || !c->hidden, "is for simple-1d and conv-norm only"},
        {"bits", is_in(c->bits, 1, 64), "must be from 1 to 64"},
        {"temperature", c->temperature == 0 || finite_in(c->temperature, 0.001f, 1), "must be from 0.001 to 1"},
        {"refinement", sums_up(stages, stage_count, c->bits), "must be numbers above 0 that add up to encoder.bits"},
    };
    return first_broken_in(section, rules, sizeof rules / sizeof rules[0], key);
}

static err check_listed_encoders(const experiment *e, char *key) {
    for (uint32_t k = 0; k < e->portion_count; k++) {
        const experiment_portion *p = &e->portions[k], *first = &e->portions[0];
        char section[EXPERIMENT_KEY_MAX / 2], demand[96];
        snprintf(section, sizeof section, "portions.%s.encoder.", p->name);
        err failed = check_encoder(&p->encoder, p->refinement, p->refinement_count, section, key);
        if (failed) {
            return failed;
        }
        uint32_t stages = experiment_refinement(e, k).count, wanted = experiment_refinement(e, 0).count;
        if (stages != wanted) {
            snprintf(demand, sizeof demand, "has %u stages, portion %s %u: all need as many", stages, first->name,
                     wanted);
            return refuse(key, section, "refinement", demand);
        }
    }
    return ERR_OK;
}

static err check_encoders(const experiment *e, char *key) {
    err failed = experiment_lists_portions(e)
                     ? check_listed_encoders(e, key)
                     : check_encoder(&e->encoder, e->refinement.bits, e->refinement.bits_count, "encoder.", key);
    return failed ? failed : check_use(e, key);
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

static err check_refinement(const experiment *e, char *key) {
    uint32_t count = experiment_lists_portions(e) ? e->portions[0].refinement_count : e->refinement.bits_count;
    const rule rules[] = {
        {"loss.refinement_weights", e->refinement.weights_count == 0 || e->refinement.weights_count == count,
         "must have an entry for each of encoder.refinement"},
        {"loss.refinement_weights", are_weights(e), "must be from 0 to 1000, not all 0"},
        {"training.confidence_thresholds", e->refinement.thresholds_count == 0 || count > 1,
         "needs encoder.refinement"},
        {"training.confidence_thresholds", are_rising_thresholds(e), "must be numbers from 0 to 1.1 in rising order"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_classifier(const experiment *e, char *key) {
    bool has_hidden = e->classifier.net == PRESET_MNIST || e->classifier.net == PRESET_MLP;
    bool is_loaded = e->classifier.train != PRESET_TRAIN_JOINT;
    const rule rules[] = {
        {"classifier.hidden", !has_hidden || is_in(e->classifier.hidden, 1, 65536), "must be from 1 to 65536"},
        {"classifier.hidden", has_hidden || !e->classifier.hidden, "is for mnist and mlp only"},
        {"classifier.train", !is_loaded || e->classifier.weights[0], "needs classifier.weights"},
        {"classifier.weights", is_loaded || !e->classifier.weights[0], "needs classifier.train frozen or fine-tune"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err check_training(const experiment *e, char *key) {
    /* listed portions may come with samples to hold back */
    bool may_hold_back = e->dataset.validation > 0 || experiment_lists_portions(e);
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
        {"training.early_stopping_patience", e->training.early_stopping_patience == 0 || may_hold_back,
         "needs dataset.validation"},
        {"training.portion_dropout", finite_in(e->training.portion_dropout, 0, 0.9f), "must be from 0 to 0.9"},
        {"training.ema_decay", finite_in(e->training.ema_decay, 0, 0.99999f), "must be from 0 to 0.99999"},
        {"training.keep_best", !e->training.keep_best || may_hold_back, "needs dataset.validation"},
    };
    return first_broken(rules, sizeof rules / sizeof rules[0], key);
}

static err misfit(const char *of, char *key) {
    snprintf(key, EXPERIMENT_KEY_MAX, "%s", of);
    return err_fail(ERR_INPUT, "key %s does not fit: %s", of, err_text());
}

static bool find_layer(const net_lists *lists, net_list_range layers, uint32_t place, char *key, size_t used);

static bool find_in_path(const net_lists *lists, net_list_range path, const char *name, uint32_t place, char *key,
                         size_t used) {
    used += (size_t)snprintf(key + used, EXPERIMENT_KEY_MAX - used, "%s", name);
    return used < EXPERIMENT_KEY_MAX && find_layer(lists, path, place, key, used);
}

/* Whether layer `place` is one of a list's, or within one; then its key goes on from byte `used` with its numbers. */
static bool find_layer(const net_lists *lists, net_list_range layers, uint32_t place, char *key, size_t used) {
    for (uint32_t i = 0; i < layers.count; i++) {
        const net_list_layer *l = &lists->layers[layers.first + i];
        size_t end = used + (size_t)snprintf(key + used, EXPERIMENT_KEY_MAX - used, ".%u", i);
        if (end >= EXPERIMENT_KEY_MAX || layers.first + i == place) {
            return end < EXPERIMENT_KEY_MAX;
        }
        if (l->kind == NET_LIST_RESIDUAL && (find_in_path(lists, l->main, ".residual.main", place, key, end) ||
                                             find_in_path(lists, l->shortcut, ".residual.shortcut", place, key, end))) {
            return true;
        }
    }
    key[used] = '\0';
    return false;
}

/* The key of a net, or of the layer of a list that does not fit: it may be in a block. */
static err misfit_net(const experiment *e, const char *of, net_list_range list, uint32_t origin, char *key) {
    bool found = false;
    for (uint32_t i = 0; i < e->nets.block_count && origin && !found; i++) {
        size_t used = (size_t)snprintf(key, EXPERIMENT_KEY_MAX, "nets.%s", e->nets.blocks[i].name);
        found = find_layer(&e->nets, e->nets.blocks[i].layers, origin - 1, key, used);
    }
    if (!found) {
        size_t used = (size_t)snprintf(key, EXPERIMENT_KEY_MAX, "%s", of);
        found = origin && find_layer(&e->nets, list, origin - 1, key, used);
    }
    return err_fail(ERR_INPUT, "key %s does not fit: %s", key, err_text());
}

static err check_partition(const experiment *e, char *key) {
    partition s;
    if (experiment_partition(e, &s, NULL)) {
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
    return ERR_OK;
}

static err check_sizes(const experiment *e, char *key) {
    bool is_listed = experiment_lists_portions(e);
    err failed = is_listed ? ERR_OK : check_partition(e, key);
    for (uint32_t k = 0; k < e->portion_count && !failed; k++) {
        char net[EXPERIMENT_KEY_MAX] = "encoder.net";
        const preset_encoder *encoder = &e->portions[k].encoder;
        preset_fault fault;
        if (preset_check_encoder(encoder, &e->nets, experiment_portion_shape(e, k), &fault)) {
            snprintf(net, sizeof net, is_listed ? "portions.%s.encoder.net" : "encoder.net", e->portions[k].name);
            failed = misfit_net(e, net, encoder->list, fault.origin, key);
        }
    }
    if (failed) {
        return failed;
    }
    const dataset *set = NULL;
    preset_head head =
        experiment_head(e, is_listed || dataset_find(e->dataset.name, &set) ? CLASSES_ASSUMED : set->classes);
    preset_fault fault;
    if (preset_check_head(&head, &fault)) {
        bool is_decoder = strcmp(fault.part, "decoder") == 0;
        return misfit_net(e, is_decoder ? "decoder.net" : "classifier.net",
                          is_decoder ? e->decoder.list : e->classifier.list, fault.origin, key);
    }
    return ERR_OK;
}

err experiment_validate(const experiment *e, char *at) {
    char unasked[EXPERIMENT_KEY_MAX], *key = at ? at : unasked;
    err failed = check_dataset(e, key);
    failed = failed ? failed : experiment_is_classifier_alone(e) ? check_alone(e, key) : check_encoders(e, key);
    failed = failed ? failed : check_refinement(e, key);
    failed = failed ? failed : check_augmentation(e, key);
    failed = failed ? failed : check_classifier(e, key);
    failed = failed ? failed : check_training(e, key);
    return failed ? failed : check_sizes(e, key);
}
