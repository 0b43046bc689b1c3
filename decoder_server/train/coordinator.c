#include "decoder_server/train/coordinator.h"

#include "base/clock.h"
#include "base/cursor.h"
#include "base/log.h"
#include "bits/pack.h"
#include "data/order.h"
#include "decoder_server/train/ledger.h"
#include "decoder_server/train/step.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVALUATION_ROWS = 1000 };

typedef enum state { GATHERING, TRAINING, UPDATING, METERING, EVALUATING, SAVING, OVER } state;

/* The evaluations at the end of an epoch, in order. */
typedef enum stage { SOFT_TEST, ROUNDED_TEST, ROUNDED_VALIDATION, STAGES } stage;

typedef struct member {
    bool is_here, has_answered;
    unsigned restores; /* Restores it has not answered */
} member;

struct coordinator {
    run *run;
    const labels *labels;
    coordinator_host host;
    const experiment *e;
    step *step;
    uint32_t portions, bits;
    state state;
    member members[SPLIT_PORTIONS_MAX];
    run_position at;
    uint32_t train_samples, batches;
    uint32_t *order; /* [train_samples], of epoch `ordered` */
    uint32_t ordered;
    uint8_t *batch_ids;    /* u32 little-endian [batch] */
    uint8_t *batch_labels; /* [batch] */
    float *soft;           /* [largest batch, portions * bits] */
    float *one;            /* [largest batch, bits]: one portion's gradient, or codes */
    uint32_t rows;         /* of the batch under way */
    stage stage;
    uint32_t evaluated; /* samples of the stage */
    uint64_t stage_correct[STAGES];
    bool meter_opens; /* the meters asked for are those before the rounded test */
    run_commit next;
    bool next_is_best, save_failed;
    char save_error[200];
    ledger ledger;
    uint64_t trained, steps; /* samples and steps of this process */
    uint64_t period_started_ns;
    err outcome;
    char outcome_text[256];
};

static void start_evaluation(coordinator *c);
static void evaluate_on(coordinator *c);
static void save(coordinator *c);
static void go_on(coordinator *c);

/* Memory. */

static err allocate(coordinator *c) {
    size_t rows = c->e->training.batch > EVALUATION_ROWS ? c->e->training.batch : EVALUATION_ROWS;
    c->order = malloc(c->train_samples * sizeof *c->order);
    c->batch_ids = malloc((size_t)c->e->training.batch * 4);
    c->batch_labels = malloc(c->e->training.batch);
    c->soft = calloc(rows * c->portions * c->bits, sizeof *c->soft);
    c->one = calloc(rows * c->bits, sizeof *c->one);
    if (!c->order || !c->batch_ids || !c->batch_labels || !c->soft || !c->one) {
        return err_fail(ERR_MEMORY, "no memory for a coordinator of %u samples", c->train_samples);
    }
    return ERR_OK;
}

static err check_labels(const experiment *e, const labels *l) {
    split s;
    uint32_t classes;
    err failed = experiment_split(e, &s, &classes);
    if (failed) {
        return failed;
    }
    if (strcmp(l->dataset, e->data.set) != 0 || memcmp(&s, &l->split, sizeof s) != 0 || classes != l->classes) {
        return err_fail(ERR_INPUT, "the experiment wants %s in %u %s, the labels are of %s in %u %s", e->data.set,
                        s.portions, split_name(s.kind), l->dataset, l->split.portions, split_name(l->split.kind));
    }
    if (l->samples[DATASET_TRAIN] <= e->data.validation || l->samples[DATASET_TEST] == 0) {
        return err_fail(ERR_INPUT, "%u training samples less %u for validation, %u test samples: too few",
                        l->samples[DATASET_TRAIN], e->data.validation, l->samples[DATASET_TEST]);
    }
    uint32_t last = (l->samples[DATASET_TRAIN] - e->data.validation) % e->training.batch;
    if (e->encoder.batch_norm && last == 1) {
        return err_fail(ERR_INPUT, "the last batch of an epoch has one sample: too few for batch norm");
    }
    return ERR_OK;
}

