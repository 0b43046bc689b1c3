#include "decoder_server/train/train_loop.h"

#include "base/byte_reader.h"
#include "base/clock.h"
#include "base/log.h"
#include "decoder_server/train/checkpointer.h"
#include "decoder_server/train/class_weights.h"
#include "decoder_server/train/evaluator.h"
#include "decoder_server/train/schedule.h"
#include "experiment/derive.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Multiply-adds that take about ten milliseconds of one core; to hand less to another thread costs more than it gives.
 */
enum { SHORT_MACS = 1 << 30 };

typedef enum work { NO_WORK, GO_BACK, BEGIN, TRAIN, UPDATE, CLASSIFY, WRITE_HEAD, COMMIT } work;

struct train_loop {
    run_dir *run;
    const labels *labels;
    thread_pool *pool;
    train_loop_host host;
    experiment experiment; /* the run's, with as many samples held back as there are */
    const experiment *e;
    const uint64_t *have; /* [train_samples]: bit k: portion k has it; NULL: all have all */
    head_trainer *trainer;
    evaluator *evaluator;
    checkpointer *checkpointer;
    traffic_report traffic;
    codeword layout; /* of the codes */
    uint32_t portions;
    train_loop_state state;
    work work;
    manifest_position position;
    uint32_t train_samples, batches;
    uint32_t *order; /* [train_samples], of epoch `ordered` */
    uint32_t ordered;
    uint8_t *batch_ids;      /* u32 little-endian [batch] */
    uint8_t *batch_labels;   /* [batch] */
    uint64_t *batch_have;    /* [batch] */
    float *inputs;           /* [largest batch, inputs of the head] */
    float *one;              /* [largest batch, bits]: one portion's gradient, or outputs */
    uint32_t rows;           /* of the batch under way */
    uint64_t trained, steps; /* samples and steps of this process */
    uint64_t period_started_ns;
    err outcome;
    char outcome_text[256];
};

/* Memory. */

static err allocate(train_loop *t) {
    size_t rows =
        t->e->training.batch_size > SCHEDULE_EVALUATION_ROWS ? t->e->training.batch_size : SCHEDULE_EVALUATION_ROWS;
    t->order = malloc(t->train_samples * sizeof *t->order);
    t->batch_ids = malloc((size_t)t->e->training.batch_size * 4);
    t->batch_labels = malloc(t->e->training.batch_size);
    t->batch_have = malloc(t->e->training.batch_size * sizeof *t->batch_have);
    t->inputs = calloc(rows * head_trainer_inputs(t->trainer), sizeof *t->inputs);
    t->one = calloc(rows * PACK_CODE_BITS_MAX, sizeof *t->one);
    if (!t->order || !t->batch_ids || !t->batch_labels || !t->batch_have || !t->inputs || !t->one) {
        return err_fail(ERR_MEMORY, "no memory to train on %u samples", t->train_samples);
    }
    return ERR_OK;
}

static void weigh_classes(train_loop *t) {
    float weights[DATASET_CLASSES_MAX];
    if (class_weights_of(t->e, t->labels->values[DATASET_TRAIN], t->train_samples, t->labels->classes.count, weights)) {
        head_trainer_weigh_classes(t->trainer, weights);
    }
}

static err make_parts(train_loop *t) {
    err e = traffic_report_init(&t->traffic, &t->layout);
    e = e ? e
          : head_trainer_new(&t->trainer, t->e, t->labels->classes.count, SCHEDULE_EVALUATION_ROWS, t->train_samples,
                             t->pool);
    e = e ? e : allocate(t);
    e = e ? e : evaluator_new(&t->evaluator, t->e, t->labels, t->train_samples, t->trainer, &t->traffic, t->inputs);
    return e ? e : checkpointer_new(&t->checkpointer, t->run, t->trainer, t->train_samples);
}

