/* The checkpoints of one node: STATE/RUN/step-N.safetensors, RUN in 16 hex digits. */
#ifndef FEWBIT_ENCODER_NODE_STORE_H
#define FEWBIT_ENCODER_NODE_STORE_H

#include "base/err.h"
#include "model/checkpoint.h"

typedef struct store {
    char folder[512];
    checkpoint_id id; /* run and part; the step is set by each call */
} store;

/* `portion` names the part. */
err store_open(store *s, const char *state, uint64_t run, uint32_t portion);

err store_save(store *s, uint64_t step, nn_net *net, const nn_optimiser *o, uint8_t digest[DIGEST_BYTES]);

/* `digest` may be NULL: any. `o` NULL: weights only. */
err store_load(store *s, uint64_t step, nn_net *net, nn_optimiser *o, const uint8_t *digest);

/* Removes every checkpoint of this run whose step is not among keep [count]. */
void store_prune(const store *s, const uint64_t *keep, size_t count);

#endif
