#include "cli/commands/commands.h"

#include "base/interrupt.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/commands/sweep_table.h"
#include "cli/subprocess.h"
#include "experiment/derive.h"
#include "experiment/load.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RESULT_MAX = 64 << 20 };

typedef struct sweep_options {
    const char *file, *to, *data, *threads;
    int64_t validation; /* 0: as the experiment says */
    bool skip_test;
} sweep_options;

/* Kept as the text that decoder_server gets. */
static err take_threads(const char *text, void *to, const options_entry *entry) {
    int64_t threads;
    *(const char **)to = text;
    return options_take_number(text, &threads, entry);
}

static const options_entry entries[] = {
    {OPTIONS_TEXT(sweep_options, data, "data", "DIR",
                  "the split data: node-0, node-1, … and server (fewbit data split)"),
     .is_required = true},
    {OPTIONS_TEXT(sweep_options, to, "to", "DIR",
                  "folder of the runs, DIR/POINT, and of sweep.json; made when missing"),
     .is_required = true},
    {OPTIONS_NUMBER(sweep_options, validation, "validation", "N", 1, 100000000,
                    "hold back N training samples (dataset.validation)")},
    {OPTIONS_FLAG(sweep_options, skip_test, "skip-test",
                  "leave the test part alone (dataset.evaluate_test: false); needs samples held back")},
    {OPTIONS_PARSED(sweep_options, threads, "threads", "N", take_threads,
                    "threads of a training (default: as decoder_server train)"),
     .low = 1, .high = 64},
    {0},
};

static const options_command command = {
    .arguments = "SWEEP.yaml",
    .least = 1,
    .most = 1,
    .summary =
        "Trains every point of a grid with `decoder_server train --local`, one at a time, and prints a table over the "
        "seeds. Finished runs are kept, one that was cut goes on from its last checkpoint: after any end, the same "
        "command goes on. DIR/sweep.json holds the table as JSON.\n\n"
        "SWEEP.yaml names an experiment, and lists values by key and named variants:\n"
        "  base: best/mnist-16.yaml\n"
        "  grid: {encoder.bits: [1, 2, 4], training.seed: [1, 2, 3]}\n"
        "  variants: {everything: {}, without-average: {training.ema_decay: 0}}",
    .entries = entries,
};

typedef struct sweep {
    const sweep_options *options;
    sweep_plan *plan;
    sweep_table *table;
    char server[FILE_PATH_MAX]; /* the program that trains */
    char labels[FILE_PATH_MAX];
    labels of_data; /* the labels of --data */
    bool is_over[SWEEP_POINTS_MAX];
    size_t failed;
    char failure[512]; /* the first one's */
} sweep;

