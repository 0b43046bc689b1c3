/* An encoder model: an encoder net as a server's experiment describes it, its weights, and the memory it works in. A
 * node has one, or two while it changes from one model to another. */
#ifndef FEWBIT_ENCODER_NODE_ENCODER_MODEL_H
#define FEWBIT_ENCODER_NODE_ENCODER_MODEL_H

#include "base/arena.h"
#include "bits/code_compressor.h"
#include "data/portion.h"
#include "data/tta.h"
#include "encoder_node/checkpoint_store.h"
#include "experiment/experiment.h"

#include <stdbool.h>

enum { ENCODER_MODEL_ROWS = 1000 }; /* samples in one message, at most, where the batch is not larger */

/* The bits of samples `first` to `first` + `count` - 1 of a split, as the weights of now decide them. */
typedef struct encoder_model_kept {
    enum dataset_split split;
    uint32_t first, count;
    uint8_t *bits; /* [room, bits] packed */
    uint32_t room;
} encoder_model_kept;

typedef struct encoder_model {
    experiment experiment;
    partition partition;
    const portion *data; /* borrowed */
    uint64_t run, training;
    bool trains;
    checkpoint_store store;
    nn_net *net;
    nn_optimiser optimiser;
    size_t elements; /* of the portion */
    double macs;     /* of an evaluation, a sample */
    size_t net_rows; /* what the net takes at once; a longer evaluation is cut into pieces of that */
    size_t max_rows; /* of a message */
    arena buffers;
    float *inputs;      /* [net_rows, elements] */
    float *seen;        /* [net_rows, elements], where there is more than one tta_view */
    float *gradients;   /* [net_rows, bits] */
    float *soft;        /* [max_rows, bits]: what an evaluation put out */
    uint8_t *packed;    /* [max_rows * bits] bits */
    uint8_t *distorted; /* one portion */
    encoder_model_kept kept;
    code_compressor *codes; /* for frames of up to `coded_rows` that are coded */
    uint32_t coded_rows;
    tta_view views[TTA_VIEWS_MAX];
    uint32_t view_count;
    partition_box box; /* of the portion, where there is more than one tta_view */
    uint64_t step;     /* of the weights */
    float temperature;
    uint32_t model; /* the number that its codes carry in serving */
    refinement refinement;
    uint32_t unasked; /* in serving: stages of a code that come unasked; the others wait for a RefineRequest */
} encoder_model;

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

/* Multiply-adds of one sample's evaluation. */
double encoder_model_macs(const encoder_model *m);

/* The memory it takes. */
size_t encoder_model_bytes(const encoder_model *m);

/* The weights of a checkpoint, and the optimiser's state where the model trains; `digest` may be NULL: any. */
err encoder_model_load(encoder_model *m, uint64_t step, const uint8_t *digest);

/* Says that the weights are those behind `step` updates. */
void encoder_model_set_step(encoder_model *m, uint64_t step);

/* The weights that a training begins with. */
void encoder_model_init(encoder_model *m);

/* How many of `left` rows the net takes now. */
size_t encoder_model_piece(const encoder_model *m, size_t left);

/* portions [count, elements] -> input rows from `row` on, scaled as the experiment says. */
void encoder_model_load_inputs(encoder_model *m, size_t row, const uint8_t *portions, size_t count);

/* One portion of a training step: distorted first, where the experiment says so. */
void encoder_model_load_training_input(encoder_model *m, uint32_t step, size_t row, const uint8_t *portion);

/* Puts the soft outputs of the first `count` input rows behind the first `done` ones. */
void encoder_model_evaluate(encoder_model *m, size_t done, size_t count);

/* Keeps the bits of `soft` [count, bits], of the samples of a part from `first` on, until the weights change: an
 * evaluation asks for soft outputs first and for the bits of the same samples then. Only in training. */
void encoder_model_keep(encoder_model *m, enum dataset_split split, uint32_t first, uint32_t count);

/* Puts bits that are kept into `soft`, as 0.0 and 1.0. False: they are not kept. */
bool encoder_model_recall(encoder_model *m, enum dataset_split split, uint32_t first, uint32_t count);

#endif
