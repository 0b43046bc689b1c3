/* Texts of experiments for tests: a whole one, with changes. Header only: a test is one program. */
#ifndef FEWBIT_TESTS_LIB_EXPERIMENTS_H
#define FEWBIT_TESTS_LIB_EXPERIMENTS_H

#include "experiment/experiment.h"
#include "experiment/load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef enum value_type { TEXT, NAME_OF, COUNT, NUMBER, SWITCH } value_type;

typedef struct experiment_key {
    const char *section, *key; /* section "": at the top */
    const char *value;         /* no optional one is what it is when left out */
    const char *other;         /* another value that is as good; NULL: there is only one */
    value_type type;
    bool may_be_left_out;
} experiment_key;

static const experiment_key all_keys[] = {
    {"", "name", "whole", "another", TEXT, false},
    {"", "title", "Every key", "Each key", TEXT, true},
    {"dataset", "name", "mnist", "fashion-mnist", TEXT, false},
    {"dataset", "partition", "slices", NULL, NAME_OF, false}, /* the others do not go with the rest */
    {"dataset", "portions", "4", "7", COUNT, false},
    {"dataset", "mean", "0.25", "0.251", NUMBER, true},
    {"dataset", "std", "0.5", "0.501", NUMBER, true},
    {"dataset", "validation", "5000", "5001", COUNT, true},
    {"dataset", "evaluate_test", "false", "true", SWITCH, true},
    {"dataset", "missing", "train", "drop", NAME_OF, true},
    {"dataset", "min_portions", "1", NULL, COUNT, true}, /* more does not go with drop */
    {"dataset", "align", "psi", "hash", NAME_OF, true},
    {"augment", "shift", "1.5", "1.51", NUMBER, true},
    {"augment", "rotation", "10", "10.1", NUMBER, true},
    {"augment", "scale", "0.1", "0.11", NUMBER, true},
    {"augment", "shear", "0.2", "0.21", NUMBER, true},
    {"augment", "flip", "true", "false", SWITCH, true},
    {"encoder", "net", "simple-1d", NULL, NAME_OF, false},
    {"encoder", "hidden", "200", "201", COUNT, false},
    {"encoder", "bits", "4", "5", COUNT, false},
    {"encoder", "batch_norm", "true", "false", SWITCH, true},
    {"encoder", "activation", "resigmoid", "sigmoid", NAME_OF, true},
    {"encoder", "binarize", "straight-through", "after-training", NAME_OF, true},
    {"encoder", "noise", "logistic", "none", NAME_OF, true},
    {"encoder", "temperature", "0.5", "0.501", NUMBER, true},
    {"tta", "flip", "false", NULL, SWITCH, true}, /* true needs soft sigmoid */
    {"tta", "shift", "0", NULL, COUNT, true},     /* and so does more */
    {"decoder", "net", "linear", NULL, NAME_OF, false},
    {"classifier", "net", "mnist", NULL, NAME_OF, false},
    {"classifier", "hidden", "1000", "1001", COUNT, false},
    {"loss", "quantization", "0.75", "0.751", NUMBER, true},
    {"loss", "label_smoothing", "0.1", "0.11", NUMBER, true},
    {"loss", "class_weights", "balanced", "none", NAME_OF, true},
    {"optimiser", "kind", "sgd", NULL, NAME_OF, false}, /* adam takes no momentum */
    {"optimiser", "learning_rate", "0.001", "0.00100001", NUMBER, false},
    {"optimiser", "momentum", "0.5", "0.501", NUMBER, true},
    {"optimiser", "weight_decay", "0.01", "0.011", NUMBER, true},
    {"optimiser", "schedule", "one-cycle", "cosine", NAME_OF, true},
    {"training", "epochs", "10", "11", COUNT, false},
    {"training", "batch_size", "100", "99", COUNT, false},
    {"training", "seed", "18446744073709551615", "18446744073709551614", COUNT, false},
    {"training", "checkpoint_every", "70", "71", COUNT, true},
    {"training", "evaluate_every", "110", "111", COUNT, true},
    {"training", "evaluate_epochs", "3", "4", COUNT, true},
    {"training", "early_stopping_patience", "6", "7", COUNT, true},
    {"training", "keep_best", "true", "false", SWITCH, true},
    {"training", "portion_dropout", "0.25", "0.251", NUMBER, true},
    {"training", "ema_decay", "0.99", "0.991", NUMBER, true},
    {"paper", "row", "29", "28", COUNT, false},
    {"paper", "epochs", "50", "51", COUNT, false},
    {"paper", "train", "98.5", "98.501", NUMBER, true},
    {"paper", "soft", "97.5", "97.501", NUMBER, true},
    {"paper", "rounded", "93.5", "93.501", NUMBER, true},
};

enum { ALL_KEYS = sizeof all_keys / sizeof all_keys[0], TEXT_MAX = 65536 };

/* Another value for "section.key" (or "name"), or NULL: the key is left out. */
typedef struct change {
    const char *path, *value;
} change;

static inline void path_of(const experiment_key *k, char *to, size_t size) {
    snprintf(to, size, "%s%s%s", k->section, k->section[0] ? "." : "", k->key);
}

static inline const change *change_of(const experiment_key *k, const change *changes, size_t count) {
    char path[64];
    path_of(k, path, sizeof path);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(changes[i].path, path) == 0) {
            return &changes[i];
        }
    }
    return NULL;
}

/* The whole experiment with changes, one key a line; `*line`, when not NULL, gets the last changed key's. A section
 * whose keys are all left out is left out. */
static inline size_t compose(char text[TEXT_MAX], const change *changes, size_t count, unsigned *line) {
    const char *section = "";
    size_t used = 0, found = 0;
    unsigned at = 0;
    for (size_t i = 0; i < ALL_KEYS; i++) {
        const experiment_key *k = &all_keys[i];
        const change *c = change_of(k, changes, count);
        found += c != NULL;
        if (c && !c->value) {
            continue;
        }
        if (strcmp(section, k->section) != 0) {
            used += (size_t)snprintf(text + used, TEXT_MAX - used, "%s:\n", k->section);
            section = k->section;
            at++;
        }
        used += (size_t)snprintf(text + used, TEXT_MAX - used, "%s%s: %s\n", section[0] ? "  " : "", k->key,
                                 c ? c->value : k->value);
        assert_true(used < TEXT_MAX);
        at++;
        if (c && line) {
            *line = at;
        }
    }
    assert_int_equal(found, count); /* a change of a key that is not there would test nothing */
    return used;
}

/* Parses it from a copy without a byte behind. */
static inline err parse_text(const char *text, size_t length, experiment *e) {
    char *exact = malloc(length ? length : 1);
    assert_non_null(exact);
    memcpy(exact, text, length);
    err failed = experiment_parse("some.yaml", exact, length, e);
    free(exact);
    return failed;
}

static inline err parse_changed(const change *changes, size_t count, experiment *e) {
    static char text[TEXT_MAX];
    return parse_text(text, compose(text, changes, count, NULL), e);
}

static inline void must_parse(const change *changes, size_t count, experiment *e) {
    if (parse_changed(changes, count, e)) {
        fail_msg("%s", err_text());
    }
}

#endif
