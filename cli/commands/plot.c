#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/plot/plot_script.h"
#include "cli/plot/rate_accuracy.h"
#include "experiment/load.h"

#include <string.h>

enum { RECORD_MAX = 64 << 20 };

typedef struct plot_options {
    const char *to, *experiments;
    bool rate_accuracy;
} plot_options;

static const options_entry entries[] = {
    {OPTIONS_TEXT(plot_options, to, "to", "DIR",
                  "folder for the SVG files (default RUN/plots, or the first SWEEP); made when missing")},
    {OPTIONS_FLAG(plot_options, rate_accuracy, "rate-accuracy",
                  "draw sweeps: rate-accuracy.svg, accuracy against bits a sample")},
    {OPTIONS_TEXT(plot_options, experiments, "experiments", "DIR",
                  "with --rate-accuracy: folder of experiments with the paper's figures"),
     .preset = "experiments/paper"},
    {0},
};

static const options_command command = {
    .arguments = "RUN\n--rate-accuracy SWEEP...",
    .least = 1,
    .most = RATE_ACCURACY_SWEEPS_MAX,
    .summary =
        "Draws a run with gnuplot, from its result or, while it is going on, from its last checkpoint:\n"
        "accuracy.svg, loss.svg, confusion.svg (what the samples of each class are taken for), reliability.svg (how "
        "often answers of each confidence are right), and of the encoders' soft outputs on the test set distance.svg "
        "(how far they are from "
        "bits) and encoder-K.svg (where they lie, and how often each bit is 1).\n\n"
        "With --rate-accuracy it draws what `fewbit sweep` has left in one or more folders: for every group the mean "
        "over the seeds and the least and the largest, and the paper's points on the same data set.",
    .entries = entries,
};

/* What a run has left to draw; what is drawn lies in these records. */
typedef struct drawing {
    json_t *record, *identity; /* result.json or, while it is going on, manifest.json; identity.json, or NULL */
    plot_subject subject;
} drawing;

/* RUN/`name`, a new reference; *j stays NULL where there is no such file. */
static err read_record(const char *run, const char *name, json_t **j) {
    char path[FILE_PATH_MAX];
    err e = file_path(path, sizeof path, "%s/%s", run, name);
    return e || !file_exists(path) ? e : json_read(path, RECORD_MAX, j);
}

static err take_history(drawing *d, const char *run, const char *name, const char *key) {
    d->subject.history = json_object_get(d->record, key);
    return json_array_size(d->subject.history) > 0
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s/%s: its %s lists no evaluation", run, name, key);
}

/* The metrics of the test samples or, where these were left alone, of the ones held back. */
static void take_metrics(drawing *d, const json_t *of_splits) {
    const json_t *test = json_object_get(of_splits, "test");
    d->subject.metrics = test ? test : json_object_get(of_splits, "validation");
    d->subject.samples = test ? "test samples" : "samples held back";
}

static err take_result(drawing *d, const char *run) {
    take_metrics(d, json_object_get(d->record, "final"));
    return take_history(d, run, "result.json", "history");
}

/* The evaluation that stands for the run is the best one where one is kept, else the last. */
static err take_manifest(drawing *d, const char *run) {
    const json_t *best = json_object_get(d->record, "best_evaluation");
    err e = take_history(d, run, "manifest.json", "evaluations");
    if (!e) {
        size_t last = json_array_size(d->subject.history) - 1;
        size_t at = json_is_integer(best) ? (size_t)json_integer_value(best) : last;
        take_metrics(d, json_object_get(json_array_get(d->subject.history, at), "metrics"));
    }
    return e;
}

static err read_run(const char *run, drawing *d) {
    err e = read_record(run, "identity.json", &d->identity);
    d->subject.names = json_object_get(d->identity, "classes");
    e = e ? e : read_record(run, "result.json", &d->record);
    if (e || d->record) {
        return e ? e : take_result(d, run);
    }
    e = read_record(run, "manifest.json", &d->record);
    if (e || d->record) {
        return e ? e : take_manifest(d, run);
    }
    return err_fail(ERR_NOT_FOUND, "%s: nothing to draw yet: it has neither a result nor a checkpoint", run);
}

static void write_run(FILE *to, const void *subject, const char *folder) {
    plot_script_write(to, subject, folder);
}

static void name_file(const void *subject, size_t index, char name[GNUPLOT_NAME_MAX]) {
    plot_file_name(subject, index, name);
}

static err plot(const char *run, const char *folder) {
    char path[FILE_PATH_MAX], to[FILE_PATH_MAX];
    experiment e;
    drawing d = {.subject = {.experiment = &e}};
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", run);
    failed = failed ? failed : file_path(to, sizeof to, "%s%s", folder ? folder : run, folder ? "" : "/plots");
    failed = failed ? failed : experiment_load(path, &e);
    failed = failed ? failed : read_run(run, &d);
    if (!failed) {
        const gnuplot_job job = {&d.subject, write_run, plot_files(&d.subject), name_file};
        failed = gnuplot_draw(&job, to);
    }
    json_decref(d.identity);
    json_decref(d.record);
    return failed;
}

err plot_main(int argc, char **argv) {
    plot_options o = {0};
    options_arguments folders;
    err e = options_parse(&command, argc, argv, &o, &folders);
    if (!e && folders.count > 1 && !o.rate_accuracy) {
        e = err_fail(ERR_USAGE, "'%s' is too much: one run at a time", folders.list[1]);
    }
    if (e || !o.rate_accuracy) {
        return e ? e : plot(folders.list[0], o.to);
    }
    const char *const *sweeps = (const char *const *)folders.list;
    return rate_accuracy_draw(sweeps, (size_t)folders.count, o.experiments, o.to ? o.to : sweeps[0]);
}
