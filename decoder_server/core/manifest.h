/* The manifest of a run: which steps are committed, with the SHA-256 of every part, and what the evaluations up to the
 * last of them came to. manifest.json is written last of all parts of a checkpoint:
 *
 *   {"run", "last": commit, "evaluations": [...], "best": commit, "best_evaluation": its number}
 *
 * The last two are there where a best checkpoint is kept. */
#ifndef FEWBIT_DECODER_SERVER_CORE_MANIFEST_H
#define FEWBIT_DECODER_SERVER_CORE_MANIFEST_H

#include "base/sha256.h"
#include "data/partition.h"

#include <jansson.h>

/* Where training stands: before batch `batch` of epoch `epoch`, both from 0, after `step` updates. The sums are the
 * running ones since the last evaluation. */
typedef struct manifest_position {
    uint64_t step;
    uint32_t epoch, batch;
    uint32_t evaluations; /* done so far */
    double loss_sum;      /* over samples, since the last evaluation, or since the epoch began where that is later */
    uint64_t correct, seen;
    double seconds; /* that training took since the last evaluation */
} manifest_position;

/* A committed checkpoint. */
typedef struct manifest_commit {
    manifest_position position;
    uint8_t head[SHA256_BYTES];
    uint8_t encoders[PARTITION_PORTIONS_MAX][SHA256_BYTES];
} manifest_commit;

/* Accuracies in percent; NAN: not measured. `soft` and `rounded` are of the test part, `soft_validation` and
 * `validation` (rounded) of the samples held back. Of a classifier alone nothing is rounded: `soft` is its test
 * accuracy, `validation` its other one. */
typedef struct manifest_evaluation {
    double epoch; /* epochs trained, from 1 at the end of the first */
    double loss, train, soft, rounded, soft_validation, validation, seconds;
    char *encoders; /* JSON, what train/histogram.h says of the soft outputs, an entry a portion; NULL: nothing */
    char *metrics;  /* JSON, {"test", "validation"}: what train/class_metrics.h says of each; NULL: nothing, or not any
                       more */
    char *refinement; /* JSON, what train/refinement_eval.h says, an entry a threshold; NULL: bits come in one stage */
} manifest_evaluation;

/* All zero but `encoders` at the beginning; ended with manifest_free. */
typedef struct manifest {
    uint32_t encoders; /* whose parts a commit has */
    bool has_commit;
    manifest_commit last;
    bool has_best;
    manifest_commit best;
    uint32_t best_evaluation;         /* from 0 */
    manifest_evaluation *evaluations; /* [evaluation_count] */
    uint32_t evaluation_count;
} manifest;

/* Reads manifest.json; it must be of that run. A file that is not there: nothing is committed yet. */
err manifest_read(manifest *m, const char *path, uint64_t run);
void manifest_free(manifest *m);

/* Adds an evaluation to what the next commit writes; takes over its texts, also where it fails. Those before it that no
 * commit stands for lose their metrics. */
err manifest_add(manifest *m, const manifest_evaluation *e);

/* Forgets the evaluations after the last commit (when training goes back to it). */
void manifest_rewind(manifest *m);

/* Commits: writes manifest.json. On failure the last commit stands. */
err manifest_write(manifest *m, const char *path, uint64_t run, const manifest_commit *commit, bool is_best);

/* The commit to serve: the best one where one is kept, else the last; NULL where there is none. And its evaluation, of
 * one at least. */
const manifest_commit *manifest_served(const manifest *m);
const manifest_evaluation *manifest_final(const manifest *m);

/* An evaluation as the log, the manifest and the result tell it, a new reference: "epoch", "loss", "train_accuracy",
 * "soft_accuracy", "rounded_accuracy", "soft_validation_accuracy", "validation_accuracy" (null: not measured),
 * "seconds", "encoders", "metrics", "refinement". */
json_t *manifest_evaluation_json(const manifest_evaluation *e);

#endif