err coordinator_new(coordinator **out, run *r, const labels *l, lanes *lanes, bool over_tcp,
                    const coordinator_host *host) {
    err e = check_labels(&r->experiment, l);
    if (e) {
        return e;
    }
    coordinator *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for a coordinator");
    }
    c->run = r;
    c->labels = l;
    c->host = *host;
    c->e = &r->experiment;
    c->portions = c->e->data.portions;
    c->bits = c->e->encoder.bits;
    c->train_samples = experiment_train_samples(c->e, l->samples[DATASET_TRAIN]);
    c->batches = experiment_steps(c->e, c->train_samples);
    c->ordered = UINT32_MAX;
    c->ledger.portions = c->portions;
    c->ledger.over_tcp = over_tcp;
    size_t rows = c->e->training.batch > EVALUATION_ROWS ? c->e->training.batch : EVALUATION_ROWS;
    e = step_new(&c->step, c->e, rows, lanes);
    e = e ? e : allocate(c);
    if (e) {
        coordinator_free(c);
        return e;
    }
    run_log(r, r->has_commit ? "resumed" : "started", json_pack("{s:I}", "step", (json_int_t)r->last.position.step));
    *out = c;
    return ERR_OK;
}

void coordinator_free(coordinator *c) {
    if (!c) {
        return;
    }
    step_free(c->step);
    free(c->order);
    free(c->batch_ids);
    free(c->batch_labels);
    free(c->soft);
    free(c->one);
    free(c);
}

/* Talking to the nodes. */

static void tell_all(coordinator *c, message_type type, const ProtobufCMessage *body) {
    for (uint32_t k = 0; k < c->portions; k++) {
        c->host.tell(c->host.context, k, type, body);
    }
}

static void await_answers(coordinator *c) {
    for (uint32_t k = 0; k < c->portions; k++) {
        c->members[k].has_answered = false;
    }
}

/* Notes that portion k has answered; true once all have. */
static bool is_last_answer(coordinator *c, uint32_t k) {
    c->members[k].has_answered = true;
    for (uint32_t i = 0; i < c->portions; i++) {
        if (!c->members[i].has_answered) {
            return false;
        }
    }
    return true;
}

static void report(coordinator *c, const char *phase, const run_evaluation *ended) {
    double seen = c->at.seen ? (double)c->at.seen : 1.0;
    coordinator_progress p = {
        .phase = phase,
        .epoch = c->at.epoch + 1,
        .epochs = c->e->training.epochs,
        .batch = c->at.batch,
        .batches = c->batches,
        .loss = c->at.loss_sum / seen,
        .accuracy = 100.0 * (double)c->at.correct / seen,
        .samples = c->trained,
        .steps = c->steps,
        .ended = ended,
    };
    c->host.progress(c->host.context, &p);
}

static void end_training(coordinator *c, err outcome, const char *text) {
    c->state = OVER;
    c->outcome = outcome;
    snprintf(c->outcome_text, sizeof c->outcome_text, "%s", text);
    for (uint32_t k = 0; k < c->portions; k++) {
        if (c->members[k].is_here) {
            c->host.drop(c->host.context, k, FEWBIT__REASON__REASON_OVER,
                         outcome ? "the training has failed" : "the training is over");
        }
    }
}

/* Gathering: everybody at the last commit. */

static err restore_head(coordinator *c) {
    run_rewind(c->run);
    if (!c->run->has_commit) {
        c->at = (run_position){0};
        step_init(c->step, c->e->training.seed);
        return ERR_OK;
    }
    c->at = c->run->last.position;
    return run_load_head(c->run, &c->run->last, step_head(c->step), step_optimiser(c->step));
}

static void restore_everybody(coordinator *c) {
    if (restore_head(c)) {
        end_training(c, ERR_INPUT, err_text());
        return;
    }
    for (uint32_t k = 0; k < c->portions; k++) {
        Fewbit__Restore restore = FEWBIT__RESTORE__INIT;
        restore.step = c->at.step;
        restore.fresh = !c->run->has_commit;
        if (c->run->has_commit) {
            restore.digest = (ProtobufCBinaryData){DIGEST_BYTES, c->run->last.encoders[k]};
        }
        c->members[k].restores++;
        c->host.tell(c->host.context, k, MESSAGE_RESTORE, &restore.base);
    }
    await_answers(c);
}