err train_loop_new(train_loop **out, run_dir *r, const labels *l, const alignment *a, thread_pool *pool, bool over_tcp,
                   const train_loop_host *host) {
    train_loop *t = calloc(1, sizeof *t);
    if (!t) {
        return err_fail(ERR_MEMORY, "no memory to train");
    }
    t->experiment = r->experiment;
    t->experiment.dataset.validation = a ? a->validation : r->experiment.dataset.validation;
    err e = schedule_check_labels(&t->experiment, l);
    uint32_t samples = experiment_train_samples(&t->experiment, l->samples[DATASET_TRAIN]);
    e = e ? e : schedule_check_position(r, experiment_steps(&t->experiment, samples));
    if (e) {
        free(t);
        return e;
    }
    t->run = r;
    t->labels = l;
    t->pool = pool;
    t->host = *host;
    t->e = &t->experiment;
    t->have = a && t->e->dataset.missing == EXPERIMENT_MISSING_TRAIN ? a->have : NULL;
    t->portions = t->traffic.portions = run_dir_encoders(r);
    t->traffic.over_tcp = over_tcp;
    t->layout = experiment_codeword(t->e);
    t->train_samples = samples;
    t->batches = experiment_steps(t->e, samples);
    t->ordered = UINT32_MAX;
    e = make_parts(t);
    /* again once all are here: fails early */
    e = e || r->manifest.has_commit ? e : run_dir_load_pretrained(r, head_trainer_net(t->trainer));
    if (e) {
        train_loop_free(t);
        return e;
    }
    weigh_classes(t);
    if (t->have) {
        evaluator_add_incomplete(t->evaluator, a);
    }
    run_dir_log(r, r->manifest.has_commit ? "resumed" : "started",
                json_pack("{s:I}", "step", (json_int_t)r->manifest.last.position.step));
    *out = t;
    return ERR_OK;
}

void train_loop_free(train_loop *t) {
    if (t) {
        checkpointer_free(t->checkpointer);
        evaluator_free(t->evaluator);
        head_trainer_free(t->trainer);
        traffic_report_free(&t->traffic);
        free(t->order);
        free(t->batch_ids);
        free(t->batch_labels);
        free(t->batch_have);
        free(t->inputs);
        free(t->one);
        free(t);
    }
}

/* Saying where it stands. */

void train_loop_report(train_loop *t, const char *phase, const manifest_evaluation *ended) {
    double seen = t->position.seen ? (double)t->position.seen : 1.0;
    train_loop_progress p = {
        .phase = phase,
        .epoch = t->position.epoch + 1,
        .epochs = t->e->training.epochs,
        .batch = t->position.batch,
        .batches = t->batches,
        .loss = t->position.loss_sum / seen,
        .accuracy = 100.0 * (double)t->position.correct / seen,
        .samples = t->trained,
        .steps = t->steps,
        .ended = ended,
    };
    t->host.progress(t->host.context, &p);
}

train_loop_state train_loop_state_of(const train_loop *t) {
    return t->state;
}

const manifest_position *train_loop_position(const train_loop *t) {
    return &t->position;
}

traffic_report *train_loop_traffic(train_loop *t) {
    return &t->traffic;
}

float *train_loop_inputs(train_loop *t) {
    return t->inputs;
}

void train_loop_wait(train_loop *t) {
    t->state = TRAIN_LOOP_WAITING;
    t->work = NO_WORK;
}

void train_loop_go_back(train_loop *t) {
    t->work = GO_BACK;
}

void train_loop_end(train_loop *t, err outcome) {
    t->state = TRAIN_LOOP_OVER;
    t->work = NO_WORK;
    t->outcome = outcome;
    snprintf(t->outcome_text, sizeof t->outcome_text, "%s", outcome ? err_text() : "");
    t->host.over(t->host.context);
}

