#include "experiment/schema.h"

#include "experiment/experiment.h"

#define REQUIRED CYAML_FLAG_DEFAULT
#define OPTIONAL CYAML_FLAG_OPTIONAL
#define NAMED CYAML_FLAG_STRICT

static const cyaml_strval_t splits[] = {{"runs", SPLIT_RUNS}, {"quadrants", SPLIT_QUADRANTS}, {"planes", SPLIT_PLANES}};
static const cyaml_strval_t tests[] = {{"measured", EXPERIMENT_TEST_MEASURED},
                                       {"untouched", EXPERIMENT_TEST_UNTOUCHED}};
static const cyaml_strval_t encoder_nets[] = {
    {"simple-1d", ZOO_SIMPLE_1D},
    {"conv", ZOO_CONV},
    {"conv-b", ZOO_CONV_B},
    {"conv-c", ZOO_CONV_C},
    {"conv-small-3", ZOO_CONV_SMALL_3},
    {"alexnet", ZOO_ALEXNET},
    {"alexnet-small", ZOO_ALEXNET_SMALL},
    {"resnet18", ZOO_RESNET18},
    {"conv-square", ZOO_CONV_SQUARE},
    {"conv-square-b", ZOO_CONV_SQUARE_B},
    {"conv-square-8x8", ZOO_CONV_SQUARE_8X8},
    {"none", ZOO_NO_ENCODER},
    {"conv-norm", ZOO_CONV_NORM},
    {"residual", ZOO_RESIDUAL},
};
static const cyaml_strval_t softs[] = {{"sigmoid", ZOO_SIGMOID}, {"resigmoid", ZOO_RESIGMOID}};
static const cyaml_strval_t decisions[] = {{"after-training", ZOO_AFTER_TRAINING},
                                           {"straight-through", ZOO_STRAIGHT_THROUGH}};
static const cyaml_strval_t noises[] = {{"none", ZOO_NO_NOISE}, {"logistic", ZOO_LOGISTIC_NOISE}};
static const cyaml_strval_t decoder_nets[] = {
    {"linear", ZOO_LINEAR},         {"square", ZOO_SQUARE},   {"square-b", ZOO_SQUARE_B},
    {"square-8x8", ZOO_SQUARE_8X8}, {"none", ZOO_NO_DECODER}, {"direct", ZOO_DIRECT},
};
static const cyaml_strval_t classifier_nets[] = {
    {"mnist", ZOO_MNIST}, {"playground", ZOO_PLAYGROUND}, {"mlp", ZOO_MLP}};
static const cyaml_strval_t classifier_trainings[] = {
    {"along", ZOO_TRAIN_ALONG}, {"frozen", ZOO_TRAIN_FROZEN}, {"fine-tune", ZOO_TRAIN_FINE_TUNE}};
static const cyaml_strval_t precisions[] = {{"f32", NN_F32}, {"bf16", NN_BF16}};
static const cyaml_strval_t optimisers[] = {{"adam", NN_ADAM}, {"sgd", NN_SGD}, {"adamw", NN_ADAMW}};
static const cyaml_strval_t schedules[] = {
    {"constant", NN_CONSTANT}, {"cosine", NN_COSINE}, {"one-cycle", NN_ONE_CYCLE}};

static const cyaml_schema_value_t whole_number = {CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint32_t)};
static const cyaml_schema_value_t number = {CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, float)};