static bool all_here(const coordinator *c) {
    for (uint32_t k = 0; k < c->portions; k++) {
        if (!c->members[k].is_here) {
            return false;
        }
    }
    return true;
}

void coordinator_joined(coordinator *c, uint32_t portion, const char *name) {
    snprintf(c->ledger.names[portion], sizeof c->ledger.names[portion], "%s", name);
    c->members[portion] = (member){.is_here = true};
    if (c->state == OVER) {
        c->host.drop(c->host.context, portion, FEWBIT__REASON__REASON_OVER, "the training is over");
        return;
    }
    log_info("portion %u joined: %s", portion, name);
    if (all_here(c)) {
        restore_everybody(c);
    } else {
        report(c, "waiting for nodes", NULL);
    }
}

void coordinator_left(coordinator *c, uint32_t portion) {
    c->members[portion] = (member){0};
    if (c->state == OVER) {
        return;
    }
    log_warn("portion %u (%s) is lost at step %" PRIu64 "; going back to step %" PRIu64 " once it is here again",
             portion, c->ledger.names[portion], c->at.step, c->run->has_commit ? c->run->last.position.step : 0);
    run_log(c->run, "lost", json_pack("{s:i, s:I}", "portion", (int)portion, "step", (json_int_t)c->at.step));
    c->state = GATHERING;
    report(c, "waiting for nodes", NULL);
}

/* Training. */

static void send_batch(coordinator *c) {
    if (c->ordered != c->at.epoch) {
        order_epoch(c->e->training.seed, c->at.epoch, c->order, c->train_samples);
        c->ordered = c->at.epoch;
    }
    uint32_t first = c->at.batch * c->e->training.batch;
    uint32_t left = c->train_samples - first;
    c->rows = left < c->e->training.batch ? left : c->e->training.batch;
    for (uint32_t i = 0; i < c->rows; i++) {
        uint32_t id = c->order[first + i];
        put_u32_le(c->batch_ids + 4 * i, id);
        c->batch_labels[i] = c->labels->values[DATASET_TRAIN][id];
    }
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.step = c->at.step;
    batch.phase = FEWBIT__PHASE__PHASE_TRAIN;
    batch.part = FEWBIT__PART__PART_TRAIN;
    batch.count = c->rows;
    batch.ids = (ProtobufCBinaryData){(size_t)c->rows * 4, c->batch_ids};
    await_answers(c);
    c->state = TRAINING;
    tell_all(c, MESSAGE_BATCH, &batch.base);
}

static void send_gradients(coordinator *c, uint64_t of_step, uint32_t rows, const float *gradient) {
    size_t width = (size_t)c->portions * c->bits;
    for (uint32_t k = 0; k < c->portions; k++) {
        for (uint32_t row = 0; row < rows; row++) {
            memcpy(c->one + row * c->bits, gradient + row * width + k * c->bits, c->bits * sizeof(float));
        }
        Fewbit__Gradients g = FEWBIT__GRADIENTS__INIT;
        g.step = of_step;
        g.count = rows;
        g.values = (ProtobufCBinaryData){(size_t)rows * c->bits * sizeof(float), (uint8_t *)c->one};
        c->ledger.gradients[k] += (uint64_t)rows * c->bits * 32;
        c->host.tell(c->host.context, k, MESSAGE_GRADIENTS, &g.base);
    }
}

static bool saves_at(const coordinator *c) {
    uint32_t every = c->e->training.checkpoint_every;
    return every > 0 && c->at.step % every == 0;
}

static bool evaluates_at(const coordinator *c) {
    uint32_t every = c->e->training.evaluate_every;
    return c->at.batch == c->batches || (every > 0 && c->at.batch % every == 0);
}

/* All activations of a batch are here. */
static void train_on_batch(coordinator *c) {
    double loss;
    size_t correct = 0;
    uint32_t rows = c->rows;
    const float *gradient = step_train(c->step, c->soft, c->batch_labels, rows, &loss, &correct);
    c->at.loss_sum += loss * rows;
    c->at.correct += correct;
    c->at.seen += rows;
    c->trained += rows;
    c->steps++;
    uint64_t of_step = c->at.step++;
    c->at.batch++;
    send_gradients(c, of_step, rows, gradient);
    step_update_begin(c->step);
    if (!evaluates_at(c) && !saves_at(c)) {
        send_batch(c);
    }
    c->state = UPDATING;
}

