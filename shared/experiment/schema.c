#include "experiment/schema.h"

/* Of a member of `owner`, an experiment or an experiment_portion. */
#define FIELD_OF(owner, field_key, field_type, member, ...)                                                            \
    {                                                                                                                  \
        .key = field_key, .type = field_type, .offset = offsetof(owner, member), .size = sizeof(((owner *)0)->member), \
        __VA_ARGS__                                                                                                    \
    }
#define WORDS(list) .words = list, .word_count = sizeof(list) / sizeof((list)[0])
/* Its count is another member. */
#define LIST_OF(owner, list_key, entry_type, member, count_member, ...)                                                \
    {                                                                                                                  \
        .key = list_key, .type = SCHEMA_LIST, .entry = entry_type, .offset = offsetof(owner, member),                  \
        .size = sizeof(((owner *)0)->member[0]), .count_offset = offsetof(owner, count_member),                        \
        .count_max = sizeof(((owner *)0)->member) / sizeof(((owner *)0)->member[0]), __VA_ARGS__                       \
    }
#define NET_OF(owner, part, net_words, listed_net, ...)                                                                \
    FIELD_OF(owner, "net", SCHEMA_NET, part.net, WORDS(net_words), .listed = listed_net,                               \
             .count_offset = offsetof(owner, part.list), __VA_ARGS__)
#define TEXT(key, member, ...) FIELD_OF(experiment, key, SCHEMA_TEXT, member, __VA_ARGS__)
#define WHOLE(key, member, ...) FIELD_OF(experiment, key, SCHEMA_WHOLE, member, __VA_ARGS__)
#define NUMBER(key, member, ...) FIELD_OF(experiment, key, SCHEMA_NUMBER, member, __VA_ARGS__)
#define SWITCH(key, member, ...) FIELD_OF(experiment, key, SCHEMA_SWITCH, member, __VA_ARGS__)
#define WORD(key, member, list, ...) FIELD_OF(experiment, key, SCHEMA_WORD, member, WORDS(list), __VA_ARGS__)
#define LIST(key, entry_type, member, ...) LIST_OF(experiment, key, entry_type, member, member##_count, __VA_ARGS__)
#define OR_WORD(member, list) WORDS(list), .word_offset = offsetof(experiment, member)
#define SECTION(section_key, list, ...)                                                                                \
    { .key = section_key, .type = SCHEMA_SECTION, .fields = list, __VA_ARGS__ }
#define REQUIRED .is_required = true

static const schema_word partitions[] = {
    {"slices", PARTITION_SLICES}, {"quadrants", PARTITION_QUADRANTS}, {"planes", PARTITION_PLANES}};
static const schema_word encoder_nets[] = {
    {"simple-1d", PRESET_SIMPLE_1D},
    {"conv", PRESET_CONV},
    {"conv-b", PRESET_CONV_B},
    {"conv-c", PRESET_CONV_C},
    {"conv-small-3", PRESET_CONV_SMALL_3},
    {"alexnet", PRESET_ALEXNET},
    {"alexnet-small", PRESET_ALEXNET_SMALL},
    {"resnet18", PRESET_RESNET18},
    {"conv-square", PRESET_CONV_SQUARE},
    {"conv-square-b", PRESET_CONV_SQUARE_B},
    {"conv-square-8x8", PRESET_CONV_SQUARE_8X8},
    {"none", PRESET_NO_ENCODER},
    {"conv-norm", PRESET_CONV_NORM},
    {"residual", PRESET_RESIDUAL},
};
static const schema_word activations[] = {{"sigmoid", PRESET_SIGMOID}, {"resigmoid", PRESET_RESIGMOID}};
static const schema_word binarizations[] = {{"after-training", PRESET_AFTER_TRAINING},
                                            {"straight-through", PRESET_STRAIGHT_THROUGH}};
static const schema_word noises[] = {{"none", PRESET_NO_NOISE}, {"logistic", PRESET_LOGISTIC_NOISE}};
static const schema_word decoder_nets[] = {
    {"linear", PRESET_LINEAR},         {"square", PRESET_SQUARE},   {"square-b", PRESET_SQUARE_B},
    {"square-8x8", PRESET_SQUARE_8X8}, {"none", PRESET_NO_DECODER}, {"identity", PRESET_IDENTITY},
};
static const schema_word classifier_nets[] = {
    {"mnist", PRESET_MNIST}, {"playground", PRESET_PLAYGROUND}, {"mlp", PRESET_MLP}};
static const schema_word classifier_trainings[] = {
    {"joint", PRESET_TRAIN_JOINT}, {"frozen", PRESET_TRAIN_FROZEN}, {"fine-tune", PRESET_TRAIN_FINE_TUNE}};
