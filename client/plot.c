#include "client/plot.h"

#include "base/file.h"
#include "base/options.h"
#include "client/child.h"
#include "client/plot_script.h"
#include "client/stop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_TO = 't', RECORD_MAX = 64 << 20 };

static const struct argp_option known[] = {
    {"to", KEY_TO, "DIR", 0, "folder for the SVG files (default RUN/plots); made when missing", 0},
    {0},
};

static const char doc[] =
    "Draws a run with gnuplot, from its result or, while it is going on, from its last checkpoint:\n"
    "accuracy.svg, loss.svg, and of the encoders' soft outputs on the test set distance.svg (how far they are from "
    "bits) and encoder-K.svg (where they lie, and how often each bit is 1).\v"
    "Every option can stand in the environment: --to as FEWBIT_TO.\n\n";

typedef struct plot_options {
    const char *run, *to;
} plot_options;

static int take(int key, char *value, struct argp_state *state) {
    plot_options *o = state->input;
    switch (key) {
    case KEY_TO:
        o->to = value;
        return 0;
    case ARGP_KEY_ARG:
        if (o->run) {
            err_fail(ERR_USAGE, "'%s' is too much: one run at a time", value);
            return EINVAL;
        }
        o->run = value;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* RUN/`name`'s list `key`, a new reference; *list stays NULL where there is no such file. */
static err read_list(const char *run, const char *name, const char *key, json_t **list) {
    char path[FILE_PATH_MAX];
    uint8_t *text = NULL;
    size_t length = 0;
    err e = file_path(path, sizeof path, "%s/%s", run, name);
    if (e || !file_exists(path)) {
        return e;
    }
    e = file_read(path, RECORD_MAX, &text, &length);
    if (e) {
        return e;
    }
    json_error_t problem;
    json_t *j = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, &problem);
    free(text);
    if (!j) {
        return err_fail(ERR_INPUT, "%s:%d: %s", path, problem.line, problem.text);
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

static err write_script(const char *path, const plot_subject *subject, const char *folder) {
    FILE *file = fopen(path, "we");
    if (!file) {
        return err_system(ERR_IO, "%s: cannot write", path);
    }
    plot_script_write(file, subject, folder);
    return fclose(file) == 0 ? ERR_OK : err_system(ERR_IO, "%s: cannot write", path);
}

static err run_gnuplot(const char *script, const char *folder) {
    char log[FILE_PATH_MAX];
    err e = file_path(log, sizeof log, "%s/log", folder);
    const char *const argv[] = {"gnuplot", "-d", script, NULL};
    e = e ? e : child_run(argv, log);
    return e == ERR_NOT_FOUND
               ? err_fail(ERR_NOT_FOUND, "there is no gnuplot here, which draws the plots: install gnuplot-nox")
               : e;
}

/* Gives the files their final place once all are drawn. */
static err install(const plot_subject *subject, const char *folder, const char *to) {
    for (size_t i = 0; i < plot_files(subject); i++) {
        char name[PLOT_NAME_MAX], drawn[FILE_PATH_MAX], final[FILE_PATH_MAX];
        plot_file_name(i, name);
        err e = file_path(drawn, sizeof drawn, "%s/%s", folder, name);
        e = e ? e : file_path(final, sizeof final, "%s/%s", to, name);
        if (e) {
            return e;
        }
        if (rename(drawn, final) != 0) {
            return err_system(ERR_IO, "%s: cannot rename into place", final);
        }
        printf("%s\n", final);
    }
    return ERR_OK;
}

static err draw(const plot_subject *subject, const char *to) {
    char folder[FILE_PATH_MAX], script[FILE_PATH_MAX];
    err e = file_make_folders(to);
    e = e ? e : child_folder_make(to, folder, sizeof folder);
    if (e) {
        return e;
    }
    e = file_path(script, sizeof script, "%s/script", folder);
    e = e ? e : write_script(script, subject, folder);
    e = e ? e : run_gnuplot(script, folder);
    e = e ? e : install(subject, folder, to);
    child_folder_remove(folder);
    return e;
}

static err plot(const plot_options *o) {
    char path[FILE_PATH_MAX], to[FILE_PATH_MAX];
    experiment e;
    json_t *history = NULL;
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", o->run);
    failed = failed ? failed : file_path(to, sizeof to, "%s%s", o->to ? o->to : o->run, o->to ? "" : "/plots");
    failed = failed ? failed : experiment_load(path, &e);
    failed = failed ? failed : read_history(o->run, &history);
    if (failed) {
        return failed;
    }
    stop_catch();
    failed = draw(&(plot_subject){&e, history}, to);
    json_decref(history);
    return failed;
}

err plot_main(int argc, char **argv) {
    const struct argp argp = {.options = known, .parser = take, .args_doc = "RUN", .doc = doc};
    plot_options o = {0};
    err e = options_parse(&argp, argc, argv, 0, NULL, &o);
    if (!e && !o.run) {
        e = err_fail(ERR_USAGE, "the run's folder is missing");
    }
    return e ? e : plot(&o);
}
