#include "base/clock.h"
#include "bits/pack.h"
#include "decoder_server/core/code_decoder.h"
#include "decoder_server/train/coordinator_inside.h"

#include <math.h>

static bool is_test_measured(const coordinator *c) {
    return c->e->dataset.evaluate_test;
}

static bool is_of_test(const coordinator *c, evaluator_stage s) {
    return s == SOFT_TEST || s == ROUNDED_TEST || (s == REFINEMENT && is_test_measured(c));
}

static enum dataset_split split_of(const coordinator *c, evaluator_stage s) {
    return is_of_test(c, s) ? DATASET_TEST : DATASET_TRAIN;
}

/* 0: the stage is left out. */
static uint32_t samples_of(const coordinator *c, evaluator_stage s) {
    if (s == REFINEMENT && !c->refinement) {
        return 0;
    }
    if (!is_of_test(c, s)) {
        return c->e->dataset.validation;
    }
    return is_test_measured(c) ? c->labels->samples[DATASET_TEST] : 0;
}

static uint32_t first_of(const coordinator *c, evaluator_stage s) {
    return is_of_test(c, s) ? 0 : c->train_samples;
}

/* The first stage from `s` on that is not left out; STAGES: none. */
static evaluator_stage next_stage(const coordinator *c, evaluator_stage s) {
    while (s < STAGES && samples_of(c, s) == 0) {
        s++;
    }
    return s;
}

/* Bits and histograms are those of the test, or where that is left alone of the samples held back. */
static bool is_described(const coordinator *c) {
    return is_of_test(c, c->stage) == is_test_measured(c);
}

static bool is_metered(const coordinator *c) {
    return (c->stage == ROUNDED_TEST || c->stage == ROUNDED_VALIDATION) && is_described(c);
}

static bool take_first_refinement(coordinator *c, uint32_t k, const Fewbit__Codes *codes) {
    if (!refinement_eval_take_codes(c->refinement, k, codes)) {
        return false;
    }
    traffic_report_add_refinement(&c->traffic, k, refinement_eval_bits(c->refinement));
    return true;
}

static bool take_all_bits(coordinator *c, uint32_t k, const Fewbit__Codes *codes) {
    size_t numbers = (size_t)c->rows * c->bits;
    if ((uint64_t)codes->more + 1 != c->rows || codes->bits.len != pack_bytes(numbers) ||
        !pack_tail_is_clear(codes->bits.data, numbers)) {
        return false;
    }
    pack_unpack_soft(codes->bits.data, numbers, c->one);
    coordinator_place(c, k, c->one);
    traffic_report_add_codes(&c->traffic, k, codes->bits.data, c->rows, code_decoder_payload_bits(codes, c->bits),
                             is_described(c));
    return true;
}

void evaluator_take_codes(coordinator *c, uint32_t k, const Fewbit__Codes *codes) {
    bool is_refined = c->stage == REFINEMENT;
    if (c->state != EVALUATING || stage_is_soft(c->stage) || c->members[k].has_answered ||
        codes->model != (uint32_t)c->position.step ||
        !(is_refined ? take_first_refinement(c, k, codes) : take_all_bits(c, k, codes))) {
        coordinator_drop_for_protocol(c, k, "sent codes that were not asked for or do not fit");
        return;
    }
    if (coordinator_is_last_answer(c, k)) {
        evaluator_on(c);
    }
}

void evaluation_take_refinement(coordinator *c, uint32_t k, const Fewbit__Refinement *reply) {
    if (c->state != EVALUATING || c->stage != REFINEMENT || c->members[k].has_answered ||
        !refinement_eval_take_added(c->refinement, k, reply)) {
        coordinator_drop_for_protocol(c, k, "sent a stage of bits that was not asked for or does not fit");
        return;
    }
    traffic_report_add_refinement(&c->traffic, k, refinement_eval_bits(c->refinement));
    if (coordinator_is_last_answer(c, k)) {
        evaluator_on(c);
    }
}

static void send_evaluation(coordinator *c) {
    uint32_t left = samples_of(c, c->stage) - c->evaluated;
    c->rows = left < SCHEDULE_EVALUATION_ROWS ? left : SCHEDULE_EVALUATION_ROWS;
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.step = c->position.step;
    batch.phase = stage_is_soft(c->stage) ? FEWBIT__PHASE__PHASE_SOFT : FEWBIT__PHASE__PHASE_HARD;
    batch.split = split_of(c, c->stage) == DATASET_TEST ? FEWBIT__SPLIT__SPLIT_TEST : FEWBIT__SPLIT__SPLIT_TRAIN;
    batch.first = first_of(c, c->stage) + c->evaluated;
    batch.count = c->rows;
    if (c->stage == REFINEMENT) {
        batch.stages = 1;
        refinement_eval_begin(c->refinement, batch.first, c->rows);
    }
    coordinator_await_answers(c, stage_is_soft(c->stage) ? MESSAGE_ACTIVATIONS : MESSAGE_CODES);
    c->state = EVALUATING;
    coordinator_send_to_all(c, MESSAGE_BATCH, &batch.base);
}

