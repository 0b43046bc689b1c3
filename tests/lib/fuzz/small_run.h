/* A run so small that thousands of them are done in seconds: 784 pixels in 2 slices, 4 bits each (where FUZZ_REFINEMENT
 * is defined, in stages of 1 and 3), 8 training and 6 test samples. make_corpus.py knows these numbers. */
#ifndef FEWBIT_TESTS_LIB_FUZZ_SMALL_RUN_H
#define FEWBIT_TESTS_LIB_FUZZ_SMALL_RUN_H

#include "data/labels.h"
#include "decoder_server/core/run_dir.h"
#include "decoder_server/train/head_trainer.h"
#include "experiment/derive.h"
#include "experiment/validate.h"
#include "tests/lib/fuzz/check.h"
#include "tests/lib/portion_info.h"

enum { SMALL_PORTIONS = 2, SMALL_BITS = 4, SMALL_TRAIN = 8, SMALL_TEST = 6, SMALL_BATCH = 4, SMALL_EPOCHS = 2 };

static inline experiment small_experiment(void) {
    experiment e = {
        .name = "small",
        .dataset = {.evaluate_test = true, .name = "mnist", .partition = PARTITION_SLICES, .portions = SMALL_PORTIONS},
        .encoder = {.net = PRESET_SIMPLE_1D, .hidden = 8, .bits = SMALL_BITS, .activation = PRESET_SIGMOID},
        .classifier = {.net = PRESET_MNIST, .hidden = 8},
        .optimiser = {.kind = NN_SGD, .learning_rate = 0.25f},
        .training = {.epochs = SMALL_EPOCHS, .batch_size = SMALL_BATCH, .seed = 1},
    };
#ifdef FUZZ_REFINEMENT
    e.refinement.bits_count = 2;
    e.refinement.bits[0] = 1;
    e.refinement.bits[1] = 3;
#endif
    FUZZ_CHECK(experiment_fill_portions(&e) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(experiment_validate(&e, NULL) == ERR_OK, "%s", err_text());
    return e;
}

/* The digest of portion k is sixty-four times the digit k. */
static inline void small_digest(uint32_t k, char digest[SHA256_HEX]) {
    memset(digest, (int)('0' + k), SHA256_HEX - 1);
    digest[SHA256_HEX - 1] = '\0';
}

static inline const labels *small_labels(void) {
    static uint8_t train[SMALL_TRAIN] = {0, 1, 2, 3, 4, 5, 6, 7}, test[SMALL_TEST] = {9, 8, 7, 6, 5, 4};
    static labels_portion portions[SMALL_PORTIONS];
    static labels l = {.dataset = "mnist",
                       .has_partition = true,
                       .partition = {PARTITION_SLICES, SMALL_PORTIONS, 1, 28, 28},
                       .samples = {SMALL_TRAIN, SMALL_TEST},
                       .values = {train, test},
                       .portions = portions,
                       .portion_count = SMALL_PORTIONS};
    l.classes = some_class_names(10);
    for (uint32_t k = 0; k < SMALL_PORTIONS; k++) {
        snprintf(portions[k].name, sizeof portions[k].name, "%u", k);
        small_digest(k, portions[k].digest);
    }
    return &l;
}

/* A run with one committed step, 2. */
static inline void small_committed_run(run_dir *r, const char *folder) {
    experiment e = small_experiment();
    head_trainer *s;
    FUZZ_CHECK(run_dir_create(r, folder, &e, small_labels(), NULL) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(head_trainer_new(&s, &e, 10, 16, 1000, NULL) == ERR_OK, "%s", err_text());
    head_trainer_init(s, 1);
    manifest_commit commit = {.position = {.step = 2, .epoch = 1, .evaluations = 1}};
    err failed = manifest_add(&r->manifest, &(manifest_evaluation){.epoch = 1, .loss = 1});
    failed = failed ? failed : run_dir_save_head(r, 2, head_trainer_net(s), head_trainer_optimiser(s), commit.head);
    failed = failed ? failed : run_dir_commit(r, &commit, false);
    FUZZ_CHECK(failed == ERR_OK, "%s", err_text());
    head_trainer_free(s);
}

#endif