bool train_loop_is_over(const train_loop *t, err *outcome) {
    if (t->state != TRAIN_LOOP_OVER) {
        return false;
    }
    *outcome = t->outcome ? err_fail(t->outcome, "%s", t->outcome_text) : ERR_OK;
    return true;
}

/* Training. */

static void ask_batch(train_loop *t, const Fewbit__Batch *batch, message_type answer) {
    t->rows = batch->count;
    t->host.ask(t->host.context, MESSAGE_BATCH, &batch->base, answer);
}

static void ask_training_batch(train_loop *t) {
    if (t->ordered != t->position.epoch) {
        schedule_order(t->e, t->position.epoch, t->order, t->train_samples);
        t->ordered = t->position.epoch;
    }
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    uint32_t first = t->position.batch * t->e->training.batch_size, left = t->train_samples - first;
    batch.count = left < t->e->training.batch_size ? left : t->e->training.batch_size;
    for (uint32_t i = 0; i < batch.count; i++) {
        uint32_t id = t->order[first + i];
        byte_put_u32_le(t->batch_ids + 4 * i, id);
        t->batch_labels[i] = t->labels->values[DATASET_TRAIN][id];
        t->batch_have[i] = t->have ? t->have[id] : 0;
    }
    batch.step = t->position.step;
    batch.phase = FEWBIT__PHASE__PHASE_TRAIN;
    batch.split = FEWBIT__SPLIT__SPLIT_TRAIN;
    batch.ids = (ProtobufCBinaryData){(size_t)batch.count * 4, t->batch_ids};
    t->state = TRAIN_LOOP_TRAINING;
    ask_batch(t, &batch, MESSAGE_ACTIVATIONS);
}

static bool ends_period(const train_loop *t) {
    return schedule_evaluates_at(t->e, &t->position, t->batches) || schedule_saves_at(t->e, &t->position, t->batches);
}

/* The encoders get the next batch before the head is updated: they are at it meanwhile. */
static void train(train_loop *t) {
    double loss;
    size_t correct = 0;
    uint32_t rows = t->rows;
    head_trainer_set_number(t->trainer, t->position.step);
    const float *gradient = head_trainer_train(t->trainer, t->inputs, t->have ? t->batch_have : NULL, t->batch_labels,
                                               rows, &loss, &correct);
    err e = schedule_check_loss(&t->position, loss);
    if (e) {
        train_loop_end(t, e);
        return;
    }
    t->position.loss_sum += loss * rows;
    t->position.correct += correct;
    t->position.seen += rows;
    t->trained += rows;
    t->steps++;
    uint64_t of_step = t->position.step++;
    t->position.batch++;
    for (uint32_t k = 0; k < t->portions; k++) {
        head_trainer_take(t->trainer, k, gradient, rows, t->one);
        t->traffic.gradients[k] += (uint64_t)rows * codeword_portion_bits(&t->layout, k) * 32;
        t->host.gradient(t->host.context, k, of_step, t->one, rows);
    }
    head_trainer_update_begin(t->trainer);
    if (!ends_period(t)) {
        ask_training_batch(t);
    }
    t->work = UPDATE;
}

size_t train_loop_update_tasks(const train_loop *t) {
    return t->work == UPDATE ? head_trainer_update_tasks(t->trainer) : 0;
}

void train_loop_update_task(train_loop *t, size_t task) {
    head_trainer_update_task(t->trainer, task);
}

static void update_task(void *context, size_t task) {
    train_loop_update_task(context, task);
}

static void update(train_loop *t) {
    thread_pool_run(t->pool, update_task, t, head_trainer_update_tasks(t->trainer));
    train_loop_update_done(t);
}

/* Evaluating and saving. */

static void save(train_loop *t, bool is_best) {
    schedule_count_time(&t->position, &t->period_started_ns);
    t->state = TRAIN_LOOP_SAVING;
    checkpointer_start(t->checkpointer, &t->position, is_best);
    Fewbit__Batch batch = checkpointer_batch(t->checkpointer);
    ask_batch(t, &batch, MESSAGE_ACTIVATIONS);
    t->work = WRITE_HEAD;
}

