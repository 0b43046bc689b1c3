/* The checkpoints of one node: STATE/RUN/portion-K/TRAINING/step-N.safetensors, RUN and TRAINING in 16 hex digits.
 *
 * A server is not trusted with them. A run's folder says in run.json what it is of, the experiment and the digest of
 * the portion's data: who comes with another one is refused before anything is written. A training writes and removes
 * in its own folder alone, one process at a time, and no more than the quota allows. What was committed is read-only:
 * it is never replaced by other bytes, and goes only for a later committed step that is here. Reading makes nothing. */
#ifndef FEWBIT_ENCODER_NODE_CHECKPOINT_STORE_H
#define FEWBIT_ENCODER_NODE_CHECKPOINT_STORE_H

#include "experiment/experiment.h"
#include "model/checkpoint.h"

/* What servers may have written under a node's state folder: so much in all, and in a minute. Outlives the stores. */
typedef struct checkpoint_store_quota {
    uint64_t max_bytes;
    uint64_t minute_began_ns, written; /* written: since then */
} checkpoint_store_quota;

/* Everything is borrowed until checkpoint_store_close. */
typedef struct checkpoint_store_config {
    const char *state;
    checkpoint_store_quota *quota;
    uint64_t run, training;
    uint32_t portion;
    const experiment *experiment;
    const char *portion_digest;
    checkpoint_input *input; /* of what is saved; loading says it */
} checkpoint_store_config;

typedef struct checkpoint_store {
    checkpoint_store_config config;
    char run_folder[FILE_PATH_MAX]; /* STATE/RUN/portion-K */
    char folder[FILE_PATH_MAX];     /* the training's */
    int lock;                       /* of run_folder; -1: none, so not claimed */
} checkpoint_store;

/* For reading. */
err checkpoint_store_open(checkpoint_store *s, const checkpoint_store_config *config);

/* For a training that begins or goes on. ERR_INPUT where the run's folder is of something else, or another process has
 * it. */
err checkpoint_store_claim(checkpoint_store *s);

/* Leaves no empty folder. */
void checkpoint_store_close(checkpoint_store *s);

/* Of a store that is claimed. Where the step is there already with these very bytes, nothing is written. */
err checkpoint_store_save(checkpoint_store *s, uint64_t step, nn_net *net, const nn_optimiser *o,
                          uint8_t digest[SHA256_BYTES]);

/* Of any training of the run, its own first. `digest` may be NULL: any. `o` NULL: weights only. */
err checkpoint_store_load(const checkpoint_store *s, uint64_t step, nn_net *net, nn_optimiser *o,
                          const uint8_t *digest);

/* Whether any training of the run has the step. */
bool checkpoint_store_has(const checkpoint_store *s, uint64_t step);

/* Of a store that is claimed: marks the steps among keep [count] as committed, and removes others. */
void checkpoint_store_commit(const checkpoint_store *s, const uint64_t *keep, size_t count);

#endif
