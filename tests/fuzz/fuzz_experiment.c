/* Experiments: what parses is in range, and what is written of it parses to the same values. Input: the YAML.
 */
#include "experiment/experiment.h"

#include "data/dataset.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/serialize.h"
#include "experiment/validate.h"
#include "tests/lib/fuzz/replay.h"

static bool is_same(const experiment *a, const experiment *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->title, b->title) == 0 &&
           strcmp(a->dataset.name, b->dataset.name) == 0 && a->dataset.partition == b->dataset.partition &&
           a->dataset.portions == b->dataset.portions && a->dataset.mean == b->dataset.mean &&
           a->dataset.std == b->dataset.std && a->dataset.validation == b->dataset.validation &&
           memcmp(&a->encoder, &b->encoder, sizeof a->encoder) == 0 && a->portion_count == b->portion_count &&
           memcmp(a->portions, b->portions, sizeof a->portions) == 0 &&
           memcmp(&a->nets, &b->nets, sizeof a->nets) == 0 &&
           memcmp(&a->decoder, &b->decoder, sizeof a->decoder) == 0 &&
           memcmp(&a->classifier.list, &b->classifier.list, sizeof a->classifier.list) == 0 &&
           a->classifier.net == b->classifier.net && a->classifier.hidden == b->classifier.hidden &&
           a->loss.quantization == b->loss.quantization && a->optimiser.kind == b->optimiser.kind &&
           a->optimiser.learning_rate == b->optimiser.learning_rate && a->optimiser.momentum == b->optimiser.momentum &&
           memcmp(&a->training, &b->training, sizeof a->training) == 0 && a->paper.row == b->paper.row &&
           a->paper.epochs == b->paper.epochs && a->paper.train == b->paper.train && a->paper.soft == b->paper.soft &&
           a->paper.rounded == b->paper.rounded;
}

/* The nets it describes can be planned without a number running over. */
static void check_nets(const experiment *e) {
    nn_spec encoder, head;
    FUZZ_CHECK(e->portion_count > 0 && e->portion_count <= EXPERIMENT_PORTIONS_MAX, "%u portions", e->portion_count);
    for (uint32_t k = 0; k < e->portion_count; k++) {
        experiment_describe_encoder(e, k, &encoder);
        FUZZ_CHECK(encoder.count > 0 && encoder.count <= NN_LAYERS_MAX && encoder.inputs > 0, "%zu layers",
                   encoder.count);
    }
    experiment_describe_head(e, DATASET_CLASSES_MAX, &head);
    FUZZ_CHECK(head.count > 0 && head.count <= NN_LAYERS_MAX && head.inputs > 0, "%zu layers", head.count);
    FUZZ_CHECK(experiment_step_macs(e, DATASET_CLASSES_MAX) > 0, "no work");
}

static void check_written(const experiment *e) {
    char text[EXPERIMENT_TEXT_MAX], text_again[EXPERIMENT_TEXT_MAX];
    size_t length, length_again;
    experiment again;
    FUZZ_CHECK(experiment_serialize(e, text, &length) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(experiment_parse("what was written", text, length, &again) == ERR_OK, "%s\n%.*s", err_text(),
               (int)length, text);
    FUZZ_CHECK(is_same(e, &again), "what was written is not what was read:\n%.*s", (int)length, text);
    FUZZ_CHECK(experiment_serialize(&again, text_again, &length_again) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(length == length_again && memcmp(text, text_again, length) == 0, "the text differs");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    experiment e;
    err failed = experiment_parse("input", (const char *)data, size, &e);
    fuzz_check_told(failed);
    if (failed) {
        FUZZ_CHECK(failed == ERR_INPUT && strncmp(err_text(), "input", 5) == 0, "'%s' does not say where", err_text());
        return 0;
    }
    FUZZ_CHECK(experiment_validate(&e, NULL) == ERR_OK, "%s", err_text());
    check_nets(&e);
    check_written(&e);
    return 0;
}