size_t coordinator_work_tasks(const coordinator *c) {
    return c->state == UPDATING ? step_update_tasks(c->step) : 0;
}

void coordinator_work_task(coordinator *c, size_t task) {
    step_update_task(c->step, task);
}

void coordinator_work_done(coordinator *c) {
    step_update_finish(c->step);
    c->state = TRAINING;
    report(c, "training", NULL);
    if (evaluates_at(c)) {
        start_evaluation(c);
    } else if (saves_at(c)) {
        save(c);
    }
}

/* Answers of the nodes. */

static void drop_for_protocol(coordinator *c, uint32_t k, const char *text) {
    log_warn("portion %u (%s): %s", k, c->ledger.names[k], text);
    c->host.drop(c->host.context, k, FEWBIT__REASON__REASON_PROTOCOL, text);
}

/* Puts one portion's numbers [rows, bits] into its columns of `soft`. */
static void place(coordinator *c, uint32_t k, const float *from) {
    size_t width = (size_t)c->portions * c->bits;
    for (uint32_t row = 0; row < c->rows; row++) {
        memcpy(c->soft + row * width + k * c->bits, from + row * c->bits, c->bits * sizeof(float));
    }
}

static bool is_finite_in_unit(const float *soft, size_t n) {
    bool good = true;
    for (size_t i = 0; i < n; i++) {
        good = good && soft[i] >= 0.0f && soft[i] <= 1.0f;
    }
    return good;
}

static bool take_activations(coordinator *c, uint32_t k, const Fewbit__Activations *a) {
    size_t numbers = (size_t)c->rows * c->bits;
    if (a->count != c->rows || c->members[k].has_answered) {
        return false;
    }
    if (a->bits.len > 0) {
        if (a->soft.len > 0 || a->bits.len != pack_bytes(numbers)) {
            return false;
        }
        unpack_soft(a->bits.data, numbers, c->one);
        c->ledger.activations[k] += numbers;
    } else {
        if (a->soft.len != numbers * sizeof(float)) {
            return false;
        }
        memcpy(c->one, a->soft.data, a->soft.len);
        c->ledger.activations[k] += numbers * 32;
    }
    if (!is_finite_in_unit(c->one, numbers)) {
        return false;
    }
    place(c, k, c->one);
    return true;
}

static void on_activations(coordinator *c, uint32_t k, const Fewbit__Activations *a) {
    bool trains = c->state == TRAINING && a->phase == FEWBIT__PHASE__PHASE_TRAIN;
    bool tests = c->state == EVALUATING && c->stage == SOFT_TEST && a->phase == FEWBIT__PHASE__PHASE_SOFT;
    if ((!trains && !tests) || a->step != c->at.step || !take_activations(c, k, a)) {
        drop_for_protocol(c, k, "sent activations that were not asked for or do not fit");
        return;
    }
    if (!is_last_answer(c, k)) {
        return;
    }
    if (trains) {
        train_on_batch(c);
    } else {
        evaluate_on(c);
    }
}

static void on_codes(coordinator *c, uint32_t k, const Fewbit__Codes *codes) {
    size_t numbers = (size_t)c->rows * c->bits;
    if (c->state != EVALUATING || c->stage == SOFT_TEST || c->members[k].has_answered ||
        codes->model != (uint32_t)c->at.step || (uint64_t)codes->more + 1 != c->rows ||
        codes->bits.len != pack_bytes(numbers) || !pack_tail_is_clear(codes->bits.data, numbers)) {
        drop_for_protocol(c, k, "sent codes that were not asked for or do not fit");
        return;
    }
    unpack_soft(codes->bits.data, numbers, c->one);
    place(c, k, c->one);
    c->ledger.codes[k] += numbers;
    if (is_last_answer(c, k)) {
        evaluate_on(c);
    }
}

