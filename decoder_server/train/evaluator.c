#include "decoder_server/train/evaluator.h"

#include "base/json.h"
#include "decoder_server/core/code_decoder.h"
#include "decoder_server/train/class_metrics.h"
#include "decoder_server/train/histogram.h"
#include "decoder_server/train/refinement_eval.h"
#include "decoder_server/train/schedule.h"
#include "experiment/derive.h"

#include <math.h>
#include <stdlib.h>

/* The passes of an evaluation, in order; those over a split that the experiment leaves alone are left out. REFINEMENT
 * is over the test samples too, or where those are left alone over the samples held back. INCOMPLETE_TEST is over test
 * samples that lack a portion. */
typedef enum pass {
    SOFT_TEST,
    ROUNDED_TEST,
    INCOMPLETE_TEST,
    SOFT_VALIDATION,
    ROUNDED_VALIDATION,
    REFINEMENT,
    PASSES
} pass;

struct evaluator {
    const experiment *e;
    const labels *labels;
    head_trainer *trainer;
    traffic_report *traffic;
    float *inputs, *codes; /* codes [SCHEDULE_EVALUATION_ROWS, bits]: one portion's */
    codeword layout;
    uint32_t portions, train_samples;
    uint32_t incomplete;  /* test samples behind the complete ones, */
    const uint64_t *have; /* [incomplete] and which portions have them */
    pass pass;
    uint32_t done, rows; /* samples of the pass before the batch under way, and in it */
    bool has_begun;      /* the pass has */
    uint64_t correct[PASSES];
    refinement_eval *refinement; /* NULL: all bits come at once */
    bool asks_more;              /* `more` is to be asked */
    Fewbit__RefineRequest more;
    histogram histograms[PARTITION_PORTIONS_MAX]; /* of the first soft pass's outputs, by portion */
    class_metrics *metrics[2]; /* of what is served, by enum dataset_split: of the test samples, of those held back */
    float *probabilities;      /* [SCHEDULE_EVALUATION_ROWS, classes] */
};

static err make_metrics(evaluator *v) {
    uint32_t classes = v->labels->classes.count;
    v->probabilities = malloc((size_t)SCHEDULE_EVALUATION_ROWS * classes * sizeof *v->probabilities);
    err e = v->probabilities ? ERR_OK : err_fail(ERR_MEMORY, "no memory for the probabilities of an evaluation");
    e = e ? e : class_metrics_new(&v->metrics[DATASET_TEST], classes, v->labels->samples[DATASET_TEST]);
    return e ? e : class_metrics_new(&v->metrics[DATASET_TRAIN], classes, v->e->dataset.validation);
}

err evaluator_new(evaluator **out, const experiment *e, const labels *l, uint32_t train_samples, head_trainer *trainer,
                  traffic_report *traffic, float *inputs) {
    evaluator *v = calloc(1, sizeof *v);
    if (!v) {
        return err_fail(ERR_MEMORY, "no memory for an evaluation");
    }
    *v = (evaluator){.e = e, .labels = l, .trainer = trainer, .traffic = traffic, .inputs = inputs};
    v->portions = experiment_is_classifier_alone(e) ? 0 : e->portion_count;
    v->layout = experiment_codeword(e);
    v->train_samples = train_samples;
    v->codes = malloc((size_t)SCHEDULE_EVALUATION_ROWS * PACK_CODE_BITS_MAX * sizeof *v->codes);
    err failed = v->codes ? refinement_eval_new(&v->refinement, e, trainer)
                          : err_fail(ERR_MEMORY, "no memory for the codes of an evaluation");
    failed = failed ? failed : make_metrics(v);
    if (failed) {
        evaluator_free(v);
        return failed;
    }
    *out = v;
    return ERR_OK;
}

void evaluator_free(evaluator *v) {
    if (v) {
        refinement_eval_free(v->refinement);
        class_metrics_free(v->metrics[DATASET_TRAIN]);
        class_metrics_free(v->metrics[DATASET_TEST]);
        free(v->probabilities);
        free(v->codes);
        free(v);
    }
}

void evaluator_add_incomplete(evaluator *v, const alignment *a) {
    v->incomplete = a->samples[DATASET_TEST] - a->complete_test;
    v->have = a->have + a->samples[DATASET_TRAIN] + a->complete_test;
}

/* Passes. */

static bool is_soft(pass p) {
    return p == SOFT_TEST || p == SOFT_VALIDATION;
}

static bool is_test_measured(const evaluator *v) {
    return v->e->dataset.evaluate_test;
}

static bool is_of_test(const evaluator *v, pass p) {
    return p == SOFT_TEST || p == ROUNDED_TEST || p == INCOMPLETE_TEST || (p == REFINEMENT && is_test_measured(v));
}

