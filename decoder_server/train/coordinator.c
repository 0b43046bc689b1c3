#include "decoder_server/train/coordinator.h"

#include "base/byte_reader.h"
#include "base/clock.h"
#include "base/log_limit.h"
#include "bits/pack.h"
#include "data/shuffle.h"
#include "decoder_server/train/coordinator_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory. */

static err allocate(coordinator *c) {
    size_t rows =
        c->e->training.batch_size > SCHEDULE_EVALUATION_ROWS ? c->e->training.batch_size : SCHEDULE_EVALUATION_ROWS;
    c->order = malloc(c->train_samples * sizeof *c->order);
    c->batch_ids = malloc((size_t)c->e->training.batch_size * 4);
    c->batch_labels = malloc(c->e->training.batch_size);
    c->soft = calloc(rows * c->portions * c->bits, sizeof *c->soft);
    c->one = calloc(rows * c->bits, sizeof *c->one);
    c->proof = calloc((size_t)c->portions * PROOF_ROWS * c->bits, sizeof *c->proof);
    if (!c->proof || !c->order || !c->batch_ids || !c->batch_labels || !c->soft || !c->one) {
        return err_fail(ERR_MEMORY, "no memory for a coordinator of %u samples", c->train_samples);
    }
    return ERR_OK;
}

err coordinator_new(coordinator **out, run_dir *r, const labels *l, thread_pool *pool, bool over_tcp,
                    const coordinator_host *host) {
    err e = schedule_check_labels(&r->experiment, l);
    uint32_t samples = experiment_train_samples(&r->experiment, l->samples[DATASET_TRAIN]);
    e = e ? e : schedule_check_position(r, experiment_steps(&r->experiment, samples));
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
    c->portions = c->e->dataset.portions;
    c->bits = c->e->encoder.bits;
    c->train_samples = samples;
    c->batches = experiment_steps(c->e, c->train_samples);
    c->ordered = UINT32_MAX;
    c->traffic.portions = c->portions;
    c->traffic.over_tcp = over_tcp;
    e = traffic_report_init(&c->traffic, c->bits);
    e = e ? e : head_trainer_new(&c->trainer, c->e, SCHEDULE_EVALUATION_ROWS, c->train_samples, pool);
    e = e ? e : refinement_eval_new(&c->refinement, c->e, c->trainer);
    e = e ? e : allocate(c);
    e = e || r->has_commit
            ? e
            : run_dir_load_pretrained(r, head_trainer_net(c->trainer)); /* again once all are here: fails early */
    if (e) {
        coordinator_free(c);
        return e;
    }
    run_dir_log(r, r->has_commit ? "resumed" : "started",
                json_pack("{s:I}", "step", (json_int_t)r->last.position.step));
    *out = c;
    return ERR_OK;
}

void coordinator_free(coordinator *c) {
    if (!c) {
        return;
    }
    refinement_eval_free(c->refinement);
    head_trainer_free(c->trainer);
    traffic_report_free(&c->traffic);
    free(c->order);
    free(c->batch_ids);
    free(c->batch_labels);
    free(c->soft);
    free(c->one);
    free(c->proof);
    free(c);
}

/* Talking to the nodes. */

static void forget_owed(coordinator *c) {
    for (uint32_t k = 0; k < c->portions; k++) {
        pending_replies_forget(&c->pending, k);
    }
}

void coordinator_send_to_all(coordinator *c, message_type type, const ProtobufCMessage *body) {
    for (uint32_t k = 0; k < c->portions; k++) {
        c->host.send(c->host.context, k, type, body);
    }
}

void coordinator_await_answers(coordinator *c, message_type answer) {
    c->awaited = answer;
    for (uint32_t k = 0; k < c->portions; k++) {
        c->members[k].has_answered = c->members[k].sent_no_numbers = false;
        if (answer != MESSAGE_PING) {
            pending_replies_begin(&c->pending, k, answer);
        }
    }
}

bool coordinator_is_last_answer(coordinator *c, uint32_t k) {
    c->members[k].has_answered = true;
    if (c->awaited != MESSAGE_PING) {
        pending_replies_answered(&c->pending, k, c->awaited, false);
    }
    for (uint32_t i = 0; i < c->portions; i++) {
        if (!c->members[i].has_answered) {
            return false;
        }
    }
    return true;
}

void coordinator_report(coordinator *c, const char *phase, const manifest_evaluation *ended) {
    double seen = c->position.seen ? (double)c->position.seen : 1.0;
    coordinator_progress p = {
        .phase = phase,
        .epoch = c->position.epoch + 1,
        .epochs = c->e->training.epochs,
        .batch = c->position.batch,
        .batches = c->batches,
        .loss = c->position.loss_sum / seen,
        .accuracy = 100.0 * (double)c->position.correct / seen,
        .samples = c->trained,
        .steps = c->steps,
        .ended = ended,
    };
    c->host.progress(c->host.context, &p);
}

