#include "decoder_server/train/train.h"

#include "base/file.h"
#include "decoder_server/train/local.h"
#include "decoder_server/train/training.h"

#include <stdio.h>
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
    return experiment_check(e);
}

static err open_run(const server_options *o, const experiment *e, run *r) {
    char path[FILE_PATH_MAX];
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", o->run);
    if (failed) {
        return failed;
    }
    return o->resume && file_exists(path) ? run_open(r, o->run, e) : run_create(r, o->run, e);
}

static uint32_t threads_of(const server_options *o) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return o->threads > 0 ? (uint32_t)o->threads : cores > 1 ? 2 : 1;
}

static err train_run(const server_options *o, run *r, const labels *l) {
    if (o->local) {
        return local_run(r, l, o->data, threads_of(o));
    }
    training_config config = {
        .run = r,
        .labels = l,
        .host = o->host,
        .port = o->port,
        .announce = o->announce,
        .heartbeat_ms = (uint32_t)o->heartbeat_ms,
        .threads = threads_of(o),
    };
    return training_run(&config);
}

err train_command(const server_options *o) {
    experiment e;
    labels l;
    run r;
    err failed = load_experiment(o, &e);
    failed = failed ? failed : labels_open(&l, o->labels);
    if (failed) {
        return failed;
    }
    failed = open_run(o, &e, &r);
    if (!failed) {
        failed = train_run(o, &r, &l);
        run_close(&r);
    }
    labels_close(&l);
    return failed;
}