static enum dataset_split split_of(const evaluator *v) {
    return is_of_test(v, v->pass) ? DATASET_TEST : DATASET_TRAIN;
}

/* 0: the pass is left out. A classifier alone has one for each split. */
static uint32_t samples_of(const evaluator *v, pass p) {
    bool is_one_of_two = p == ROUNDED_TEST || p == SOFT_VALIDATION;
    if ((p == REFINEMENT && !v->refinement) || (v->portions == 0 && is_one_of_two)) {
        return 0;
    }
    if (!is_of_test(v, p)) {
        return v->e->dataset.validation;
    }
    uint32_t samples = p == INCOMPLETE_TEST ? v->incomplete : v->labels->samples[DATASET_TEST];
    return is_test_measured(v) ? samples : 0;
}

/* All bits of a sample, or of a classifier alone the whole sample: as in serving. */
static bool is_served(const evaluator *v) {
    return v->pass == ROUNDED_TEST || v->pass == ROUNDED_VALIDATION || (v->portions == 0 && v->pass == SOFT_TEST);
}

static uint32_t first_of(const evaluator *v) {
    uint32_t before = !is_of_test(v, v->pass)      ? v->train_samples
                      : v->pass == INCOMPLETE_TEST ? v->labels->samples[DATASET_TEST]
                                                   : 0;
    return before + v->done;
}

static void start_pass(evaluator *v, pass from) {
    v->pass = from;
    while (v->pass < PASSES && samples_of(v, v->pass) == 0) {
        v->pass++;
    }
    v->done = v->rows = 0;
    v->has_begun = v->asks_more = false; /* an evaluation may have been broken off */
}

/* Bits and histograms are those of the test samples, or where these are left alone of the ones held back. */
static bool is_described(const evaluator *v) {
    return is_of_test(v, v->pass) == is_test_measured(v) && v->pass != REFINEMENT && v->pass != INCOMPLETE_TEST;
}

void evaluator_start(evaluator *v) {
    for (uint32_t k = 0; k < v->portions; k++) {
        v->histograms[k] = (histogram){.bits = codeword_portion_bits(&v->layout, k)};
    }
    start_pass(v, SOFT_TEST);
}

/* Asking. */

static void begin_pass(evaluator *v) {
    v->has_begun = true;
    v->correct[v->pass] = 0;
    if (is_served(v)) {
        class_metrics_start(v->metrics[split_of(v)]);
    }
    if (v->pass == REFINEMENT) {
        refinement_eval_start(v->refinement);
    } else if (!is_soft(v->pass) && is_described(v)) {
        traffic_report_start_rounded(v->traffic);
    }
}

static void ask_batch(evaluator *v, uint64_t step, evaluator_request *r) {
    uint32_t left = samples_of(v, v->pass) - v->done;
    v->rows = left < SCHEDULE_EVALUATION_ROWS ? left : SCHEDULE_EVALUATION_ROWS;
    *r = (evaluator_request){
        MESSAGE_BATCH, is_soft(v->pass) ? MESSAGE_ACTIVATIONS : MESSAGE_CODES, {.batch = FEWBIT__BATCH__INIT}};
    Fewbit__Batch *batch = &r->body.batch;
    batch->step = step;
    batch->phase = is_soft(v->pass) ? FEWBIT__PHASE__PHASE_SOFT : FEWBIT__PHASE__PHASE_ROUNDED;
    batch->split = split_of(v) == DATASET_TEST ? FEWBIT__SPLIT__SPLIT_TEST : FEWBIT__SPLIT__SPLIT_TRAIN;
    batch->first = first_of(v);
    batch->count = v->rows;
    if (v->pass == REFINEMENT) {
        batch->stages = 1;
        refinement_eval_begin(v->refinement, batch->first, v->rows);
    }
}

bool evaluator_next(evaluator *v, uint64_t step, evaluator_request *r) {
    if (v->asks_more) {
        *r = (evaluator_request){MESSAGE_REFINE_REQUEST, MESSAGE_REFINEMENT, {.refine = v->more}};
        r->body.refine.model = (uint32_t)step;
        return true;
    }
    if (v->pass < PASSES && v->has_begun && v->done == samples_of(v, v->pass)) {
        start_pass(v, v->pass + 1);
    }
    if (v->pass == PASSES) {
        return false;
    }
    if (!v->has_begun) {
        begin_pass(v);
    }
    ask_batch(v, step, r);
    return true;
}

uint32_t evaluator_rows(const evaluator *v) {
    return v->rows;
}

/* Answers. */