static const cyaml_schema_field_t data_fields[] = {
    CYAML_FIELD_STRING("set", REQUIRED, experiment, data.set, 1),
    CYAML_FIELD_ENUM("split", NAMED, experiment, data.split, splits, CYAML_ARRAY_LEN(splits)),
    CYAML_FIELD_UINT("portions", REQUIRED, experiment, data.portions),
    CYAML_FIELD_FLOAT("mean", OPTIONAL, experiment, data.mean),
    CYAML_FIELD_FLOAT("deviation", OPTIONAL, experiment, data.deviation),
    CYAML_FIELD_UINT("validation", OPTIONAL, experiment, data.validation),
    CYAML_FIELD_ENUM("test", NAMED | OPTIONAL, experiment, data.test, tests, CYAML_ARRAY_LEN(tests)),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t encoder_fields[] = {
    CYAML_FIELD_ENUM("net", NAMED, experiment, encoder.net, encoder_nets, CYAML_ARRAY_LEN(encoder_nets)),
    CYAML_FIELD_UINT("hidden", OPTIONAL, experiment, encoder.hidden),
    CYAML_FIELD_UINT("bits", OPTIONAL, experiment, encoder.bits),
    CYAML_FIELD_SEQUENCE("rounds", OPTIONAL, experiment, rounds.bits, &whole_number, 0, ROUNDS_MAX),
    CYAML_FIELD_BOOL("batch_norm", OPTIONAL, experiment, encoder.batch_norm),
    CYAML_FIELD_ENUM("soft", NAMED | OPTIONAL, experiment, encoder.soft, softs, CYAML_ARRAY_LEN(softs)),
    CYAML_FIELD_ENUM("decision", NAMED | OPTIONAL, experiment, encoder.decision, decisions, CYAML_ARRAY_LEN(decisions)),
    CYAML_FIELD_ENUM("noise", NAMED | OPTIONAL, experiment, encoder.noise, noises, CYAML_ARRAY_LEN(noises)),
    CYAML_FIELD_FLOAT("temperature", OPTIONAL, experiment, encoder.temperature),
    CYAML_FIELD_BOOL("mirrored", OPTIONAL, experiment, looks.mirrored),
    CYAML_FIELD_UINT("shifted", OPTIONAL, experiment, looks.shifted),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t decoder_fields[] = {
    CYAML_FIELD_ENUM("net", NAMED, experiment, decoder.net, decoder_nets, CYAML_ARRAY_LEN(decoder_nets)),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t classifier_fields[] = {
    CYAML_FIELD_ENUM("net", NAMED, experiment, classifier.net, classifier_nets, CYAML_ARRAY_LEN(classifier_nets)),
    CYAML_FIELD_UINT("hidden", OPTIONAL, experiment, classifier.hidden),
    CYAML_FIELD_ENUM("train", NAMED | OPTIONAL, experiment, classifier.train, classifier_trainings,
                     CYAML_ARRAY_LEN(classifier_trainings)),
    CYAML_FIELD_STRING("weights", OPTIONAL, experiment, classifier.weights, 0),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t augment_fields[] = {
    CYAML_FIELD_FLOAT("shift", OPTIONAL, experiment, augment.shift),
    CYAML_FIELD_FLOAT("rotation", OPTIONAL, experiment, augment.rotation),
    CYAML_FIELD_FLOAT("scale", OPTIONAL, experiment, augment.scale),
    CYAML_FIELD_FLOAT("shear", OPTIONAL, experiment, augment.shear),
    CYAML_FIELD_BOOL("flip", OPTIONAL, experiment, augment.flip),
    CYAML_FIELD_IGNORE("erase", OPTIONAL), /* no option any more; runs from then have it, as 0 */
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t loss_fields[] = {
    CYAML_FIELD_FLOAT("quantization", OPTIONAL, experiment, loss.quantization),
    CYAML_FIELD_FLOAT("label_smoothing", OPTIONAL, experiment, loss.label_smoothing),
    CYAML_FIELD_SEQUENCE("rounds", OPTIONAL, experiment, rounds.weights, &number, 0, ROUNDS_MAX),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t optimiser_fields[] = {
    CYAML_FIELD_ENUM("kind", NAMED, experiment, optimiser.kind, optimisers, CYAML_ARRAY_LEN(optimisers)),
    CYAML_FIELD_FLOAT("learning_rate", REQUIRED, experiment, optimiser.learning_rate),
    CYAML_FIELD_FLOAT("momentum", OPTIONAL, experiment, optimiser.momentum),
    CYAML_FIELD_FLOAT("weight_decay", OPTIONAL, experiment, optimiser.weight_decay),
    CYAML_FIELD_ENUM("schedule", NAMED | OPTIONAL, experiment, optimiser.schedule, schedules,
                     CYAML_ARRAY_LEN(schedules)),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t training_fields[] = {
    CYAML_FIELD_UINT("epochs", REQUIRED, experiment, training.epochs),
    CYAML_FIELD_UINT("batch", REQUIRED, experiment, training.batch),
    CYAML_FIELD_UINT("seed", REQUIRED, experiment, training.seed),
    CYAML_FIELD_UINT("checkpoint_every", OPTIONAL, experiment, training.checkpoint_every),
    CYAML_FIELD_UINT("evaluate_every", OPTIONAL, experiment, training.evaluate_every),
    CYAML_FIELD_UINT("evaluate_epochs", OPTIONAL, experiment, training.evaluate_epochs),
    CYAML_FIELD_UINT("early_stop", OPTIONAL, experiment, training.early_stop),
    CYAML_FIELD_BOOL("keep_best", OPTIONAL, experiment, training.keep_best),
    CYAML_FIELD_ENUM("precision", NAMED | OPTIONAL, experiment, training.precision, precisions,
                     CYAML_ARRAY_LEN(precisions)),
    CYAML_FIELD_FLOAT("portion_dropout", OPTIONAL, experiment, training.portion_dropout),
    CYAML_FIELD_SEQUENCE("sure", OPTIONAL, experiment, rounds.sure, &number, 0, EXPERIMENT_SURE_MAX),
    CYAML_FIELD_FLOAT("average", OPTIONAL, experiment, training.average),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t paper_fields[] = {
    CYAML_FIELD_UINT("row", REQUIRED, experiment, paper.row),
    CYAML_FIELD_UINT("epochs", REQUIRED, experiment, paper.epochs),
    CYAML_FIELD_FLOAT("train", OPTIONAL, experiment, paper.train),
    CYAML_FIELD_FLOAT("soft", OPTIONAL, experiment, paper.soft),
    CYAML_FIELD_FLOAT("rounded", OPTIONAL, experiment, paper.rounded),
    CYAML_FIELD_END,
};

/* A section's fields are members of the experiment itself, so each section starts at offset 0. */
#define SECTION(section_name, section_flags, section_fields)                                                           \
    {                                                                                                                  \
        .key = section_name,                                                                                           \
        .value =                                                                                                       \
            {                                                                                                          \
                .type = CYAML_MAPPING,                                                                                 \
                .flags = section_flags,                                                                                \
                .data_size = sizeof(experiment),                                                                       \
                .mapping = {.fields = section_fields},                                                                 \
            },                                                                                                         \
        .data_offset = 0                                                                                               \
    }

static const cyaml_schema_field_t experiment_fields[] = {
    CYAML_FIELD_STRING("name", REQUIRED, experiment, name, 1),
    CYAML_FIELD_STRING("title", OPTIONAL, experiment, title, 0),
    SECTION("data", REQUIRED, data_fields),
    SECTION("augment", OPTIONAL, augment_fields),
    SECTION("encoder", REQUIRED, encoder_fields),
    SECTION("decoder", REQUIRED, decoder_fields),
    SECTION("classifier", REQUIRED, classifier_fields),
    SECTION("loss", OPTIONAL, loss_fields),
    SECTION("optimiser", REQUIRED, optimiser_fields),
    SECTION("training", REQUIRED, training_fields),
    SECTION("paper", OPTIONAL, paper_fields),
    CYAML_FIELD_END,
};

const cyaml_schema_value_t schema_experiment = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, experiment, experiment_fields),
};

static const char *name_in(const cyaml_strval_t *names, size_t count, int64_t value) {
    for (size_t i = 0; i < count; i++) {
        if (names[i].val == value) {
            return names[i].str;
        }
    }
    return "?";
}

const char *experiment_encoder_name(const experiment *e) {
    return name_in(encoder_nets, CYAML_ARRAY_LEN(encoder_nets), e->encoder.net);
}

const char *experiment_decoder_name(const experiment *e) {
    return name_in(decoder_nets, CYAML_ARRAY_LEN(decoder_nets), e->decoder.net);
}

const char *experiment_classifier_name(const experiment *e) {
    return name_in(classifier_nets, CYAML_ARRAY_LEN(classifier_nets), e->classifier.net);
}