void coordinator_end(coordinator *c, err outcome, const char *text) {
    c->state = OVER;
    c->outcome = outcome;
    forget_owed(c);
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
    run_dir_rewind(c->run);
    c->next_is_best = false;
    if (!c->run->has_commit) {
        c->position = (manifest_position){0};
        head_trainer_init(c->trainer, c->e->training.seed);
        return run_dir_load_pretrained(c->run, head_trainer_net(c->trainer));
    }
    c->position = c->run->last.position;
    return run_dir_load_head(c->run, &c->run->last, head_trainer_net(c->trainer), head_trainer_optimiser(c->trainer));
}

void coordinator_restore(coordinator *c, uint32_t k, uint64_t step, const uint8_t *digest) {
    Fewbit__Restore restore = FEWBIT__RESTORE__INIT;
    restore.step = step;
    restore.fresh = !digest;
    if (digest) {
        restore.digest = (ProtobufCBinaryData){SHA256_BYTES, (uint8_t *)(uintptr_t)digest};
    }
    c->members[k].restores++;
    c->host.send(c->host.context, k, MESSAGE_RESTORE, &restore.base);
}

static void restore_everybody(coordinator *c) {
    if (restore_head(c)) {
        coordinator_end(c, ERR_INPUT, err_text());
        return;
    }
    for (uint32_t k = 0; k < c->portions; k++) {
        coordinator_restore(c, k, c->position.step, c->run->has_commit ? c->run->last.encoders[k] : NULL);
    }
    forget_owed(c);
    coordinator_await_answers(c, MESSAGE_READY);
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
    snprintf(c->traffic.names[portion], sizeof c->traffic.names[portion], "%s", name);
    c->members[portion] = (coordinator_member){.is_here = true};
    if (c->state == OVER) {
        c->host.drop(c->host.context, portion, FEWBIT__REASON__REASON_OVER, "the training is over");
        return;
    }
    log_limited(LOG_INFO, "node_joined", portion + 1, "portion %u joined: %s", portion, name);
    if (all_here(c)) {
        restore_everybody(c);
    } else {
        coordinator_report(c, "waiting for nodes", NULL);
    }
}

void coordinator_left(coordinator *c, uint32_t portion) {
    c->members[portion] = (coordinator_member){0};
    if (c->state == OVER) {
        return;
    }
    log_limited(LOG_WARN, "node_lost", portion + 1,
                "portion %u (%s) is lost at step %" PRIu64 "; going back to step %" PRIu64 " once it is here again",
                portion, c->traffic.names[portion], c->position.step,
                c->run->has_commit ? c->run->last.position.step : 0);
    if (log_limit_allows(portion + 1, "lost")) {
        run_dir_log(c->run, "lost",
                    json_pack("{s:i, s:I}", "portion", (int)portion, "step", (json_int_t)c->position.step));
    }
    c->state = GATHERING;
    forget_owed(c);
    coordinator_report(c, "waiting for nodes", NULL);
}

/* Training. */

static void send_batch(coordinator *c) {
    if (c->ordered != c->position.epoch) {
        shuffle_epoch(c->e->training.seed, c->position.epoch, c->order, c->train_samples);
        c->ordered = c->position.epoch;
    }
    uint32_t first = c->position.batch * c->e->training.batch_size;
    uint32_t left = c->train_samples - first;
    c->rows = left < c->e->training.batch_size ? left : c->e->training.batch_size;
    for (uint32_t i = 0; i < c->rows; i++) {
        uint32_t id = c->order[first + i];
        byte_put_u32_le(c->batch_ids + 4 * i, id);
        c->batch_labels[i] = c->labels->values[DATASET_TRAIN][id];
    }
    Fewbit__Batch batch = FEWBIT__BATCH__INIT;
    batch.step = c->position.step;
    batch.phase = FEWBIT__PHASE__PHASE_TRAIN;
    batch.split = FEWBIT__SPLIT__SPLIT_TRAIN;
    batch.count = c->rows;
    batch.ids = (ProtobufCBinaryData){(size_t)c->rows * 4, c->batch_ids};
    coordinator_await_answers(c, MESSAGE_ACTIVATIONS);
    c->state = TRAINING;
    coordinator_send_to_all(c, MESSAGE_BATCH, &batch.base);
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
        c->traffic.gradients[k] += (uint64_t)rows * c->bits * 32;
        c->host.send(c->host.context, k, MESSAGE_GRADIENTS, &g.base);
    }
}

