#include "decoder_server/train/schedule.h"

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/rng.h"
#include "decoder_server/train/class_weights.h"
#include "experiment/derive.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of a data set that was cut the labels know how. */
static err check_partition(const experiment *e, const labels *l) {
    partition s;
    uint32_t classes;
    err failed = experiment_partition(e, &s, &classes);
    if (failed) {
        return failed;
    }
    const partition *of = &l->partition;
    if (strcmp(l->dataset, e->dataset.name) == 0 && memcmp(&s, of, sizeof s) == 0 && classes == l->classes.count) {
        return ERR_OK;
    }
    if (!l->has_partition) {
        return err_fail(ERR_INPUT,
                        "the experiment wants %s in %u %s, the labels are of owners' own portions: list these under "
                        "portions in place of dataset.partition",
                        e->dataset.name, s.portions, partition_name(s.kind));
    }
    return err_fail(ERR_INPUT,
                    "the experiment wants %s (%u classes of %ux%ux%u) in %u %s, the labels are of %s (%u classes of "
                    "%ux%ux%u) in %u %s",
                    e->dataset.name, classes, s.channels, s.height, s.width, s.portions, partition_name(s.kind),
                    l->dataset, l->classes.count, of->channels, of->height, of->width, of->portions,
                    partition_name(of->kind));
}

/* What listed portions need of the data, which an experiment with a partition says itself. */
static err check_listed(const experiment *e, const labels *l) {
    if (strcmp(l->dataset, e->dataset.name) != 0) {
        return err_fail(ERR_INPUT, "the experiment wants %s, the labels are of %s", e->dataset.name, l->dataset);
    }
    bool needs_validation =
        !e->dataset.evaluate_test || e->training.keep_best || e->training.early_stopping_patience > 0;
    return !needs_validation || e->dataset.validation > 0
               ? ERR_OK
               : err_fail(ERR_INPUT, "dataset.evaluate_test false, training.keep_best and "
                                     "training.early_stopping_patience need samples that are held back: neither the "
                                     "labels nor dataset.validation say any");
}

err schedule_check_labels(const experiment *e, const labels *l) {
    err failed = experiment_lists_portions(e) ? check_listed(e, l) : check_partition(e, l);
    failed = failed ? failed : class_weights_check(e, l->classes.count);
    if (failed) {
        return failed;
    }
    if (l->samples[DATASET_TRAIN] <= e->dataset.validation || l->samples[DATASET_TEST] == 0) {
        return err_fail(ERR_INPUT, "%u training samples less %u for validation, %u test samples: too few",
                        l->samples[DATASET_TRAIN], e->dataset.validation, l->samples[DATASET_TEST]);
    }
    if (experiment_norms_rows(e) && l->samples[DATASET_TRAIN] - e->dataset.validation == 1) {
        return err_fail(ERR_INPUT, "one training sample is too few for batch norm");
    }
    return ERR_OK;
}

err schedule_check_position(const run_dir *r, uint32_t batches) {
    const manifest_position *p = &r->manifest.last.position;
    uint32_t epochs = r->experiment.training.epochs;
    bool is_end = p->epoch == epochs && p->batch == 0 && p->evaluations > 0; /* the last epoch ends with one */
    if (!r->manifest.has_commit || is_end || (p->epoch < epochs && p->batch < batches)) {
        return ERR_OK;
    }
    return err_fail(ERR_INPUT, "%s/manifest.json: stands at batch %u of epoch %u, the run has %u epochs of %u batches",
                    r->folder, p->batch, p->epoch, epochs, batches);
}

void schedule_order(const experiment *e, uint32_t epoch, uint32_t *ids, size_t samples) {
    for (size_t i = 0; i < samples; i++) {
        ids[i] = (uint32_t)i;
    }
    rng draws = rng_at(e->training.seed, rng_stream(RNG_BATCH_ORDER, 0), epoch);
    rng_shuffle(&draws, ids, samples);
}

bool schedule_saves_at(const experiment *e, const manifest_position *position, uint32_t batches) {
    uint32_t every = e->training.checkpoint_every;
    return position->batch == batches || (every > 0 && position->step % every == 0);
}

bool schedule_evaluates_at(const experiment *e, const manifest_position *position, uint32_t batches) {
    uint32_t every = e->training.evaluate_every, epochs = e->training.evaluate_epochs, ended = position->epoch + 1;
    bool is_due = epochs == 0 || ended % epochs == 0 || ended == e->training.epochs;
    return (position->batch == batches && is_due) || (every > 0 && position->batch % every == 0);
}

void schedule_count_time(manifest_position *position, uint64_t *since_ns) {
    uint64_t now_ns = clock_now_ns();
    position->seconds += (double)(now_ns - *since_ns) * 1e-9;
    *since_ns = now_ns;
}

void schedule_advance(manifest_position *position, uint32_t batches) {
    if (position->batch == batches) {
        *position = (manifest_position){.step = position->step,
                                        .epoch = position->epoch + 1,
                                        .evaluations = position->evaluations,
                                        .seconds = position->seconds};
    }
}