static const schema_word class_weightings[] = {{"none", EXPERIMENT_UNWEIGHTED}, {"balanced", EXPERIMENT_BALANCED}};
static const schema_word precisions[] = {{"f32", NN_F32}, {"bf16", NN_BF16}};
static const schema_word optimisers[] = {{"adam", NN_ADAM}, {"sgd", NN_SGD}, {"adamw", NN_ADAMW}};
static const schema_word schedules[] = {{"constant", NN_CONSTANT}, {"cosine", NN_COSINE}, {"one-cycle", NN_ONE_CYCLE}};

static const schema_word missings[] = {{"drop", EXPERIMENT_MISSING_DROP}, {"train", EXPERIMENT_MISSING_TRAIN}};
static const schema_word aligns[] = {{"hash", EXPERIMENT_ALIGN_HASH}, {"psi", EXPERIMENT_ALIGN_PSI}};
static const schema_word portion_types[] = {{"u8", PORTION_U8}, {"f32", PORTION_F32}};

static const schema_field dataset_fields[] = {
    TEXT("name", dataset.name, REQUIRED),
    WORD("partition", dataset.partition, partitions, REQUIRED, .form = SCHEMA_PARTITIONED),
    WHOLE("portions", dataset.portions, REQUIRED, .form = SCHEMA_PARTITIONED),
    NUMBER("mean", dataset.mean),
    NUMBER("std", dataset.std),
    WHOLE("validation", dataset.validation),
    SWITCH("evaluate_test", dataset.evaluate_test),
    WORD("missing", dataset.missing, missings),
    WHOLE("min_portions", dataset.min_portions),
    WORD("align", dataset.align, aligns),
    {.key = NULL},
};

/* The keys of an encoder: of every portion's, or of one's. */
#define ENCODER_FIELDS(owner, stages, stage_count, ...)                                                                \
    NET_OF(owner, encoder, encoder_nets, PRESET_LISTED_ENCODER, __VA_ARGS__),                                          \
        FIELD_OF(owner, "hidden", SCHEMA_WHOLE, encoder.hidden, ),                                                     \
        FIELD_OF(owner, "bits", SCHEMA_WHOLE, encoder.bits, ),                                                         \
        LIST_OF(owner, "refinement", SCHEMA_WHOLE, stages, stage_count, ),                                             \
        FIELD_OF(owner, "batch_norm", SCHEMA_SWITCH, encoder.batch_norm, ),                                            \
        FIELD_OF(owner, "activation", SCHEMA_WORD, encoder.activation, WORDS(activations)),                            \
        FIELD_OF(owner, "binarize", SCHEMA_WORD, encoder.binarize, WORDS(binarizations)),                              \
        FIELD_OF(owner, "noise", SCHEMA_WORD, encoder.noise, WORDS(noises)),                                           \
        FIELD_OF(owner, "temperature", SCHEMA_NUMBER, encoder.temperature, ), {                                        \
        .key = NULL                                                                                                    \
    }

static const schema_field encoder_fields[] = {
    ENCODER_FIELDS(experiment, refinement.bits, refinement.bits_count, REQUIRED)};

static const schema_field encoder_of_portion_fields[] = {
    ENCODER_FIELDS(experiment_portion, refinement, refinement_count)};

static const schema_field portion_fields[] = {
    FIELD_OF(experiment_portion, "name", SCHEMA_TEXT, name, REQUIRED),
    LIST_OF(experiment_portion, "shape", SCHEMA_WHOLE, shape.dims, shape.rank, REQUIRED),
    FIELD_OF(experiment_portion, "type", SCHEMA_WORD, shape.type, WORDS(portion_types), REQUIRED),
    SECTION("encoder", encoder_of_portion_fields),
    {.key = NULL},
};

/* Layers. */

const schema_word schema_layers[] = {
    {"dense", NET_LIST_DENSE},
    {"convolution", NET_LIST_CONVOLUTION},
    {"max_pool", NET_LIST_MAX_POOL},
    {"average_pool", NET_LIST_AVERAGE_POOL},
    {"adaptive_average_pool", NET_LIST_ADAPTIVE_AVERAGE_POOL},
    {"upsample", NET_LIST_UPSAMPLE},
    {"unflatten", NET_LIST_UNFLATTEN},
    {"flatten", NET_LIST_FLATTEN},
    {"batch_norm", NET_LIST_BATCH_NORM},
    {"relu", NET_LIST_RELU},
    {"sigmoid", NET_LIST_SIGMOID},
    {"tanh", NET_LIST_TANH},
    {"gelu", NET_LIST_GELU},
    {"silu", NET_LIST_SILU},
    {"layer_norm", NET_LIST_LAYER_NORM},
    {"dropout", NET_LIST_DROPOUT},
    {"residual", NET_LIST_RESIDUAL},
};