/* All activations of a batch are here. */
static void train_on_batch(coordinator *c) {
    double loss;
    size_t correct = 0;
    uint32_t rows = c->rows;
    head_trainer_set_number(c->trainer, c->position.step);
    const float *gradient = head_trainer_train(c->trainer, c->soft, c->batch_labels, rows, &loss, &correct);
    err e = schedule_check_loss(&c->position, loss);
    if (e) {
        coordinator_end(c, e, err_text());
        return;
    }
    c->position.loss_sum += loss * rows;
    c->position.correct += correct;
    c->position.seen += rows;
    c->trained += rows;
    c->steps++;
    uint64_t of_step = c->position.step++;
    c->position.batch++;
    send_gradients(c, of_step, rows, gradient);
    head_trainer_update_begin(c->trainer);
    if (!schedule_evaluates_at(c->e, &c->position, c->batches) && !schedule_saves_at(c->e, &c->position, c->batches)) {
        send_batch(c);
    }
    c->state = UPDATING;
}

uint64_t coordinator_payload_bits(const coordinator *c, uint32_t portion, traffic_direction d) {
    const traffic_report *l = &c->traffic;
    return d == TRAFFIC_OUT ? l->gradients[portion] : l->coded[portion] + l->activations[portion];
}

size_t coordinator_work_tasks(const coordinator *c) {
    return c->state == UPDATING ? head_trainer_update_tasks(c->trainer) : 0;
}

void coordinator_work_task(coordinator *c, size_t task) {
    head_trainer_update_task(c->trainer, task);
}

void coordinator_work_done(coordinator *c) {
    head_trainer_update_finish(c->trainer);
    c->state = TRAINING;
    coordinator_report(c, "training", NULL);
    if (schedule_evaluates_at(c->e, &c->position, c->batches)) {
        evaluator_start(c);
    } else if (schedule_saves_at(c->e, &c->position, c->batches)) {
        schedule_step_on(&c->position, c->batches);
        checkpointer_start(c);
    }
}

/* Answers of the nodes. */

void coordinator_drop_for_protocol(coordinator *c, uint32_t k, const char *text) {
    log_limited(LOG_WARN, "node_dropped", k + 1, "portion %u (%s): %s", k, c->traffic.names[k], text);
    c->host.drop(c->host.context, k, FEWBIT__REASON__REASON_PROTOCOL, text);
}

void coordinator_place(coordinator *c, uint32_t k, const float *from) {
    size_t width = (size_t)c->portions * c->bits;
    for (uint32_t row = 0; row < c->rows; row++) {
        memcpy(c->soft + row * width + k * c->bits, from + row * c->bits, c->bits * sizeof(float));
    }
}

typedef enum fit { FITS, DOES_NOT_FIT, IS_NO_NUMBER } fit;

static fit fit_in_unit(const float *soft, size_t n) {
    bool good = true, finite = true;
    for (size_t i = 0; i < n; i++) {
        good = good && soft[i] >= 0.0f && soft[i] <= 1.0f;
        finite = finite && isfinite(soft[i]);
    }
    return good ? FITS : finite ? DOES_NOT_FIT : IS_NO_NUMBER;
}

/* `as_bits`: the encoder decides in its forward pass. */
static fit take_activations(coordinator *c, uint32_t k, const Fewbit__Activations *a, bool as_bits) {
    size_t numbers = (size_t)c->rows * c->bits;
    if (a->count != c->rows || c->members[k].has_answered) {
        return DOES_NOT_FIT;
    }
    if (as_bits) {
        if (a->soft.len > 0 || a->bits.len != pack_bytes(numbers) || !pack_tail_is_clear(a->bits.data, numbers)) {
            return DOES_NOT_FIT;
        }
        pack_unpack_soft(a->bits.data, numbers, c->one);
        c->traffic.activations[k] += numbers;
    } else {
        if (a->bits.len > 0 || a->soft.len != numbers * sizeof(float)) {
            return DOES_NOT_FIT;
        }
        memcpy(c->one, a->soft.data, a->soft.len);
        c->traffic.activations[k] += numbers * 32;
    }
    fit f = fit_in_unit(c->one, numbers);
    if (f == FITS) {
        coordinator_place(c, k, c->one);
    }
    return f;
}

static void end_for_no_numbers(coordinator *c, uint32_t k) {
    err_fail(ERR_INPUT, "portion %u's outputs are no numbers at step %" PRIu64 ": %s, or its node (%s) is broken", k,
             c->position.step, schedule_advice(&c->position), c->traffic.names[k]);
    coordinator_end(c, ERR_INPUT, err_text());
}

/* All have answered, some with what is no number. The first time their nodes go, and everybody goes back: they may
 * have been broken. An encoder that diverged says the same again before the next commit. */
static void take_no_numbers(coordinator *c) {
    for (uint32_t k = 0; k < c->portions; k++) {
        if (c->members[k].sent_no_numbers && (!c->traffic.over_tcp || c->has_sent_no_numbers[k])) {
            end_for_no_numbers(c, k);
            return;
        }
    }
    for (uint32_t k = 0; k < c->portions; k++) {
        if (c->members[k].sent_no_numbers) {
            c->has_sent_no_numbers[k] = true;
            coordinator_drop_for_protocol(c, k, "sent activations that are no numbers");
        }
    }
}