static void on_ready(coordinator *c, uint32_t k, const Fewbit__Ready *r) {
    member *m = &c->members[k];
    if (m->restores == 0 || (m->restores == 1 && r->step != c->at.step)) {
        drop_for_protocol(c, k, "says it is ready for a step nobody asked for");
        return;
    }
    m->restores--;
    if (m->restores == 0 && c->state == GATHERING && is_last_answer(c, k)) {
        run_log(c->run, "training", json_pack("{s:I}", "step", (json_int_t)c->at.step));
        c->period_started_ns = clock_now_ns();
        go_on(c);
    }
}

/* Evaluating. */

static enum dataset_part part_of(stage s) {
    return s == ROUNDED_VALIDATION ? DATASET_TRAIN : DATASET_TEST;
}

static uint32_t samples_of(const coordinator *c, stage s) {
    return s == ROUNDED_VALIDATION ? c->e->data.validation : c->labels->samples[DATASET_TEST];
}

static uint32_t first_of(const coordinator *c, stage s) {
    return s == ROUNDED_VALIDATION ? c->train_samples : 0;
}

static void send_evaluation(coordinator *c) {
    uint32_t left = samples_of(c, c->stage) - c->evaluated;
    c->rows = left < EVALUATION_ROWS ? left : EVALUATION_ROWS;
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.step = c->at.step;
    batch.phase = c->stage == SOFT_TEST ? FEWBIT__PHASE__PHASE_SOFT : FEWBIT__PHASE__PHASE_HARD;
    batch.part = part_of(c->stage) == DATASET_TEST ? FEWBIT__PART__PART_TEST : FEWBIT__PART__PART_TRAIN;
    batch.first = first_of(c, c->stage) + c->evaluated;
    batch.count = c->rows;
    await_answers(c);
    c->state = EVALUATING;
    tell_all(c, MESSAGE_BATCH, &batch.base);
}

static void ask_meters(coordinator *c, bool opens) {
    c->meter_opens = opens;
    c->state = METERING;
    await_answers(c);
    for (uint32_t k = 0; k < c->portions; k++) {
        c->host.ask_meter(c->host.context, k);
    }
}

static void start_stage(coordinator *c, stage s) {
    c->stage = s;
    c->evaluated = 0;
    c->stage_correct[s] = 0;
    if (s == ROUNDED_TEST) {
        ask_meters(c, true);
    } else {
        send_evaluation(c);
    }
}

static void start_evaluation(coordinator *c) {
    report(c, "testing", NULL);
    start_stage(c, SOFT_TEST);
}

static double percent(uint64_t correct, uint64_t samples) {
    return samples ? 100.0 * (double)correct / (double)samples : 0.0;
}

static bool is_better_than_before(const coordinator *c, const run_evaluation *score) {
    for (uint32_t i = 0; i + 1 < c->run->evaluation_count; i++) {
        if (c->run->evaluations[i].validation >= score->validation) {
            return false;
        }
    }
    return true;
}

static void end_evaluation(coordinator *c) {
    run_evaluation score = {
        .epoch = c->at.epoch + (double)c->at.batch / c->batches,
        .loss = c->at.loss_sum / (double)c->at.seen,
        .train = percent(c->at.correct, c->at.seen),
        .soft = percent(c->stage_correct[SOFT_TEST], samples_of(c, SOFT_TEST)),
        .rounded = percent(c->stage_correct[ROUNDED_TEST], samples_of(c, ROUNDED_TEST)),
        .validation = percent(c->stage_correct[ROUNDED_VALIDATION], samples_of(c, ROUNDED_VALIDATION)),
        .seconds = clock_seconds_since(c->period_started_ns),
    };
    if (run_add_evaluation(c->run, &score)) {
        end_training(c, ERR_MEMORY, err_text());
        return;
    }
    run_log(c->run, "evaluated",
            json_pack("{s:f, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "epoch", score.epoch, "step", (json_int_t)c->at.step,
                      "loss", score.loss, "train_accuracy", score.train, "soft_accuracy", score.soft,
                      "rounded_accuracy", score.rounded, "validation_accuracy", score.validation, "seconds",
                      score.seconds));
    report(c, "testing", &score);
    c->next_is_best = c->e->training.keep_best && is_better_than_before(c, &score);
    bool ends_epoch = c->at.batch == c->batches;
    c->at = (run_position){
        .step = c->at.step,
        .epoch = c->at.epoch + ends_epoch,
        .batch = ends_epoch ? 0 : c->at.batch,
        .evaluations = c->at.evaluations + 1,
    };
    c->period_started_ns = clock_now_ns();
    save(c);
}

