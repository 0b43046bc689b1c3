/* A checkpoint part: one net with its optimiser's state, in one safetensors file.
 *
 * Parameters and buffers keep their names; the optimiser's state of "encoder.0.weight" is
 * "optimiser.encoder.0.weight.exp_avg" and "….exp_avg_sq". Of a net that keeps a moving average that is what stands
 * under the plain names, since it is what is served; training goes on from "trained.encoder.0.weight". Metadata:
 * "format" = "fewbit-1", "run" (16 hex digits), "part" ("encoder.2", "head"), "step" (updates done). A checkpoint of
 * the system is all parts of one step; which steps are whole is the coordinator's to say (its manifest), not this
 * module's. One folder holds the steps of one part, each as step-N.safetensors.
 *
 * The part of an encoder whose data says how it is scaled has that too: tensors "input.mean" and "input.std", and in
 * the metadata "columns", the columns of a table as JSON. */
#ifndef FEWBIT_MODEL_CHECKPOINT_H
#define FEWBIT_MODEL_CHECKPOINT_H

#include "model/safetensors.h"
#include "nn/net.h"

/* What a net sees of a sample. */
typedef struct checkpoint_input {
    uint32_t channels;   /* there can be */
    bool is_scaled;      /* by mean and std; a file that is loaded says whether, and with which */
    float *mean, *std;   /* [channels] */
    const char *columns; /* as JSON; in a file that is loaded the same but for "missing"; NULL: none */
} checkpoint_input;

typedef struct checkpoint_id {
    uint64_t run;
    uint64_t step;
    char part[24];
    checkpoint_input *input; /* NULL: nothing is said of it */
} checkpoint_id;

/* Writes the net (and the optimiser's state, where `o` is not NULL) atomically; fills `digest`. */
err checkpoint_save(const char *path, const checkpoint_id *id, nn_net *net, const nn_optimiser *o,
                    uint8_t digest[SHA256_BYTES]);

/* Loads a file that must be exactly part `id`; a net for training also gets its optimiser state, and `o->step`.
 * `expected`, when not NULL, is the digest the file must have. On failure the net may be half loaded. */
err checkpoint_load(const char *path, const checkpoint_id *id, nn_net *net, nn_optimiser *o, const uint8_t *expected);

/* Copies a file's tensor, which must have the shape of a net's and values that the net can work with. */
err checkpoint_copy(const safetensors *file, const char *name, const nn_tensor *t, float *values);

err checkpoint_path(const char *folder, uint64_t step, char path[FILE_PATH_MAX]);

/* How many bytes checkpoint_save would write, and their digest. */
err checkpoint_measure(const checkpoint_id *id, nn_net *net, const nn_optimiser *o, uint64_t *bytes,
                       uint8_t digest[SHA256_BYTES]);

/* Whether there is a good file with this digest. */
bool checkpoint_is(const char *path, const uint8_t digest[SHA256_BYTES]);

/* Marks the steps among keep [count] that are there as committed: they become read-only. */
void checkpoint_commit(const char *folder, const uint64_t *keep, size_t count);

/* Removes every step that is not among keep [count], and what a process left half written when it was killed. A file
 * that is being written for a step after all of keep stays, and so does a committed one, unless one of keep that is
 * there is of a later step. What cannot be removed is logged. */
void checkpoint_prune(const char *folder, const uint64_t *keep, size_t count);

#endif
