#include "decoder_server/train/whole.h"

#include "base/clock.h"
#include "base/thread_pool.h"
#include "data/normalize.h"
#include "data/portion.h"
#include "data/shuffle.h"
#include "decoder_server/train/head_trainer.h"
#include "decoder_server/train/progress.h"
#include "decoder_server/train/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct whole {
    run_dir *run;
    const labels *labels;
    const experiment *e;
    thread_pool *pool;
    portion *data;
    head_trainer *trainer;
    progress progress;
    manifest_position position;
    uint32_t train_samples, batches;
    uint32_t *order; /* [train_samples], of epoch `ordered` */
    uint32_t ordered;
    size_t rows;             /* of the largest batch, training or evaluating */
    float *inputs;           /* [rows, elements of a sample] */
    uint8_t *distorted;      /* one sample */
    uint8_t *batch_labels;   /* [rows] */
    uint64_t trained, steps; /* samples and steps of this process */
    uint64_t period_started_ns;
    char save_error[SCHEDULE_ERROR_MAX]; /* of the last checkpoint; empty: none */
} whole;

static err open_data(whole *w, const char *data) {
    char folder[FILE_PATH_MAX];
    err e = file_path(folder, sizeof folder, "%s/node-0", data);
    e = e ? e : portion_open(&w->data, folder);
    if (e) {
        return e;
    }
    const portion_info *info = portion_get_info(w->data);
    if (info->index != 0 || strcmp(info->digest, w->labels->portion_digests[0]) != 0) {
        return err_fail(
            ERR_INPUT,
            "%s: is not portion %u of what the labels were split from: it is portion %u with digest %.12s, not "
            "%.12s",
            folder, 0u, info->index, info->digest, w->labels->portion_digests[0]);
    }
    return ERR_OK;
}

static err allocate(whole *w) {
    w->order = malloc(w->train_samples * sizeof *w->order);
    w->inputs = malloc(w->rows * head_trainer_inputs(w->trainer) * sizeof *w->inputs);
    w->distorted = malloc(head_trainer_inputs(w->trainer));
    w->batch_labels = malloc(w->rows);
    return w->order && w->inputs && w->distorted && w->batch_labels
               ? ERR_OK
               : err_fail(ERR_MEMORY, "no memory to train on %u samples", w->train_samples);
}

static err prepare(whole *w, const char *data, uint32_t threads) {
    err e = schedule_check_labels(w->e, w->labels);
    e = e ? e : open_data(w, data);
    if (e) {
        return e;
    }
    w->train_samples = experiment_train_samples(w->e, w->labels->samples[DATASET_TRAIN]);
    w->batches = experiment_steps(w->e, w->train_samples);
    w->ordered = UINT32_MAX;
    e = schedule_check_position(w->run, w->batches);
    if (e) {
        return e;
    }
    w->rows =
        w->e->training.batch_size > SCHEDULE_EVALUATION_ROWS ? w->e->training.batch_size : SCHEDULE_EVALUATION_ROWS;
    e = thread_pool_new(&w->pool, threads, true);
    e = e ? e : head_trainer_new(&w->trainer, w->e, w->rows, w->train_samples, w->pool);
    return e ? e : allocate(w);
}

static err begin(whole *w) {
    run_dir *r = w->run;
    run_dir_log(r, r->has_commit ? "resumed" : "started",
                json_pack("{s:I}", "step", (json_int_t)r->last.position.step));
    w->period_started_ns = clock_now_ns();
    if (r->has_commit) {
        w->position = r->last.position;
        return run_dir_load_head(r, &r->last, head_trainer_net(w->trainer), head_trainer_optimiser(w->trainer));
    }
    head_trainer_init(w->trainer, w->e->training.seed);
    return run_dir_load_pretrained(r, head_trainer_net(w->trainer));
}

static void report(whole *w, const char *phase, const manifest_evaluation *ended) {
    double seen = w->position.seen ? (double)w->position.seen : 1.0;
    coordinator_progress p = {
        .phase = phase,
        .epoch = w->position.epoch + 1,
        .epochs = w->e->training.epochs,
        .batch = w->position.batch,
        .batches = w->batches,
        .loss = w->position.loss_sum / seen,
        .accuracy = schedule_percent(w->position.correct, w->position.seen),
        .samples = w->trained,
        .steps = w->steps,
        .ended = ended,
    };
    progress_show(&w->progress, &p);
}

static void load_input(whole *w, size_t row, const uint8_t *sample, uint8_t label) {
    size_t elements = head_trainer_inputs(w->trainer);
    normalize(sample, w->inputs + row * elements, elements, w->e->dataset.mean, w->e->dataset.std);
    w->batch_labels[row] = label;
}

static void load_training_sample(whole *w, size_t row, uint32_t id) {
    const uint8_t *sample = portion_sample(w->data, DATASET_TRAIN, id);
    if (augment_is_any(&w->e->augment)) {
        augment_map map = augment_draw(&w->e->augment, &w->labels->partition, w->e->training.seed,
                                       (uint32_t)w->position.step, (uint32_t)row);
        augment_portion(&w->labels->partition, 0, &map, sample, w->distorted);
        sample = w->distorted;
    }
    load_input(w, row, sample, w->labels->values[DATASET_TRAIN][id]);
}