/* One stage of a portion's bits; whether it fits. */
static bool count_stage(evaluator *v, uint32_t portion, bool fits) {
    if (fits) {
        traffic_report_add_refinement(v->traffic, portion, refinement_eval_bits(v->refinement, portion));
    }
    return fits;
}

bool evaluator_take_codes(evaluator *v, uint32_t portion, const Fewbit__Codes *codes) {
    if (v->pass == REFINEMENT) {
        return count_stage(v, portion, refinement_eval_take_codes(v->refinement, portion, codes));
    }
    uint32_t bits = codeword_portion_bits(&v->layout, portion);
    size_t numbers = (size_t)v->rows * bits;
    if ((uint64_t)codes->more + 1 != v->rows || codes->bits.len != pack_bytes(numbers) ||
        !pack_tail_is_clear(codes->bits.data, numbers)) {
        return false;
    }
    pack_unpack_soft(codes->bits.data, numbers, v->codes);
    head_trainer_place(v->trainer, portion, v->codes, v->rows, v->inputs);
    traffic_report_add_codes(v->traffic, portion, codes->bits.data, v->rows, code_decoder_payload_bits(codes, bits),
                             is_described(v));
    return true;
}

bool evaluator_take_refinement(evaluator *v, uint32_t portion, const Fewbit__Refinement *r) {
    return count_stage(v, portion, refinement_eval_take_refinement(v->refinement, portion, r));
}

bool evaluator_ends_counted_pass(const evaluator *v, uint32_t *samples) {
    *samples = is_soft(v->pass) ? 0 : samples_of(v, v->pass);
    return is_described(v) && v->done + v->rows == samples_of(v, v->pass);
}

/* Classifying. */

void evaluator_classify(evaluator *v) {
    const uint8_t *truth = v->labels->values[split_of(v)] + first_of(v);
    if (v->pass == REFINEMENT) {
        v->more = (Fewbit__RefineRequest)FEWBIT__REFINE_REQUEST__INIT;
        v->asks_more = refinement_eval_next(v->refinement, truth, &v->more);
        v->done += v->asks_more ? 0 : v->rows;
        return;
    }
    if (v->pass == INCOMPLETE_TEST) {
        head_trainer_hide(v->trainer, v->have + v->done, v->rows, v->inputs);
    }
    float *probabilities = is_served(v) ? v->probabilities : NULL;
    v->correct[v->pass] += head_trainer_evaluate(v->trainer, v->inputs, truth, v->rows, probabilities);
    if (probabilities) {
        class_metrics_add(v->metrics[split_of(v)], probabilities, truth, v->rows);
    }
    for (uint32_t k = 0; k < v->portions && is_soft(v->pass) && is_described(v); k++) {
        histogram_add(&v->histograms[k], v->inputs + v->layout.offset[k], v->rows, codeword_bits(&v->layout));
    }
    v->done += v->rows;
}

static double accuracy_of(const evaluator *v, pass p) {
    uint32_t samples = samples_of(v, p);
    return samples > 0 ? schedule_percent(v->correct[p], samples) : (double)NAN;
}

/* The text of a list or an object, which is taken over; NULL: none, or no memory for it. */
static char *text_of(json_t *j) {
    char *text = json_text(j, JSON_COMPACT);
    json_decref(j);
    return text;
}

/* Of the splits that were measured. */
static json_t *metrics_json(const evaluator *v) {
    json_t *j = json_object();
    if (is_test_measured(v)) {
        json_put(&j, "test", class_metrics_json(v->metrics[DATASET_TEST]));
    }
    if (v->e->dataset.validation > 0) {
        json_put(&j, "validation", class_metrics_json(v->metrics[DATASET_TRAIN]));
    }
    if (samples_of(v, INCOMPLETE_TEST) > 0) {
        uint32_t samples = samples_of(v, ROUNDED_TEST) + v->incomplete;
        uint64_t correct = v->correct[ROUNDED_TEST] + v->correct[INCOMPLETE_TEST];
        json_put(
            &j, "with_missing",
            json_pack("{s:I, s:f}", "samples", (json_int_t)samples, "accuracy", schedule_percent(correct, samples)));
    }
    return j;
}

void evaluator_score(const evaluator *v, manifest_evaluation *score) {
    *score = (manifest_evaluation){
        .soft = accuracy_of(v, SOFT_TEST),
        .rounded = accuracy_of(v, ROUNDED_TEST),
        .soft_validation = accuracy_of(v, SOFT_VALIDATION),
        .validation = accuracy_of(v, ROUNDED_VALIDATION),
        .encoders = v->portions > 0 ? text_of(histogram_list(v->histograms, v->portions)) : NULL,
        .metrics = text_of(metrics_json(v)),
        .refinement = v->refinement ? text_of(refinement_eval_json(v->refinement)) : NULL,
    };
}