static void end_stage(coordinator *c) {
    if (c->stage == ROUNDED_TEST) {
        ask_meters(c, false);
    } else if (c->stage == SOFT_TEST) {
        start_stage(c, ROUNDED_TEST);
    } else {
        end_evaluation(c);
    }
}

/* All answers to an evaluation batch are here. */
static void evaluate_on(coordinator *c) {
    const uint8_t *truth = c->labels->values[part_of(c->stage)] + first_of(c, c->stage) + c->evaluated;
    c->stage_correct[c->stage] += step_evaluate(c->step, c->soft, truth, c->rows);
    c->evaluated += c->rows;
    if (c->evaluated < samples_of(c, c->stage)) {
        send_evaluation(c);
    } else {
        end_stage(c);
    }
}

void coordinator_metered(coordinator *c, uint32_t portion, const meter *m) {
    if (c->state != METERING || c->members[portion].has_answered) {
        return;
    }
    if (!c->meter_opens) {
        c->ledger.rounded[portion] = meter_between(&c->ledger.total[portion], m);
    }
    c->ledger.total[portion] = *m;
    if (!is_last_answer(c, portion)) {
        return;
    }
    if (c->meter_opens) {
        send_evaluation(c);
        return;
    }
    c->ledger.rounded_samples = samples_of(c, ROUNDED_TEST);
    if (c->e->data.validation > 0) {
        start_stage(c, ROUNDED_VALIDATION);
    } else {
        c->stage_correct[ROUNDED_VALIDATION] = 0;
        end_evaluation(c);
    }
}

/* Saving. */

static void save(coordinator *c) {
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    save.step = c->at.step;
    c->next = (run_commit){.position = c->at};
    c->save_failed = false;
    c->state = SAVING;
    await_answers(c);
    tell_all(c, MESSAGE_SAVE, &save.base);
    if (run_save_head(c->run, c->at.step, step_head(c->step), step_optimiser(c->step), c->next.head)) {
        c->save_failed = true;
        snprintf(c->save_error, sizeof c->save_error, "%s", err_text());
    }
}

/* Every part that no commit names goes, here and at the nodes: those of a checkpoint that failed too, else they
 * would fill the disks that have room. */
static void prune(coordinator *c) {
    uint64_t keep[2] = {c->run->last.position.step, c->run->best.position.step};
    Fewbit__Committed committed = FEWBIT__COMMITTED__INIT;
    committed.n_keep = !c->run->has_commit ? 0 : c->run->has_best && keep[1] != keep[0] ? 2 : 1;
    committed.keep = keep;
    tell_all(c, MESSAGE_COMMITTED, &committed.base);
    run_prune_heads(c->run);
}

static void commit(coordinator *c) {
    if (!c->save_failed && run_commit_checkpoint(c->run, &c->next, c->next_is_best)) {
        c->save_failed = true;
        snprintf(c->save_error, sizeof c->save_error, "%s", err_text());
    }
    if (c->save_failed) {
        log_error("checkpoint %" PRIu64 " failed, the one of step %" PRIu64 " stands: %s", c->at.step,
                  c->run->has_commit ? c->run->last.position.step : 0, c->save_error);
        run_log(c->run, "commit failed",
                json_pack("{s:I, s:s}", "step", (json_int_t)c->at.step, "error", c->save_error));
    } else {
        run_log(c->run, "committed", json_pack("{s:I}", "step", (json_int_t)c->at.step));
    }
    prune(c);
    c->next_is_best = false;
    go_on(c);
}

static void on_saved(coordinator *c, uint32_t k, const Fewbit__Saved *s) {
    bool failed = s->error[0] != '\0';
    if (c->state != SAVING || s->step != c->at.step || c->members[k].has_answered ||
        (!failed && s->digest.len != DIGEST_BYTES)) {
        drop_for_protocol(c, k, "answered a checkpoint nobody asked for");
        return;
    }
    if (failed) {
        c->save_failed = true;
        snprintf(c->save_error, sizeof c->save_error, "portion %u: %s", k, s->error);
    } else {
        memcpy(c->next.encoders[k], s->digest.data, DIGEST_BYTES);
    }
    if (is_last_answer(c, k)) {
        commit(c);
    }
}