/* Puts the batch that comes next in place; returns its rows. */
static uint32_t load_batch(whole *w) {
    if (w->ordered != w->position.epoch) {
        shuffle_epoch(w->e->training.seed, w->position.epoch, w->order, w->train_samples);
        w->ordered = w->position.epoch;
    }
    uint32_t first = w->position.batch * w->e->training.batch_size, left = w->train_samples - first;
    uint32_t rows = left < w->e->training.batch_size ? left : w->e->training.batch_size;
    for (uint32_t i = 0; i < rows; i++) {
        load_training_sample(w, i, w->order[first + i]);
    }
    return rows;
}

static void update_task(void *context, size_t task) {
    head_trainer_update_task(context, task);
}

static err train_batch(whole *w) {
    uint32_t rows = load_batch(w);
    double loss;
    size_t correct = 0;
    head_trainer_set_number(w->trainer, w->position.step);
    head_trainer_train(w->trainer, w->inputs, w->batch_labels, rows, &loss, &correct);
    err e = schedule_check_loss(&w->position, loss);
    if (e) {
        return e;
    }
    head_trainer_update_begin(w->trainer);
    thread_pool_run(w->pool, update_task, w->trainer, head_trainer_update_tasks(w->trainer));
    head_trainer_update_finish(w->trainer);
    w->position.loss_sum += loss * rows;
    w->position.correct += correct;
    w->position.seen += rows;
    w->position.step++;
    w->position.batch++;
    w->trained += rows;
    w->steps++;
    report(w, "training", NULL);
    return ERR_OK;
}

/* The accuracy on `samples` of a part, from number `first` on. */
static err test(whole *w, enum dataset_split split, uint32_t first, uint32_t samples, double *accuracy) {
    uint64_t correct = 0;
    for (uint32_t done = 0, rows; done < samples; done += rows) {
        err e = schedule_check_interrupt();
        if (e) {
            return e;
        }
        rows = samples - done < SCHEDULE_EVALUATION_ROWS ? samples - done : SCHEDULE_EVALUATION_ROWS;
        for (uint32_t i = 0; i < rows; i++) {
            load_input(w, i, portion_sample(w->data, split, first + done + i),
                       w->labels->values[split][first + done + i]);
        }
        correct += head_trainer_evaluate(w->trainer, w->inputs, w->batch_labels, rows);
    }
    *accuracy = schedule_percent(correct, samples);
    return ERR_OK;
}

static err evaluate(whole *w, bool *is_best) {
    const double none = (double)NAN;
    manifest_evaluation score = {.soft = none, .rounded = none, .soft_validation = none, .validation = none};
    report(w, "testing", NULL);
    err e = ERR_OK;
    if (w->e->dataset.evaluate_test) {
        e = test(w, DATASET_TEST, 0, w->labels->samples[DATASET_TEST], &score.soft);
    }
    if (!e && w->e->dataset.validation > 0) {
        e = test(w, DATASET_TRAIN, w->train_samples, w->e->dataset.validation, &score.validation);
    }
    schedule_count_time(&w->position, &w->period_started_ns);
    e = e ? e : schedule_end_period(w->run, &w->position, w->batches, &score, is_best);
    if (!e) {
        report(w, "testing", &score);
    }
    return e;
}

static void save(whole *w, bool is_best) {
    schedule_count_time(&w->position, &w->period_started_ns);
    manifest_commit next = {.position = w->position};
    w->save_error[0] = '\0';
    if (run_dir_save_head(w->run, w->position.step, head_trainer_net(w->trainer), head_trainer_optimiser(w->trainer),
                          next.head)) {
        snprintf(w->save_error, sizeof w->save_error, "%s", err_text());
    }
    schedule_commit(w->run, &next, is_best, w->save_error);
    run_dir_prune_heads(w->run);
}

static err train(whole *w) {
    while (!schedule_is_over(w->run, &w->position)) {
        err e = schedule_check_interrupt();
        e = e ? e : train_batch(w);
        bool is_best = false, saves = schedule_saves_at(w->e, &w->position, w->batches);
        if (!e && schedule_evaluates_at(w->e, &w->position, w->batches)) {
            e = evaluate(w, &is_best);
            saves = true;
        }
        if (e) {
            return e;
        }
        schedule_step_on(&w->position, w->batches);
        if (saves) {
            save(w, is_best);
        }
    }
    return schedule_check_saved(w->save_error);
}

static err finish(whole *w) {
    if (w->steps == 0 && run_dir_has_result(w->run)) {
        return ERR_OK;
    }
    json_t *j = schedule_result(w->run, &w->position);
    err e = run_dir_write_result(w->run, j);
    json_decref(j);
    run_dir_log(w->run, "finished", NULL);
    return e;
}

static void release(whole *w) {
    head_trainer_free(w->trainer);
    portion_close(w->data);
    thread_pool_free(w->pool);
    free(w->order);
    free(w->inputs);
    free(w->distorted);
    free(w->batch_labels);
}

err whole_run(run_dir *r, const labels *l, const char *data, uint32_t threads) {
    whole w = {.run = r, .labels = l, .e = &r->experiment};
    progress_start(&w.progress);
    err e = prepare(&w, data, threads);
    e = e ? e : begin(&w);
    e = e ? e : train(&w);
    e = e ? e : finish(&w);
    progress_end(&w.progress);
    release(&w);
    return e;
}