static void end_evaluation(train_loop *t) {
    manifest_evaluation score;
    bool is_best = false;
    evaluator_score(t->evaluator, &score);
    schedule_count_time(&t->position, &t->period_started_ns);
    if (schedule_end_period(t->run, &t->position, t->batches, &score, &is_best)) {
        train_loop_end(t, ERR_MEMORY);
        return;
    }
    train_loop_report(t, "testing", &score);
    save(t, is_best);
}

static void evaluate(train_loop *t) {
    evaluator_request r;
    t->state = TRAIN_LOOP_EVALUATING;
    if (!evaluator_next(t->evaluator, t->position.step, &r)) {
        end_evaluation(t);
        return;
    }
    t->rows = evaluator_rows(t->evaluator);
    t->host.ask(t->host.context, r.type, &r.body.base, r.answer);
}

void train_loop_update_done(train_loop *t) {
    head_trainer_update_finish(t->trainer);
    t->work = NO_WORK;
    train_loop_report(t, "training", NULL);
    if (schedule_evaluates_at(t->e, &t->position, t->batches)) {
        train_loop_report(t, "testing", NULL);
        evaluator_start(t->evaluator);
        evaluate(t);
    } else if (schedule_saves_at(t->e, &t->position, t->batches)) {
        schedule_advance(&t->position, t->batches);
        save(t, false);
    }
}

static void write_head(train_loop *t) {
    checkpointer_write_head(t->checkpointer);
}

static void classify(train_loop *t) {
    evaluator_classify(t->evaluator);
    evaluate(t);
}

bool train_loop_counts_traffic(const train_loop *t, uint32_t *samples) {
    return t->state == TRAIN_LOOP_EVALUATING && evaluator_ends_counted_pass(t->evaluator, samples);
}

/* The next thing that a checkpoint needs of the encoders. */
static void save_on(train_loop *t) {
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    Fewbit__Batch batch = checkpointer_batch(t->checkpointer);
    save.step = t->position.step;
    switch (checkpointer_next(t->checkpointer)) {
    case CHECKPOINTER_SAVING:
        t->host.ask(t->host.context, MESSAGE_SAVE, &save.base, MESSAGE_SAVED);
        break;
    case CHECKPOINTER_RESTORING:
        t->host.restore(t->host.context, t->position.step, checkpointer_digests(t->checkpointer));
        break;
    case CHECKPOINTER_COMMITTING:
        t->work = COMMIT;
        break;
    default:
        ask_batch(t, &batch, MESSAGE_ACTIVATIONS);
    }
}

/* Every part that no commit names goes, here and at the nodes: those of a checkpoint that failed too, else they
 * would fill the disks that have room. */
static void prune(train_loop *t) {
    const run_dir *r = t->run;
    uint64_t keep[2] = {r->manifest.last.position.step, r->manifest.best.position.step};
    Fewbit__Committed committed = FEWBIT__COMMITTED__INIT;
    committed.n_keep = !r->manifest.has_commit ? 0 : r->manifest.has_best && keep[1] != keep[0] ? 2 : 1;
    committed.keep = keep;
    t->host.ask(t->host.context, MESSAGE_COMMITTED, &committed.base, 0);
    run_dir_prune_heads(r);
}

static err write_result(train_loop *t) {
    json_t *j = schedule_result(t->run, &t->position);
    if (t->portions > 0) {
        json_int_t raw = 0;
        json_t *portions = json_array();
        for (uint32_t k = 0; k < t->portions; k++) {
            raw += (json_int_t)(8 * portion_shape_bytes(&t->e->portions[k].shape));
            json_array_append_new(portions, json_pack("{s:s, s:i}", "name", t->e->portions[k].name, "bits",
                                                      (int)codeword_portion_bits(&t->layout, k)));
        }
        json_object_set_new(j, "portions", portions);
        json_object_set_new(j, "bits_per_sample",
                            traffic_report_bits_per_sample(&t->traffic, codeword_bits(&t->layout)));
        json_object_set_new(j, "raw_bits_per_sample", json_integer(raw));
        json_object_set_new(j, "nodes", traffic_report_nodes(&t->traffic));
    }
    err e = run_dir_write_result(t->run, j);
    json_decref(j);
    return e;
}

