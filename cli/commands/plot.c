#include "cli/commands/plot.h"

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/plot/gnuplot.h"
#include "cli/plot/plot_script.h"
#include "cli/plot/rate_accuracy.h"
#include "experiment/load.h"

#include <errno.h>
#include <string.h>

enum { KEY_TO = 't', KEY_RATE_ACCURACY = 'r', KEY_EXPERIMENTS = 'e', RECORD_MAX = 64 << 20 };

static const struct argp_option known[] = {
    {"to", KEY_TO, "DIR", 0, "folder for the SVG files (default RUN/plots, or the first SWEEP); made when missing", 0},
    {"rate-accuracy", KEY_RATE_ACCURACY, 0, 0, "draw sweeps: rate-accuracy.svg, accuracy against bits a sample", 0},
    {"experiments", KEY_EXPERIMENTS, "DIR", 0,
     "with --rate-accuracy: folder of experiments with the paper's figures (default "
     "experiments/paper)",
     0},
    {0},
};

static const char doc[] =
    "Draws a run with gnuplot, from its result or, while it is going on, from its last checkpoint:\n"
    "accuracy.svg, loss.svg, and of the encoders' soft outputs on the test set distance.svg (how far they are from "
    "bits) and encoder-K.svg (where they lie, and how often each bit is 1).\n\n"
    "With --rate-accuracy it draws what `fewbit sweep` has left in one or more folders: for every group the mean over "
    "the "
    "seeds and the least and the largest, and the paper's points on the same data set.\v"
    "Every option can stand in the environment: --to as FEWBIT_TO.\n\n";

typedef struct plot_options {
    const char *runs[RATE_ACCURACY_SWEEPS_MAX];
    size_t count;
    const char *to, *experiments;
    bool rate_accuracy;
} plot_options;

static int take(int key, char *value, struct argp_state *state) {
    plot_options *o = state->input;
    switch (key) {
    case KEY_TO:
        o->to = value;
        return 0;
    case KEY_RATE_ACCURACY:
        o->rate_accuracy = true;
        return 0;
    case KEY_EXPERIMENTS:
        o->experiments = value;
        return 0;
    case ARGP_KEY_ARG:
        if (o->count == RATE_ACCURACY_SWEEPS_MAX) {
            err_fail(ERR_USAGE, "'%s' is too much: %d folders at most", value, RATE_ACCURACY_SWEEPS_MAX);
            return EINVAL;
        }
        o->runs[o->count++] = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

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

static err plot(const plot_options *o) {
    char path[FILE_PATH_MAX], to[FILE_PATH_MAX];
    experiment e;
    json_t *history = NULL;
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", o->runs[0]);
    failed = failed ? failed : file_path(to, sizeof to, "%s%s", o->to ? o->to : o->runs[0], o->to ? "" : "/plots");
    failed = failed ? failed : experiment_load(path, &e);
    failed = failed ? failed : read_history(o->runs[0], &history);
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
    const struct argp argp = {
        .options = known, .parser = take, .args_doc = "RUN\n--rate-accuracy SWEEP...", .doc = doc};
    plot_options o = {.experiments = "experiments/paper"};
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (!e && o.count == 0) {
        e = err_fail(ERR_USAGE, "the folder is missing");
    } else if (!e && o.count > 1 && !o.rate_accuracy) {
        e = err_fail(ERR_USAGE, "'%s' is too much: one run at a time", o.runs[1]);
    }
    if (e) {
        return e;
    }
    return o.rate_accuracy ? rate_accuracy_draw(o.runs, o.count, o.experiments, o.to ? o.to : o.runs[0]) : plot(&o);
}