static void ask_meters(coordinator *c, bool opens) {
    c->meter_opens = opens;
    c->state = METERING;
    coordinator_await_answers(c, MESSAGE_PING);
    for (uint32_t k = 0; k < c->portions; k++) {
        c->host.ask_meter(c->host.context, k);
    }
}

static void start_stage(coordinator *c, evaluator_stage s) {
    c->stage = s;
    c->evaluated = 0;
    c->stage_correct[s] = 0;
    if (s == REFINEMENT) {
        refinement_eval_start(c->refinement);
    }
    if (is_metered(c)) {
        traffic_report_start_rounded(&c->traffic);
        ask_meters(c, true);
    } else {
        send_evaluation(c);
    }
}

void evaluator_start(coordinator *c) {
    coordinator_report(c, "testing", NULL);
    for (uint32_t k = 0; k < c->portions; k++) {
        c->histograms[k] = (histogram){.bits = c->bits};
    }
    start_stage(c, next_stage(c, SOFT_TEST));
}

static double accuracy_of(const coordinator *c, evaluator_stage s) {
    uint32_t samples = samples_of(c, s);
    return samples > 0 ? schedule_percent(c->stage_correct[s], samples) : (double)NAN;
}

static void end_evaluation(coordinator *c) {
    manifest_evaluation score = {
        .soft = accuracy_of(c, SOFT_TEST),
        .rounded = accuracy_of(c, ROUNDED_TEST),
        .soft_validation = accuracy_of(c, SOFT_VALIDATION),
        .validation = accuracy_of(c, ROUNDED_VALIDATION),
        .encoders = histogram_list(c->histograms, c->portions),
        .refinement = c->refinement ? refinement_eval_json(c->refinement) : NULL,
    };
    schedule_count_time(&c->position, &c->period_started_ns);
    if (schedule_end_period(c->run, &c->position, c->batches, &score, &c->next_is_best)) {
        coordinator_end(c, ERR_MEMORY, err_text());
        return;
    }
    coordinator_report(c, "testing", &score);
    checkpointer_start(c);
}

static void go_to_next_stage(coordinator *c) {
    evaluator_stage next = next_stage(c, c->stage + 1);
    if (next < STAGES) {
        start_stage(c, next);
    } else {
        end_evaluation(c);
    }
}

static void end_stage(coordinator *c) {
    if (is_metered(c)) {
        ask_meters(c, false);
    } else {
        go_to_next_stage(c);
    }
}

static void go_on(coordinator *c) {
    c->evaluated += c->rows;
    if (c->evaluated < samples_of(c, c->stage)) {
        send_evaluation(c);
    } else {
        end_stage(c);
    }
}

/* What has come is judged; the next stage of what is unsure is asked for, until nothing is. */
static void on_round(coordinator *c, const uint8_t *truth) {
    Fewbit__RefineRequest ask = FEWBIT__REFINE_REQUEST__INIT;
    ask.model = (uint32_t)c->position.step;
    if (refinement_eval_next(c->refinement, truth, &ask)) {
        coordinator_await_answers(c, MESSAGE_REFINEMENT);
        coordinator_send_to_all(c, MESSAGE_REFINE_REQUEST, &ask.base);
    } else {
        go_on(c);
    }
}

/* All answers to an evaluation batch are here. */
void evaluator_on(coordinator *c) {
    const uint8_t *truth = c->labels->values[split_of(c, c->stage)] + first_of(c, c->stage) + c->evaluated;
    if (c->stage == REFINEMENT) {
        on_round(c, truth);
        return;
    }
    c->stage_correct[c->stage] += head_trainer_evaluate(c->trainer, c->soft, truth, c->rows);
    for (uint32_t k = 0; k < c->portions && stage_is_soft(c->stage) && is_described(c); k++) {
        histogram_add(&c->histograms[k], c->soft + (size_t)k * c->bits, c->rows, (size_t)c->portions * c->bits);
    }
    go_on(c);
}

void coordinator_metered(coordinator *c, uint32_t portion, const traffic_counters *m) {
    if (c->state != METERING || c->members[portion].has_answered) {
        return;
    }
    if (!c->meter_opens) {
        c->traffic.rounded[portion] = traffic_counters_between(&c->traffic.total[portion], m);
    }
    c->traffic.total[portion] = *m;
    if (!coordinator_is_last_answer(c, portion)) {
        return;
    }
    if (c->meter_opens) {
        send_evaluation(c);
        return;
    }
    c->traffic.rounded_samples = samples_of(c, c->stage);
    go_to_next_stage(c);
}
