#include "decoder_server/train/train.h"

#include "base/log.h"
#include "decoder_server/train/schedule.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/validate.h"
#include "nn/blas.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static err load_experiment(const server_options *o, experiment *e) {
    err failed = experiment_load(o->experiment, e);
    if (failed) {
        return failed;
    }
    if (o->epochs > 0) {
        e->training.epochs = (uint32_t)o->epochs;
    }
    if (o->seed >= 0) {
        e->training.seed = (uint64_t)o->seed;
    }
    if (o->precision >= 0) {
        e->training.precision = (nn_precision)o->precision;
    }
    return experiment_validate(e, NULL);
}

/* The classifier's weights, where the experiment names any: a file, or the head's file of a run's folder. */
static err find_pretrained(const server_options *o, const experiment *e, pretrained *w) {
    char named[FILE_PATH_MAX], head[FILE_PATH_MAX];
    *w = (pretrained){0};
    if (!e->classifier.weights[0]) {
        return ERR_OK;
    }
    err failed = experiment_weights_path(e, o->experiment, named, sizeof named);
    struct stat status;
    bool is_run = !failed && stat(named, &status) == 0 && S_ISDIR(status.st_mode);
    if (is_run) {
        failed = run_dir_find_head(named, head);
    }
    failed = failed ? failed : pretrained_open(w, is_run ? head : named);
    return err_prefix(failed, "classifier.weights");
}

/* A run that has a checkpoint goes on without the file it began with. */
static err resume_run(const server_options *o, const experiment *e, const labels *l, run_dir *r) {
    pretrained w;
    err failed = run_dir_open(r, o->run);
    if (failed) {
        return failed;
    }
    failed = run_dir_check(r, e, l);
    failed = failed ? failed : find_pretrained(o, e, &w);
    if (failed == ERR_NOT_FOUND && r->manifest.has_commit) {
        return ERR_OK;
    }
    failed = failed || !w.file[0] ? failed : run_dir_take_pretrained(r, &w);
    if (failed) {
        run_dir_close(r);
    }
    return failed;
}

/* *lock: the folder is this process's, to be closed after the run. *is_new: the run has just been made. */
static err open_run(const server_options *o, const experiment *e, const labels *l, run_dir *r, int *lock,
                    bool *is_new) {
    char path[FILE_PATH_MAX];
    pretrained w;
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", o->run);
    if (failed) {
        return failed;
    }
    if (o->resume && file_exists(path)) {
        failed = file_lock(o->run, lock);
        return failed ? failed : resume_run(o, e, l, r);
    }
    *is_new = true;
    failed = find_pretrained(o, e, &w);
    failed = failed ? failed : file_make_folders(o->run);
    failed = failed ? failed : file_lock(o->run, lock);
    return failed ? failed : run_dir_create(r, o->run, e, l, &w);
}

static uint32_t threads_of(const server_options *o) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return o->threads > 0 ? (uint32_t)o->threads : cores > 1 ? 2 : 1;
}

/* Nothing is left to do for a run that is committed to its end and has its results. */
static bool is_finished(const run_dir *r) {
    return r->manifest.has_commit && schedule_is_over(r, &r->manifest.last.position) && run_dir_has_result(r);
}

/* The data does not fit, and nothing is trained yet: the folder is free for another try. */
static bool is_in_vain(const run_dir *r, const labels *l, err failed, bool has_data) {
    bool is_aligning = l->ids && !r->identity.alignment.is_known;
    return !has_data || (failed == ERR_INPUT && is_aligning);
}

/* *has_data: with --local, the portions are there and fit. */
static err train_run(const server_options *o, run_dir *r, const labels *l, bool *has_data) {
    *has_data = true;
    if (o->serve_after && is_finished(r)) {
        return ERR_OK; /* without waiting for every node: serving does not either */
    }
    if (experiment_is_classifier_alone(&r->experiment)) {
        return train_alone_run(r, l, o->data, threads_of(o));
    }
    if (o->local) {
        train_inproc_options how = {o->data, threads_of(o), o->coding};
        return train_inproc_run(r, l, &how, has_data);
    }
    if (o->coding != FEWBIT__CODING__CODING_PACKED) {
        log_event(LOG_WARN, "option_ignored", "--coding is for --local: over the network every node has its own");
    }
    return train_tcp_run(o, r, l, threads_of(o));
}

err train_command(const server_options *o) {
    experiment e;
    labels l;
    run_dir r;
    err failed = load_experiment(o, &e);
    if (!failed && experiment_is_classifier_alone(&e) && !o->local) {
        return err_fail(ERR_USAGE, "a classifier alone has no nodes: train it with --local --data DIR");
    }
    failed = failed ? failed : blas_begin(threads_of(o));
    failed = failed ? failed : labels_open(&l, o->labels);
    if (failed) {
        return failed;
    }
    int lock = -1;
    bool is_new = false;
    experiment_hold_back(&e, &l);
    failed = schedule_check_labels(&e, &l); /* before anything is made */
    failed = failed ? failed : open_run(o, &e, &l, &r, &lock, &is_new);
    if (!failed) {
        bool has_data;
        failed = train_run(o, &r, &l, &has_data);
        if (is_new && is_in_vain(&r, &l, failed, has_data)) {
            run_dir_discard(&r);
        }
        run_dir_close(&r);
    }
    if (lock >= 0) {
        close(lock);
    }
    labels_close(&l);
    return failed;
}