static void finish(train_loop *t) {
    err e = checkpointer_check(t->checkpointer);
    if (!e && (t->steps > 0 || !run_dir_has_result(t->run))) {
        e = write_result(t);
        run_dir_log(t->run, "finished", NULL);
        if (!e) {
            log_event(LOG_INFO, "training_finished", "finished: fewbit result %s shows what came out", t->run->folder);
        }
    }
    train_loop_end(t, e);
}

/* After a commit, instead of one that failed, or after going back to one. */
static void go_on(train_loop *t) {
    if (schedule_is_over(t->run, &t->position)) {
        finish(t);
    } else {
        ask_training_batch(t);
    }
}

static void commit(train_loop *t) {
    checkpointer_commit(t->checkpointer);
    prune(t);
    go_on(t);
}

/* Beginning, and going back. */

static err restore_head(train_loop *t) {
    run_dir *r = t->run;
    manifest_rewind(&r->manifest);
    if (r->manifest.has_commit) {
        t->position = r->manifest.last.position;
        return run_dir_load_head(r, &r->manifest.last, head_trainer_net(t->trainer),
                                 head_trainer_optimiser(t->trainer));
    }
    t->position = (manifest_position){0};
    head_trainer_init(t->trainer, t->e->training.seed);
    return run_dir_load_pretrained(r, head_trainer_net(t->trainer));
}

static void go_back(train_loop *t) {
    t->state = TRAIN_LOOP_WAITING;
    if (restore_head(t)) {
        train_loop_end(t, ERR_INPUT);
        return;
    }
    t->host.restore(t->host.context, t->position.step,
                    t->run->manifest.has_commit ? t->run->manifest.last.encoders : NULL);
}

static void begin(train_loop *t) {
    run_dir_log(t->run, "training", json_pack("{s:I}", "step", (json_int_t)t->position.step));
    t->period_started_ns = clock_now_ns();
    prune(t); /* a server that died after a commit has not told the nodes of it */
    go_on(t);
}

/* Work. */

void train_loop_answered(train_loop *t) {
    static const work next[] = {
        [TRAIN_LOOP_WAITING] = BEGIN, [TRAIN_LOOP_TRAINING] = TRAIN, [TRAIN_LOOP_EVALUATING] = CLASSIFY};
    if (t->state == TRAIN_LOOP_SAVING) {
        save_on(t);
    } else if (t->state != TRAIN_LOOP_OVER) {
        t->work = next[t->state];
    }
}

void train_loop_work(train_loop *t) {
    static void (*const pieces[])(train_loop *) = {
        [GO_BACK] = go_back,   [BEGIN] = begin,           [TRAIN] = train,  [UPDATE] = update,
        [CLASSIFY] = classify, [WRITE_HEAD] = write_head, [COMMIT] = commit};
    work ready = t->work;
    t->work = NO_WORK;
    if (ready != NO_WORK) {
        pieces[ready](t);
    }
}

bool train_loop_has_work(const train_loop *t) {
    return t->work != NO_WORK;
}

bool train_loop_work_is_long(const train_loop *t) {
    switch (t->work) {
    case NO_WORK:
        return false;
    case TRAIN:
    case UPDATE:
        return head_trainer_step_macs(t->trainer, t->rows) > SHORT_MACS;
    case CLASSIFY:
        return head_trainer_step_macs(t->trainer, t->rows) / 3 > SHORT_MACS;
    default:
        return true;
    }
}