const net_list_layer schema_layer_default = {.rate = 0.5f, .bias = true, .affine = true};

#define OF_LAYER(key, type, member, ...) FIELD_OF(net_list_layer, key, type, member, __VA_ARGS__)
#define RANGE(low, high) .least = low, .most = high
#define SIZE(fewest, most_sizes, high)                                                                                 \
    {                                                                                                                  \
        .key = "size", .type = SCHEMA_LIST, .entry = SCHEMA_WHOLE, .offset = offsetof(net_list_layer, size),           \
        .size = sizeof(uint32_t), .count_offset = offsetof(net_list_layer, sizes), .count_least = fewest,              \
        .count_max = most_sizes, .may_be_one = (fewest) == 1, REQUIRED, RANGE(1, high)                                 \
    }
#define OUTPUTS OF_LAYER("outputs", SCHEMA_WHOLE, outputs, REQUIRED, WORDS(outputs), RANGE(1, NET_LIST_OUTPUTS_MAX))
#define SIDES(sides_key, member, low, high, ...)                                                                       \
    {                                                                                                                  \
        .key = sides_key, .type = SCHEMA_LIST, .entry = SCHEMA_WHOLE, .offset = offsetof(net_list_layer, member.side), \
        .size = sizeof(uint32_t), .count_offset = offsetof(net_list_layer, member.count), .count_least = 1,            \
        .count_max = 2, .may_be_one = true, RANGE(low, high), __VA_ARGS__                                              \
    }
#define WINDOW(high)                                                                                                   \
    SIDES("kernel", kernel, 1, high, REQUIRED), SIDES("stride", stride, 1, 255), SIDES("padding", padding, 0, 255)

static const schema_word outputs[] = {{"bits", NET_LIST_BITS}, {"classes", NET_LIST_CLASSES}};
static const schema_field no_fields[] = {{.key = NULL}};
static const schema_field dense_fields[] = {OUTPUTS, OF_LAYER("bias", SCHEMA_SWITCH, bias, ), {.key = NULL}};
static const schema_field convolution_fields[] = {
    OUTPUTS,
    WINDOW(255),
    SIDES("dilation", dilation, 1, 255),
    OF_LAYER("groups", SCHEMA_WHOLE, groups, RANGE(1, NET_LIST_OUTPUTS_MAX)),
    OF_LAYER("bias", SCHEMA_SWITCH, bias, ),
    {.key = NULL}};
static const schema_field max_pool_fields[] = {WINDOW(15), {.key = NULL}}; /* layers/max_pool.c: a byte a place */
static const schema_field average_pool_fields[] = {WINDOW(255), {.key = NULL}};
static const schema_field size_fields[] = {SIZE(1, 2, 4096), {.key = NULL}};
static const schema_field unflatten_fields[] = {SIZE(2, 3, PORTION_ELEMENTS_MAX), {.key = NULL}};
static const schema_field norm_fields[] = {OF_LAYER("affine", SCHEMA_SWITCH, affine, ), {.key = NULL}};
static const schema_field dropout_fields[] = {OF_LAYER("rate", SCHEMA_NUMBER, rate, ), {.key = NULL}};
static const schema_field residual_fields[] = {
    OF_LAYER("main", SCHEMA_LAYERS, main, REQUIRED), OF_LAYER("shortcut", SCHEMA_LAYERS, shortcut, ), {.key = NULL}};

const schema_layer_keys schema_layer_keys_of[] = {
    [NET_LIST_DENSE] = {dense_fields, "outputs"},
    [NET_LIST_CONVOLUTION] = {convolution_fields, NULL},
    [NET_LIST_MAX_POOL] = {max_pool_fields, "kernel"},
    [NET_LIST_AVERAGE_POOL] = {average_pool_fields, "kernel"},
    [NET_LIST_ADAPTIVE_AVERAGE_POOL] = {size_fields, "size"},
    [NET_LIST_UPSAMPLE] = {size_fields, "size"},
    [NET_LIST_UNFLATTEN] = {unflatten_fields, "size"},
    [NET_LIST_FLATTEN] = {no_fields, NULL},
    [NET_LIST_BATCH_NORM] = {norm_fields, NULL},
    [NET_LIST_RELU] = {no_fields, NULL},
    [NET_LIST_SIGMOID] = {no_fields, NULL},
    [NET_LIST_TANH] = {no_fields, NULL},
    [NET_LIST_GELU] = {no_fields, NULL},
    [NET_LIST_SILU] = {no_fields, NULL},
    [NET_LIST_LAYER_NORM] = {norm_fields, NULL},
    [NET_LIST_DROPOUT] = {dropout_fields, "rate"},
    [NET_LIST_RESIDUAL] = {residual_fields, "main"},
};