const char *schedule_advice(const manifest_position *position) {
    return position->step > 0 ? "a lower learning rate may keep it finite"
                              : "nothing is learned yet, so look at dataset.mean, dataset.std and classifier.weights";
}

err schedule_check_loss(const manifest_position *position, double loss) {
    return isfinite(loss) ? ERR_OK
                          : err_fail(ERR_INPUT, "the loss is %f at step %" PRIu64 ": %s", loss, position->step,
                                     schedule_advice(position));
}

double schedule_percent(uint64_t correct, uint64_t samples) {
    return samples ? 100.0 * (double)correct / (double)samples : 0.0;
}

/* Whether the last evaluation beats the one whose checkpoint is kept: one whose commit failed has none. */
static bool last_is_best(const run_dir *r) {
    const manifest_evaluation *last = &r->manifest.evaluations[r->manifest.evaluation_count - 1];
    return !r->manifest.has_best || last->validation > r->manifest.evaluations[r->manifest.best_evaluation].validation;
}

/* An evaluation among others, as the log and the history tell it: without the metrics by class. */
static json_t *one_of_many_json(const manifest_evaluation *e) {
    json_t *j = manifest_evaluation_json(e);
    json_object_del(j, "metrics");
    return j;
}

/* The figures that stand for the whole run; the metrics of each split stand beside them. */
static json_t *final_json(const run_dir *r) {
    json_t *j = manifest_evaluation_json(manifest_final(&r->manifest));
    json_object_update_missing(j, json_object_get(j, "metrics"));
    json_object_del(j, "metrics");
    json_object_del(j, "loss");
    json_object_del(j, "seconds");
    json_object_del(j, "encoders");
    return j;
}

err schedule_end_period(run_dir *r, manifest_position *position, uint32_t batches, manifest_evaluation *score,
                        bool *is_best) {
    score->epoch = position->epoch + (double)position->batch / batches;
    score->loss = position->loss_sum / (double)position->seen;
    score->train = schedule_percent(position->correct, position->seen);
    score->seconds = position->seconds;
    json_t *event = one_of_many_json(score);
    json_object_set_new(event, "step", json_integer((json_int_t)position->step));
    err e = manifest_add(&r->manifest, score);
    run_dir_log(r, "evaluated", event);
    if (e) {
        return e;
    }
    *is_best = r->experiment.training.keep_best && last_is_best(r);
    *position = (manifest_position){.step = position->step,
                                    .epoch = position->epoch,
                                    .batch = position->batch,
                                    .evaluations = position->evaluations + 1};
    schedule_advance(position, batches);
    return ERR_OK;
}

void schedule_commit(run_dir *r, const manifest_commit *next, bool is_best, char error[SCHEDULE_ERROR_MAX]) {
    if (!error[0] && run_dir_commit(r, next, is_best)) {
        snprintf(error, SCHEDULE_ERROR_MAX, "%s", err_text());
    }
    json_int_t step = (json_int_t)next->position.step;
    if (error[0]) {
        log_event(LOG_ERROR, "checkpoint_failed",
                  "checkpoint %" PRIu64 " failed, the one of step %" PRIu64 " stands: %s", next->position.step,
                  r->manifest.has_commit ? r->manifest.last.position.step : 0, error);
        run_dir_log(r, "commit failed", json_pack("{s:I, s:s}", "step", step, "error", error));
    } else {
        run_dir_log(r, "committed", json_pack("{s:I}", "step", step));
    }
}

static bool stops_early(const run_dir *r) {
    uint32_t patience = r->experiment.training.early_stopping_patience, count = r->manifest.evaluation_count;
    if (patience == 0 || count <= patience) {
        return false;
    }
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++) {
        best = r->manifest.evaluations[i].validation > r->manifest.evaluations[best].validation ? i : best;
    }
    return count - 1 - best >= patience;
}

bool schedule_is_over(const run_dir *r, const manifest_position *position) {
    return position->epoch >= r->experiment.training.epochs || (position->seen == 0 && stops_early(r));
}

json_t *schedule_result(const run_dir *r, const manifest_position *position) {
    double seconds = 0;
    json_t *history = json_array();
    for (uint32_t i = 0; i < r->manifest.evaluation_count; i++) {
        seconds += r->manifest.evaluations[i].seconds;
        json_array_append_new(history, one_of_many_json(&r->manifest.evaluations[i]));
    }
    char id[20];
    snprintf(id, sizeof id, "%016" PRIx64, r->id);
    json_t *alignment = r->identity.alignment.is_known ? run_identity_pack_alignment(&r->identity) : NULL;
    return json_pack("{s:s, s:s, s:o, s:i, s:f, s:f, s:I, s:o, s:o*}", "experiment", r->experiment.name, "run", id,
                     "final", final_json(r), "epochs", (int)position->epoch, "seconds", seconds, "seconds_per_epoch",
                     position->epoch ? seconds / position->epoch : seconds, "steps", (json_int_t)position->step,
                     "history", history, "alignment", alignment);
}

err schedule_check_interrupt(void) {
    return interrupt_asked() ? err_fail(ERR_STOPPED, "stopped by a signal; --resume goes on from the last checkpoint")
                             : ERR_OK;
}