/* Answers of the encoders. */

static train_loop_verdict judge(const float *soft, size_t n) {
    bool good = true, finite = true;
    for (size_t i = 0; i < n; i++) {
        good = good && soft[i] >= 0.0f && soft[i] <= 1.0f;
        finite = finite && isfinite(soft[i]);
    }
    return good ? TRAIN_LOOP_FITS : finite ? TRAIN_LOOP_DOES_NOT_FIT : TRAIN_LOOP_NO_NUMBER;
}

/* To `one`; false: not as many as there must be. An encoder that binarises in its forward pass sends bits to train. */
static bool unpack_outputs(train_loop *t, uint32_t portion, const Fewbit__Activations *a, size_t numbers) {
    if (t->state == TRAIN_LOOP_TRAINING && t->e->portions[portion].encoder.binarize == PRESET_STRAIGHT_THROUGH) {
        if (a->soft.len > 0 || a->bits.len != pack_bytes(numbers) || !pack_tail_is_clear(a->bits.data, numbers)) {
            return false;
        }
        pack_unpack_soft(a->bits.data, numbers, t->one);
        t->traffic.activations[portion] += numbers;
        return true;
    }
    if (a->bits.len > 0 || a->soft.len != numbers * sizeof(float)) {
        return false;
    }
    memcpy(t->one, a->soft.data, a->soft.len);
    t->traffic.activations[portion] += numbers * 32;
    return true;
}

static train_loop_verdict take_activations(train_loop *t, uint32_t portion, const Fewbit__Activations *a) {
    static const Fewbit__Phase phases[] = {[TRAIN_LOOP_TRAINING] = FEWBIT__PHASE__PHASE_TRAIN,
                                           [TRAIN_LOOP_EVALUATING] = FEWBIT__PHASE__PHASE_SOFT,
                                           [TRAIN_LOOP_SAVING] = FEWBIT__PHASE__PHASE_SOFT};
    size_t numbers = (size_t)t->rows * codeword_portion_bits(&t->layout, portion);
    if (a->phase != phases[t->state] || a->step != t->position.step || a->count != t->rows) {
        return TRAIN_LOOP_DOES_NOT_FIT;
    }
    if (t->state == TRAIN_LOOP_SAVING) {
        bool fits = a->bits.len == 0 && a->soft.len == numbers * sizeof(float);
        return !fits                                                               ? TRAIN_LOOP_DOES_NOT_FIT
               : checkpointer_take_outputs(t->checkpointer, portion, a->soft.data) ? TRAIN_LOOP_FITS
                                                                                   : TRAIN_LOOP_DIFFERS;
    }
    if (!unpack_outputs(t, portion, a, numbers)) {
        return TRAIN_LOOP_DOES_NOT_FIT;
    }
    train_loop_verdict v = judge(t->one, numbers);
    if (v == TRAIN_LOOP_FITS) {
        head_trainer_place(t->trainer, portion, t->one, t->rows, t->inputs);
    }
    return v;
}

train_loop_verdict train_loop_take(train_loop *t, uint32_t portion, const message *m) {
    bool fits = false;
    switch (m->type) {
    case MESSAGE_ACTIVATIONS:
        return take_activations(t, portion, m->body.activations);
    case MESSAGE_CODES:
        fits = m->body.codes->model == (uint32_t)t->position.step &&
               evaluator_take_codes(t->evaluator, portion, m->body.codes);
        break;
    case MESSAGE_REFINEMENT:
        fits = evaluator_take_refinement(t->evaluator, portion, m->body.refinement);
        break;
    case MESSAGE_SAVED:
        fits = checkpointer_take_saved(t->checkpointer, portion, m->body.saved);
        break;
    default:
        break;
    }
    return fits ? TRAIN_LOOP_FITS : TRAIN_LOOP_DOES_NOT_FIT;
}
