/* The identity of a run: everything that makes its model. RUN/identity.json keeps it beside experiment.yaml:
 *
 *   {"run", "training", "train_samples", "test_samples", "labels", "ids": a digest, "" where they are counted,
 *    "classes": [names], "portions": [names], "portion_digests": [hex, ...], "pinned",
 *    "weights": null or {"file", "sha256"}, and once samples were aligned "alignment": {...}}
 *
 * "run" is 16 hex digits: the first 8 bytes of SHA-256 over the text of experiment.yaml (so over --epochs, --seed and
 * --precision too), the numbers of samples, the digests of the labels and the ids, that of every portion, and that of
 * the weights the classifier begins with. Where the labels know no digests of portions, those are "pinned": "" until
 * their nodes have come for the first time, then what those said, and no part of "run". "training" is a random number,
 * another one for each folder: two trainings of one run give the same model, but one may be stopped where the other
 * goes on. Where and on how many threads it is trained is no part of it, nor is the alignment, which follows from the
 * ids. */
#ifndef FEWBIT_DATA_RUN_IDENTITY_H
#define FEWBIT_DATA_RUN_IDENTITY_H

#include "data/labels.h"

/* How many samples an alignment by ids has kept. */
typedef struct run_identity_alignment {
    bool is_known;
    uint32_t train, complete;                    /* to train on, and those of them that every portion has */
    uint32_t validation;                         /* held back; every portion has them */
    uint32_t test, incomplete_test;              /* that every portion has, and those that lack some */
    uint32_t samples[PARTITION_PORTIONS_MAX][2]; /* of each portion's folder, by enum dataset_split */
} run_identity_alignment;

typedef struct run_identity {
    uint64_t run, training;
    uint32_t samples[2];     /* by enum dataset_split */
    char labels[SHA256_HEX]; /* over the training samples' labels, then the test samples' */
    char ids[SHA256_HEX];    /* sample_ids_digest; "": counted */
    class_names classes;
    uint32_t portions;
    labels_portion portion[PARTITION_PORTIONS_MAX]; /* digest "": not known yet, where is_pinned */
    bool is_pinned;
    char weights_file[FILE_PATH_MAX]; /* as it was named; "": no weights */
    uint8_t weights[SHA256_BYTES];
    run_identity_alignment alignment;
} run_identity;

/* What a training on these labels is of, with a training number of its own; without weights, not sealed. `names` of
 * the portions; ERR_INPUT where the labels know others. */
err run_identity_of(run_identity *i, const labels *l, const char (*names)[PORTION_NAME_MAX + 1], uint32_t portions);

/* Takes the digest that the node of a portion says as that of the run, where none is known; ERR_INPUT where another one
 * is. *is_new: it has to be written. */
err run_identity_pin(run_identity *i, uint32_t portion, const char *digest, bool *is_new);

/* Sets `run`, from the text of the experiment and all the rest. */
err run_identity_seal(run_identity *i, const void *text, size_t length);

/* The alignment as identity.json and result.json have it, a new reference: {"train", "complete", "validation", "test",
 * "incomplete_test", "samples": [of the first portion's training, of its test, of the second's training, ...]}. */
json_t *run_identity_pack_alignment(const run_identity *i);

err run_identity_write(const run_identity *i, const char *folder);

/* Reads that of a run's folder; ERR_INPUT where it is not of the text of its experiment.yaml. */
err run_identity_read(run_identity *i, const char *folder, const void *text, size_t length);

/* Whether a run is of the data that is wanted; else ERR_INPUT names what differs. */
err run_identity_check_data(const run_identity *i, const run_identity *wanted, const char *folder);

#endif