static bool some_sent_no_numbers(const coordinator *c) {
    uint32_t k = 0;
    while (k < c->portions && !c->members[k].sent_no_numbers) {
        k++;
    }
    return k < c->portions;
}

static void on_activations(coordinator *c, uint32_t k, const Fewbit__Activations *a) {
    if (c->state == SAVING) {
        checkpointer_take_outputs(c, k, a);
        return;
    }
    bool trains = c->state == TRAINING && a->phase == FEWBIT__PHASE__PHASE_TRAIN;
    bool tests = c->state == EVALUATING && stage_is_soft(c->stage) && a->phase == FEWBIT__PHASE__PHASE_SOFT;
    bool is_asked = (trains || tests) && a->step == c->position.step;
    bool as_bits = trains && c->e->encoder.binarize == PRESET_STRAIGHT_THROUGH;
    fit f = is_asked ? take_activations(c, k, a, as_bits) : DOES_NOT_FIT;
    if (f == DOES_NOT_FIT) {
        coordinator_drop_for_protocol(c, k, "sent activations that were not asked for or do not fit");
        return;
    }
    c->members[k].sent_no_numbers = f == IS_NO_NUMBER;
    if (!coordinator_is_last_answer(c, k)) {
        return;
    }
    if (some_sent_no_numbers(c)) {
        take_no_numbers(c);
    } else if (trains) {
        train_on_batch(c);
    } else {
        evaluator_on(c);
    }
}

static void on_ready(coordinator *c, uint32_t k, const Fewbit__Ready *r) {
    coordinator_member *m = &c->members[k];
    if (m->restores == 0 || (m->restores == 1 && r->step != c->position.step)) {
        coordinator_drop_for_protocol(c, k, "says it is ready for a step nobody asked for");
        return;
    }
    m->restores--;
    if (m->restores == 0 && c->state == SAVING) {
        checkpointer_take_ready(c, k);
    } else if (m->restores == 0 && c->state == GATHERING && coordinator_is_last_answer(c, k)) {
        run_dir_log(c->run, "training", json_pack("{s:I}", "step", (json_int_t)c->position.step));
        c->period_started_ns = clock_now_ns();
        checkpointer_prune(c); /* a server that died behind a commit has not told the nodes of it */
        coordinator_go_on(c);
    }
}

void coordinator_go_on(coordinator *c) {
    if (schedule_is_over(c->run, &c->position)) {
        checkpointer_finish(c);
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
    if (c->state == GATHERING || c->members[portion].restores > 0) {
        return; /* from before the restore */
    }
    switch (m->type) {
    case MESSAGE_ACTIVATIONS:
        on_activations(c, portion, m->body.activations);
        break;
    case MESSAGE_CODES:
        evaluator_take_codes(c, portion, m->body.codes);
        break;
    case MESSAGE_REFINEMENT:
        evaluation_take_refinement(c, portion, m->body.refinement);
        break;
    case MESSAGE_SAVED:
        checkpointer_take_saved(c, portion, m->body.saved);
        break;
    default:
        coordinator_drop_for_protocol(c, portion, "sent a message that only the server sends");
    }
}

/* Time. */

void coordinator_set_answer_timeout(coordinator *c, uint64_t ns) {
    c->answer_timeout_ns = ns;
}

int64_t coordinator_poll(coordinator *c, uint64_t now_ns) {
    pending_replies_read_clock(&c->pending, now_ns);
    for (uint32_t k = 0; k < c->portions && c->answer_timeout_ns > 0; k++) {
        message_type answer;
        uint64_t owed_ns;
        if (!pending_replies_for_ns(&c->pending, k, &owed_ns, &answer) || owed_ns < c->answer_timeout_ns) {
            continue;
        }
        char text[128];
        snprintf(text, sizeof text, "its %s has not come within %.3g s (--answer-timeout)",
                 message_name((uint8_t)answer), (double)c->answer_timeout_ns * 1e-9);
        c->pending.nodes[k].timeouts++;
        pending_replies_forget(&c->pending, k);
        coordinator_drop_for_protocol(c, k, text);
    }
    return pending_replies_rests(&c->pending, c->portions) ? -1 : PENDING_REPLIES_TURN_NS / 1000;
}

const struct pending_replies *coordinator_pending_replies(const coordinator *c) {
    return &c->pending;
}

bool coordinator_is_over(const coordinator *c, err *outcome) {
    if (c->state != OVER) {
        return false;
    }
    *outcome = c->outcome ? err_fail(c->outcome, "%s", c->outcome_text) : ERR_OK;
    return true;
}