/* decoder_server beside this program, or else along PATH. */
static void find_server(char to[FILE_PATH_MAX]) {
    char own[FILE_PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    own[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(own, '/');
    if (slash) {
        *slash = '\0';
    }
    if (!slash || file_path(to, FILE_PATH_MAX, "%s/decoder_server", own) || access(to, X_OK) != 0) {
        strcpy(to, "decoder_server");
    }
}

/* The identity of the run in DIR/POINT, which must be of this point and of --data. It keeps the text it began with,
 * which may lack keys that are known today: what it says counts. */
static err find_run(const sweep *s, const sweep_point *p, uint64_t *run) {
    char folder[FILE_PATH_MAX], path[FILE_PATH_MAX];
    uint8_t *text = NULL;
    size_t length = 0;
    bool is_same = false;
    experiment there, asked = p->experiment;
    run_identity here, wanted;
    experiment_hold_back(&asked, &s->of_data);
    err e = file_path(folder, sizeof folder, "%s/%s", s->options->to, p->name);
    e = e ? e : file_path(path, sizeof path, "%s/experiment.yaml", folder);
    e = e ? e : file_read(path, EXPERIMENT_TEXT_MAX, &text, &length);
    e = e ? e : experiment_parse(path, (const char *)text, length, &there);
    e = e ? e : experiment_compare(&there, &asked, &is_same);
    if (!e && !is_same) {
        e = err_fail(ERR_INPUT, "%s: is of other settings than %s asks for: choose another folder", path,
                     s->options->file);
    }
    e = e ? e : run_identity_read(&here, folder, text, length);
    e = e ? e : experiment_identify(&asked, &s->of_data, &wanted);
    e = e ? e : run_identity_check_data(&here, &wanted, folder);
    free(text);
    *run = here.run;
    return e;
}

/* DIR/POINT/result.json, a new reference; *result stays NULL where there is none yet. */
static err read_result(const sweep *s, const sweep_point *p, json_t **result) {
    char path[FILE_PATH_MAX], wanted[20];
    uint64_t run = 0;
    *result = NULL;
    err e = file_path(path, sizeof path, "%s/%s/result.json", s->options->to, p->name);
    if (e || !file_exists(path)) {
        return e;
    }
    json_t *j = NULL;
    e = find_run(s, p, &run);
    e = e ? e : json_read(path, RESULT_MAX, &j);
    if (e) {
        return e;
    }
    const char *has = json_string_value(json_object_get(j, "run"));
    snprintf(wanted, sizeof wanted, "%016" PRIx64, run);
    if (!has || strcmp(has, wanted) != 0 || !json_is_object(json_object_get(j, "final"))) {
        json_decref(j);
        return err_fail(ERR_INPUT, "%s: is not the result of the experiment.yaml beside it", path);
    }
    *result = j;
    return ERR_OK;
}

static err write_experiment(const sweep_point *p, const char *path) {
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    err e = experiment_serialize(&p->experiment, text, &length);
    return e ? e : file_write_atomic(path, &(file_span){text, length}, 1);
}

static err train(const sweep *s, const sweep_point *p) {
    char file[FILE_PATH_MAX], run[FILE_PATH_MAX], log[FILE_PATH_MAX];
    err e = file_path(file, sizeof file, "%s/points/%s.yaml", s->options->to, p->name);
    e = e ? e : file_path(log, sizeof log, "%s/points/%s.log", s->options->to, p->name);
    e = e ? e : file_path(run, sizeof run, "%s/%s", s->options->to, p->name);
    e = e ? e : write_experiment(p, file);
    const char *const argv[] = {
        s->server,           "train",    file,      "--local", "--resume", "--data",
        s->options->data,    "--labels", s->labels, "--out",   run,        s->options->threads ? "--threads" : NULL,
        s->options->threads, NULL};
    return e ? e : subprocess_run(argv, log);
}

static void note_failure(sweep *s, const sweep_point *p) {
    printf("failed: %s\n", err_text());
    if (s->failed++ == 0) {
        snprintf(s->failure, sizeof s->failure, "%s: %s", p->name, err_text());
    }
}

static void tell_point(const json_t *result) {
    const json_t *final = json_object_get(result, "final"), *rounded = json_object_get(final, "rounded_accuracy");
    const json_t *held = json_object_get(final, "validation_accuracy");
    if (json_is_number(rounded)) {
        printf(", rounded test %.2f %%", json_number_value(rounded));
    }
    if (json_is_number(held)) {
        printf(", rounded validation %.2f %%", json_number_value(held));
    }
    printf("\n");
}

/* A point that fails does not end the sweep: ERR_STOPPED, and what concerns all points, does. */
static err run_point(sweep *s, size_t index, const sweep_point *p, bool trains) {
    json_t *result;
    err e = read_result(s, p, &result);
    if (!e && !result && !trains) {
        return ERR_OK;
    }
    s->is_over[index] = true;
    printf("%zu of %zu  %s  ", index + 1, sweep_plan_points(s->plan), p->name);
    fflush(stdout);
    if (!e && result) {
        printf("kept");
    } else if (!e) {
        e = train(s, p);
        e = e ? e : read_result(s, p, &result);
        if (!e && result) {
            printf("trained in %.1f s", json_number_value(json_object_get(result, "seconds")));
        }
    }
    if (!e && !result) {
        e = err_fail(ERR_INTERNAL, "%s/%s: the training has left no result", s->options->to, p->name);
    }
    if (e == ERR_STOPPED || e == ERR_NOT_FOUND || e == ERR_MEMORY) {
        printf("\n");
        return e;
    }
    if (e) {
        note_failure(s, p);
        return ERR_OK;
    }
    tell_point(result);
    e = sweep_table_add(s->table, p, result);
    json_decref(result);
    return e;
}

static err write_table(const sweep *s) {
    char path[FILE_PATH_MAX];
    json_t *table = sweep_table_json(s->table);
    err e = file_path(path, sizeof path, "%s/sweep.json", s->options->to);
    e = e ? e : json_write(path, table, SIZE_MAX);
    json_decref(table);
    return e;
}

/* The points that are not over: of those with a result, or else all. */
static err run_points(sweep *s, bool train) {
    err e = ERR_OK;
    for (size_t i = 0; i < sweep_plan_points(s->plan) && !e; i++) {
        if (s->is_over[i]) {
            continue;
        }
        sweep_point p;
        e = interrupt_asked() ? err_fail(ERR_STOPPED, "stopped; the same command goes on")
                              : sweep_plan_point(s->plan, i, &p);
        if (!e) {
            e = run_point(s, i, &p, train);
            e = e || !train ? e : write_table(s);
            json_decref(p.settings);
        }
    }
    return e;
}

static err run_sweep(sweep *s) {
    char points[FILE_PATH_MAX];
    err e = file_path(points, sizeof points, "%s/points", s->options->to);
    e = e ? e : file_path(s->labels, sizeof s->labels, "%s/server", s->options->data);
    e = e ? e : labels_open(&s->of_data, s->labels);
    e = e ? e : file_make_folders(points);
    e = e ? e : sweep_table_new(&s->table, s->plan);
    if (e) {
        return e;
    }
    find_server(s->server);
    e = run_points(s, false); /* first, so that a table never has less than the one before */
    if (!e && s->failed == 0) {
        e = write_table(s);
        e = e ? e : run_points(s, true);
    }
    sweep_table_print(s->table, stdout);
    if (!e && s->failed > 0) {
        e = err_fail(ERR_INPUT, "%zu of %zu points have failed, first %s", s->failed, sweep_plan_points(s->plan),
                     s->failure);
    }
    return e;
}

err sweep_main(int argc, char **argv) {
    sweep_options o = {0};
    static sweep s; /* one a process */
    s.options = &o;
    options_arguments file;
    err e = options_parse(&command, argc, argv, &o, &file);
    if (e) {
        return e;
    }
    o.file = file.list[0];
    char held[24];
    experiment_override more[2];
    size_t count = 0;
    snprintf(held, sizeof held, "%" PRId64, o.validation);
    if (o.validation > 0) {
        more[count++] = (experiment_override){"dataset.validation", held};
    }
    if (o.skip_test) {
        more[count++] = (experiment_override){"dataset.evaluate_test", "false"};
    }
    e = sweep_plan_open(&s.plan, o.file, more, count);
    e = e ? e : run_sweep(&s);
    sweep_table_free(s.table);
    labels_close(&s.of_data);
    sweep_plan_free(s.plan);
    return e;
}