static const schema_field tta_fields[] = {
    SWITCH("flip", tta.flip),
    WHOLE("shift", tta.shift),
    {.key = NULL},
};

static const schema_field decoder_fields[] = {
    NET_OF(experiment, decoder, decoder_nets, PRESET_LISTED_DECODER, REQUIRED),
    {.key = NULL},
};

static const schema_field classifier_fields[] = {
    NET_OF(experiment, classifier, classifier_nets, PRESET_LISTED_CLASSIFIER, REQUIRED),
    WHOLE("hidden", classifier.hidden),
    WORD("train", classifier.train, classifier_trainings),
    TEXT("weights", classifier.weights),
    {.key = NULL},
};

static const schema_field augment_fields[] = {
    NUMBER("shift", augment.shift), NUMBER("rotation", augment.rotation), NUMBER("scale", augment.scale),
    NUMBER("shear", augment.shear), SWITCH("flip", augment.flip),         {.key = NULL},
};

static const schema_field loss_fields[] = {
    NUMBER("quantization", loss.quantization),
    NUMBER("label_smoothing", loss.label_smoothing),
    LIST("refinement_weights", SCHEMA_NUMBER, refinement.weights),
    LIST("class_weights", SCHEMA_NUMBER, loss.class_weights, OR_WORD(loss.class_weighting, class_weightings)),
    {.key = NULL},
};

static const schema_field optimiser_fields[] = {
    WORD("kind", optimiser.kind, optimisers, REQUIRED),
    NUMBER("learning_rate", optimiser.learning_rate, REQUIRED),
    NUMBER("momentum", optimiser.momentum),
    NUMBER("weight_decay", optimiser.weight_decay),
    WORD("schedule", optimiser.schedule, schedules),
    {.key = NULL},
};

static const schema_field training_fields[] = {
    WHOLE("epochs", training.epochs, REQUIRED),
    WHOLE("batch_size", training.batch_size, REQUIRED),
    WHOLE("seed", training.seed, REQUIRED),
    WHOLE("checkpoint_every", training.checkpoint_every),
    WHOLE("evaluate_every", training.evaluate_every),
    WHOLE("evaluate_epochs", training.evaluate_epochs),
    WHOLE("early_stopping_patience", training.early_stopping_patience),
    SWITCH("keep_best", training.keep_best),
    WORD("precision", training.precision, precisions),
    NUMBER("portion_dropout", training.portion_dropout),
    LIST("confidence_thresholds", SCHEMA_NUMBER, refinement.thresholds),
    NUMBER("ema_decay", training.ema_decay),
    {.key = NULL},
};

static const schema_field paper_fields[] = {
    WHOLE("row", paper.row, REQUIRED), WHOLE("epochs", paper.epochs, REQUIRED), NUMBER("train", paper.train),
    NUMBER("soft", paper.soft),        NUMBER("rounded", paper.rounded),        {.key = NULL},
};

const schema_field schema_fields[] = {
    TEXT("name", name, REQUIRED),
    TEXT("title", title),
    {.key = "nets", .type = SCHEMA_BLOCKS},
    SECTION("dataset", dataset_fields, REQUIRED),
    {.key = "portions",
     .type = SCHEMA_PORTIONS,
     .form = SCHEMA_LISTED,
     .offset = offsetof(experiment, portions),
     .size = sizeof(experiment_portion),
     .count_offset = offsetof(experiment, portion_count),
     .count_max = EXPERIMENT_PORTIONS_MAX,
     .fields = portion_fields},
    SECTION("augment", augment_fields),
    SECTION("encoder", encoder_fields, REQUIRED),
    SECTION("tta", tta_fields),
    SECTION("decoder", decoder_fields, REQUIRED),
    SECTION("classifier", classifier_fields, REQUIRED),
    SECTION("loss", loss_fields),
    SECTION("optimiser", optimiser_fields, REQUIRED),
    SECTION("training", training_fields, REQUIRED),
    SECTION("paper", paper_fields),
    {.key = NULL},
};

const char *schema_word_of(const schema_field *field, uint32_t value) {
    for (size_t i = 0; i < field->word_count; i++) {
        if (field->words[i].value == value) {
            return field->words[i].name;
        }
    }
    return "?";
}
