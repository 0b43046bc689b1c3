#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/plot/gnuplot.h"
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
        "accuracy.svg, loss.svg, and of the encoders' soft outputs on the test set distance.svg (how far they are from "
        "bits) and encoder-K.svg (where they lie, and how often each bit is 1).\n\n"
        "With --rate-accuracy it draws what `fewbit sweep` has left in one or more folders: for every group the mean "
        "over the seeds and the least and the largest, and the paper's points on the same data set.",
    .entries = entries,
};

/* RUN/`name`'s list `key`, a new reference; *list stays NULL where there is no such file. */
static err read_list(const char *run, const char *name, const char *key, json_t **list) {
    char path[FILE_PATH_MAX];
    json_t *j = NULL;
    err e = file_path(path, sizeof path, "%s/%s", run, name);
    if (e || !file_exists(path)) {
        return e;
    }
    e = json_read(path, RECORD_MAX, &j);
    if (e) {
        return e;
    }
    *list = json_incref(json_object_get(j, key));
    json_decref(j);
    if (json_array_size(*list) == 0) {
        json_decref(*list);
        return err_fail(ERR_INPUT, "%s: its %s lists no evaluation", path, key);
    }
    return ERR_OK;
}

static err read_history(const char *run, json_t **history) {
    *history = NULL;
    err e = read_list(run, "result.json", "history", history);
    if (!e && !*history) {
        e = read_list(run, "manifest.json", "evaluations", history);
    }
    if (!e && !*history) {
        e = err_fail(ERR_NOT_FOUND, "%s: nothing to draw yet: it has neither a result nor a checkpoint", run);
    }
    return e;
}

static void write_run(FILE *to, const void *subject, const char *folder) {
    plot_script_write(to, subject, folder);
}

static err plot(const char *run, const char *folder) {
    char path[FILE_PATH_MAX], to[FILE_PATH_MAX];
    experiment e;
    json_t *history = NULL;
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", run);
    failed = failed ? failed : file_path(to, sizeof to, "%s%s", folder ? folder : run, folder ? "" : "/plots");
    failed = failed ? failed : experiment_load(path, &e);
    failed = failed ? failed : read_history(run, &history);
    if (failed) {
        return failed;
    }
    const plot_subject subject = {&e, history};
    const gnuplot_job job = {&subject, write_run, plot_files(&subject), plot_file_name};
    failed = gnuplot_draw(&job, to);
    json_decref(history);
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
