/* An encoder model: an encoder net as a server's experiment describes it, its weights, and the memory it works in. A
 * node has one, or two while it changes from one model to another. */
#ifndef FEWBIT_ENCODER_NODE_ENCODER_MODEL_H
#define FEWBIT_ENCODER_NODE_ENCODER_MODEL_H

#include "base/arena.h"
#include "bits/code_compressor.h"
#include "data/portion.h"
#include "data/tta.h"
#include "encoder_node/checkpoint_store.h"

/* Which of a portion's own samples are those that a training numbers. Known once the node is aligned; a portion whose
 * ids are those of the labels needs none. */
enum { SAMPLE_ROWS_MISSING = UINT32_MAX };

typedef struct sample_rows {
    uint32_t samples[2]; /* by enum dataset_split */
    uint32_t validation; /* the last of the training samples, which are held back */
    uint32_t *rows[2];   /* [samples]: the sample's own number in its split, or SAMPLE_ROWS_MISSING */
} sample_rows;

typedef struct encoder_model encoder_model;

/* Reads a server's experiment, untrusted, and checks that it is for data such as this node's. */
err encoder_model_check(const char *text, const portion *data, experiment *e);

/* Everything is borrowed until encoder_model_free. */
typedef struct encoder_model_config {
    const portion *data;
    const char *state; /* the folder of its checkpoints */
    checkpoint_store_quota *quota;
    size_t max_memory; /* bytes that it may take; 0: any */
    thread_pool *pool; /* for its net; NULL: all on the caller's thread */
    uint64_t run, training;
    bool trains;
} encoder_model_config;

/* A net without weights, with its memory and its store, which one that trains claims. ERR_FULL before any memory is
 * taken where it would be too much. */
err encoder_model_new(encoder_model **m, const experiment *e, const encoder_model_config *config);
void encoder_model_free(encoder_model *m);

/* What it is of, and how large it is; the model's. */
typedef struct encoder_model_info {
    experiment experiment;
    uint32_t portion; /* its number in the experiment */
    refinement refinement;
    uint64_t run, training;
    uint64_t step; /* of the weights */
    uint32_t bits; /* of a code */
    portion_shape shape;
    size_t elements, bytes; /* of a portion */
    double macs;            /* multiply-adds of one sample's evaluation */
    size_t net_rows;        /* that the net takes at once; a longer evaluation is cut into pieces of that */
    size_t max_rows;        /* of a message */
} encoder_model_info;

const encoder_model_info *encoder_model_get_info(const encoder_model *m);

/* The samples that it trains on: those of the portion's folder, or (borrowed; NULL: none) the rows that an alignment
 * has named. Weights are to be restored after this. */
void encoder_model_set_rows(encoder_model *m, const sample_rows *rows);
uint32_t encoder_model_samples(const encoder_model *m, enum dataset_split split);

/* The number that its codes carry: in training the step, in serving what the server has said. */
uint32_t encoder_model_number(const encoder_model *m);
void encoder_model_set_number(encoder_model *m, uint32_t number);

/* [max_rows * bits] bits: where codes are packed. */
uint8_t *encoder_model_packed(const encoder_model *m);

/* For frames of so many codes; NULL: there is none for so many. It starts afresh with a connection. */
code_compressor *encoder_model_compressor(const encoder_model *m, uint32_t rows);
void encoder_model_reset_compressor(encoder_model *m);

/* The memory it takes. */
size_t encoder_model_bytes(const encoder_model *m);

/* The weights of a checkpoint, and the optimiser's state where the model trains; `digest` may be NULL: any. */
err encoder_model_load(encoder_model *m, uint64_t step, const uint8_t *digest);

/* Says that the weights are those after `step` updates. */
void encoder_model_set_step(encoder_model *m, uint64_t step);

/* The weights that a training begins with. */
void encoder_model_init(encoder_model *m);

/* Its checkpoint: written, where it is not there with these bytes already; whether it is there; those kept for good. */
err encoder_model_save(encoder_model *m, uint8_t digest[SHA256_BYTES]);
bool encoder_model_is_saved(const encoder_model *m);
void encoder_model_commit(const encoder_model *m, const uint64_t *keep, size_t count);

/* How many of `left` rows the net takes now. */
size_t encoder_model_piece(const encoder_model *m, size_t left);

/* portions [count, shape], as they are stored -> input rows from `row` on, scaled as the data or else the experiment
 * says. */
void encoder_model_load_inputs(encoder_model *m, size_t row, const void *portions, size_t count);

/* The same with one sample of the node's own; in a training step it is distorted first, where the experiment says so.
 * One that it does not have is a row of zeros. */
void encoder_model_load_sample(encoder_model *m, size_t row, enum dataset_split split, uint32_t id, bool trains);

/* Puts the soft outputs of the first `count` input rows into `soft`, after the first `done` ones. */
void encoder_model_evaluate(encoder_model *m, size_t done, size_t count);

/* [max_rows, bits]: what evaluations have put out. */
float *encoder_model_soft(const encoder_model *m);

/* One training step on the first `count` input rows. Forward: the outputs, [count, bits], the net's. Backward: takes
 * the loss's gradient on them, float [count, bits] in any place, and makes the update. */
const float *encoder_model_forward(encoder_model *m, size_t count);
void encoder_model_backward(encoder_model *m, const void *gradients, size_t count);

/* Keeps the bits of `soft` [count, bits], of the samples of a part from `first` on, until the weights change: an
 * evaluation asks for soft outputs first and for the bits of the same samples then. Only in training. */
void encoder_model_keep(encoder_model *m, enum dataset_split split, uint32_t first, uint32_t count);

/* Puts bits that are kept into `soft`, as 0.0 and 1.0. False: they are not kept. */
bool encoder_model_recall(encoder_model *m, enum dataset_split split, uint32_t first, uint32_t count);

#endif
