/* An experiment's values: one YAML file says everything about a run (docs/experiment.md lists its keys).
 *
 *     load.h       the file, untrusted, becomes values      derive.h      what follows: portions, nets, optimiser
 *     validate.h   what must hold between keys              serialize.h   the resolved text; other values for some keys
 *     schema.h     the keys, and where each goes
 *
 * A sample's portions are those of a partition of a data set that is known by name (the short form), or they are listed
 * one by one: data of its owners' own, each portion with its name, type, shape and encoder. */
#ifndef FEWBIT_EXPERIMENT_EXPERIMENT_H
#define FEWBIT_EXPERIMENT_EXPERIMENT_H

#include "bits/codeword.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "nn/optimiser.h"
#include "nn/presets/presets.h"

enum {
    EXPERIMENT_TEXT_MAX = 32 * 1024,
    EXPERIMENT_KEY_MAX = 160, /* "portions.NAME.encoder.net.12.residual.main.3.convolution.padding" and its end */
    EXPERIMENT_THRESHOLDS_MAX = 32,
    EXPERIMENT_PORTIONS_MAX = CODEWORD_PORTIONS_MAX,
    EXPERIMENT_NODE_ROWS = 1000, /* samples in one message of a node at most, where the batch is not larger */
};

/* One portion, and the encoder of its node. */
typedef struct experiment_portion {
    char name[PORTION_NAME_MAX + 1]; /* of a partition's: its number */
    portion_shape shape;
    preset_encoder encoder;
    uint32_t refinement[REFINEMENT_STAGES_MAX]; /* the bits of each stage; none: all in one stage */
    uint32_t refinement_count;
} experiment_portion;

/* Of samples that lack a portion: left out, or trained on with that portion's bits unknown. */
typedef enum experiment_missing { EXPERIMENT_MISSING_DROP, EXPERIMENT_MISSING_TRAIN } experiment_missing;

/* How nodes and server find the samples they share, where their ids differ. */
typedef enum experiment_align { EXPERIMENT_ALIGN_HASH, EXPERIMENT_ALIGN_PSI } experiment_align;

/* How much a sample counts in the loss, by its class, where no weights are listed: BALANCED makes classes count alike,
 * however many samples each has. */
typedef enum experiment_class_weighting { EXPERIMENT_UNWEIGHTED, EXPERIMENT_BALANCED } experiment_class_weighting;

typedef struct experiment {
    char name[64];
    char title[160];
    net_lists nets; /* blocks, and the nets below that are lists of layers */
    struct {
        char name[32];            /* as in data/dataset.h; of listed portions any */
        partition_kind partition; /* PARTITION_NONE: the portions are listed */
        uint32_t portions;        /* of the partition; else 0 */
        float mean, std;     /* an encoder sees (x / 255 - mean) / std, of f32 (x - mean) / std; std 0: x / 255, x */
        uint32_t validation; /* training samples held back, the last ones; 0: none */
        bool evaluate_test;  /* evaluations look at the test split; settings are chosen without */
        experiment_missing missing;
        uint32_t min_portions; /* EXPERIMENT_MISSING_TRAIN: samples with fewer are left out all the same; 0: 1 */
        experiment_align align;
    } dataset;
    experiment_portion portions[EXPERIMENT_PORTIONS_MAX]; /* always there once loaded, in whatever form */
    uint32_t portion_count;
    augmentation augment;   /* of training samples */
    preset_encoder encoder; /* what each portion's encoder is where it says nothing else */
    struct {
        bool flip;      /* in use an encoder sees its portion and its mirror image, */
        uint32_t shift; /* and each shifted by so many pixels too; it decides by the mean of the logits */
    } tta;
    struct {
        uint32_t bits[REFINEMENT_STAGES_MAX]; /* of an encoder's bits, those of each stage; none: all in one stage */
        uint32_t bits_count;
        float weights[REFINEMENT_STAGES_MAX]; /* of each stage's loss; none: all alike */
        uint32_t weights_count;
        /* The values of --confidence that the test tries, rising; none: a list of its own. */
        float thresholds[EXPERIMENT_THRESHOLDS_MAX];
        uint32_t thresholds_count;
    } refinement;
    struct {
        preset_decoder_net net;
        net_list_range list; /* PRESET_LISTED_DECODER only */
    } decoder;
    struct {
        preset_classifier_net net;
        uint32_t hidden;
        preset_classifier_training train;
        char weights[200]; /* a safetensors file or a run's folder, seen from the experiment's own file; empty: none */
        net_list_range list; /* PRESET_LISTED_CLASSIFIER only */
    } classifier;
    struct {
        float quantization; /* alpha, the multiplier of the quantization term; 0: cross entropy alone */
        float label_smoothing;
        experiment_class_weighting class_weighting; /* where no weights are listed */
        float class_weights[DATASET_CLASSES_MAX];   /* of each class, by its number */
        uint32_t class_weights_count;
    } loss;
    struct {
        nn_optimiser_kind kind;
        float learning_rate;
        float momentum;
        float weight_decay;
        nn_schedule schedule;
    } optimiser;
    struct {
        uint32_t epochs;
        uint32_t batch_size;
        uint64_t seed;
        uint32_t checkpoint_every;        /* steps; 0: at the end of each epoch only */
        uint32_t evaluate_every;          /* steps; 0: at the end of each epoch only */
        uint32_t evaluate_epochs;         /* at the end of every so many epochs and of the last; 0: of each */
        uint32_t early_stopping_patience; /* evaluations without a better validation accuracy; 0: never */
        bool keep_best;                   /* keep the checkpoint of best validation accuracy, not the last */
        nn_precision precision;           /* of every net's work */
        float portion_dropout;            /* how probable it is that a portion of a sample is missing */
        float ema_decay;                  /* the decay of the weights' moving average, which is served; 0: none */
    } training;
    struct {
        uint32_t row; /* of the paper's Table 1; 0: not from the paper */
        uint32_t epochs;
        float train, soft, rounded; /* percent; 0: not given */
    } paper;
} experiment;

/* No encoders, no decoder: the classifier learns from whole samples. */
static inline bool experiment_is_classifier_alone(const experiment *e) {
    return e->encoder.net == PRESET_NO_ENCODER;
}

/* Whether the portions are listed, and not those of a partition. */
static inline bool experiment_lists_portions(const experiment *e) {
    return e->dataset.partition == PARTITION_NONE;
}

/* Whether a batch norm sees one number a sample, so that a batch must have more than one. */
static inline bool experiment_norms_rows(const experiment *e) {
    bool norms = e->classifier.net == PRESET_MLP && e->classifier.train != PRESET_TRAIN_FROZEN;
    norms = norms || net_list_has_norm(&e->nets);
    for (uint32_t k = 0; k < e->portion_count; k++) {
        norms = norms || e->portions[k].encoder.batch_norm || e->portions[k].encoder.net == PRESET_CONV_NORM;
    }
    return norms;
}

/* Samples of the training split that are trained on. */
static inline uint32_t experiment_train_samples(const experiment *e, uint32_t in_split) {
    return in_split - e->dataset.validation;
}

/* Steps an epoch. The last batch may be shorter; but a single sample left over is not trained on in that epoch where a
 * batch must have more than one. */
static inline uint32_t experiment_steps(const experiment *e, uint32_t train_samples) {
    uint32_t full = train_samples / e->training.batch_size, left = train_samples % e->training.batch_size;
    bool is_too_few = left == 0 || (left == 1 && full > 0 && experiment_norms_rows(e));
    return is_too_few ? full : full + 1;
}

#endif