static bool stops_early(const coordinator *c) {
    uint32_t patience = c->e->training.early_stop, count = c->run->evaluation_count;
    if (patience == 0 || count <= patience) {
        return false;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++) {
        best = c->run->evaluations[i].validation > c->run->evaluations[best].validation ? i : best;
    }
    return count - 1 - best >= patience;
}

static json_t *history(const run *r) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->evaluation_count; i++) {
        const run_evaluation *e = &r->evaluations[i];
        json_array_append_new(list, json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "epoch", e->epoch, "loss", e->loss,
                                              "train_accuracy", e->train, "soft_accuracy", e->soft, "rounded_accuracy",
                                              e->rounded, "validation_accuracy", e->validation, "seconds", e->seconds));
    }
    return list;
}

static err write_result(coordinator *c) {
    const run *r = c->run;
    const run_evaluation *final = run_final_evaluation(r);
    double seconds = 0;
    for (uint32_t i = 0; i < r->evaluation_count; i++) {
        seconds += r->evaluations[i].seconds;
    }
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, r->id);
    json_t *j = json_pack(
        "{s:s, s:s, s:{s:f, s:f, s:f, s:f}, s:i, s:f, s:f, s:I, s:o, s:i, s:o, s:o}", "experiment", c->e->name, "run",
        id, "final", "epoch", final->epoch, "train_accuracy", final->train, "soft_accuracy", final->soft,
        "rounded_accuracy", final->rounded, "epochs", (int)c->at.epoch, "seconds", seconds, "seconds_per_epoch",
        c->at.epoch ? seconds / c->at.epoch : seconds, "steps", (json_int_t)c->at.step, "bits_per_sample",
        ledger_bits_per_sample(&c->ledger, c->portions * c->bits), "raw_bits_per_sample",
        (int)(8 * split_sample_elements(&c->labels->split)), "nodes", ledger_nodes(&c->ledger), "history", history(r));
    err e = run_write_result(r, j);
    json_decref(j);
    return e;
}

static void finish(coordinator *c) {
    if (c->save_failed) {
        char text[256];
        snprintf(text, sizeof text,
                 "the last checkpoint could not be written (%.150s); --resume goes on from the one before",
                 c->save_error);
        end_training(c, ERR_IO, text);
        return;
    }
    err e = ERR_OK;
    if (c->steps > 0 || !run_has_result(c->run)) {
        e = write_result(c);
        run_log(c->run, "finished", NULL);
    }
    end_training(c, e, e ? err_text() : "");
}

/* What comes after a commit, instead of one that failed, or after going back to one. */
static void go_on(coordinator *c) {
    if (c->at.epoch >= c->e->training.epochs || (c->at.seen == 0 && stops_early(c))) {
        finish(c);
    } else {
        send_batch(c);
    }
}

void coordinator_receive(coordinator *c, uint32_t portion, const message *m) {
    if (c->state == OVER) {
        return;
    }
    if (m->type == MESSAGE_READY) {
        on_ready(c, portion, m->body.ready);
        return;
    }
    if (m->type == MESSAGE_REFUSAL) {
        log_error("portion %u (%s) refuses: %s", portion, c->ledger.names[portion], m->body.refusal->text);
        return; /* it closes its connection itself */
    }
    if (c->state == GATHERING || c->members[portion].restores > 0) {
        return; /* from before the restore */
    }
    switch (m->type) {
    case MESSAGE_ACTIVATIONS:
        on_activations(c, portion, m->body.activations);
        break;
    case MESSAGE_CODES:
        on_codes(c, portion, m->body.codes);
        break;
    case MESSAGE_SAVED:
        on_saved(c, portion, m->body.saved);
        break;
    default:
        drop_for_protocol(c, portion, "sent a message that only the server sends");
    }
}

bool coordinator_is_over(const coordinator *c, err *outcome) {
    if (c->state != OVER) {
        return false;
    }
    *outcome = c->outcome ? err_fail(c->outcome, "%s", c->outcome_text) : ERR_OK;
    return true;
}
