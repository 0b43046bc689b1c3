#include "cli/commands/commands.h"

#include "base/json.h"
#include "base/options.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RESULT_MAX = 64 << 20 };

typedef struct list_options {
    const char *experiments, *runs;
} list_options;

static const options_entry entries[] = {
    {OPTIONS_TEXT(list_options, runs, "runs", "DIR", "folder whose subfolders are runs"), .preset = "runs"},
    {OPTIONS_TEXT(list_options, experiments, "experiments", "DIR",
                  "folder of the experiment files, and of folders of them but sweeps"),
     .preset = "experiments"},
    {0},
};

static const options_command command = {
    .summary =
        "Lists all experiments: data set, encoders, bits, loss, and the accuracies on the training set, on the test "
        "set with soft outputs and on it with rounded ones, in percent: the paper's, then ours where a run is "
        "finished. Of several runs of one experiment the one of most epochs counts, then the one of the best "
        "rounded accuracy.",
    .entries = entries,
};

/* What a finished run reached; accuracies are NaN where there is none. */
typedef struct outcome {
    char experiment[64];
    double epochs, train, soft, rounded;
} outcome;

/* Of all runs. */
typedef struct outcomes {
    outcome *list; /* [count] */
    size_t count;
} outcomes;

static double number_in(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* False where it is no result of ours. */
static bool outcome_from(const json_t *j, outcome *o) {
    const char *name = json_string_value(json_object_get(j, "experiment"));
    const json_t *final = json_object_get(j, "final");
    if (!name || strlen(name) >= sizeof o->experiment || !json_is_object(final)) {
        return false;
    }
    strcpy(o->experiment, name);
    o->epochs = number_in(j, "epochs"); /* `final` may be of one before, with keep_best */
    o->train = number_in(final, "train_accuracy");
    o->soft = number_in(final, "soft_accuracy");
    o->rounded = number_in(final, "rounded_accuracy");
    return true;
}

static err add_outcome(outcomes *all, const char *path) {
    json_t *j = NULL;
    err e = json_read(path, RESULT_MAX, &j);
    bool is_result = !e && outcome_from(j, &all->list[all->count]);
    json_decref(j);
    if (!is_result && (!e || e == ERR_INPUT)) {
        fprintf(stderr, "fewbit: note: %s is no result of a run\n", path);
        return ERR_OK;
    }
    all->count += is_result;
    return e;
}

static err read_outcomes(const char *runs, outcomes *all) {
    glob_t found;
    err e = file_list(runs, "*/result.json", &found);
    all->list = e ? NULL : calloc(found.gl_pathc + 1, sizeof *all->list);
    if (!e && !all->list) {
        e = err_fail(ERR_MEMORY, "no memory for %zu runs", found.gl_pathc);
    }
    for (size_t i = 0; i < found.gl_pathc && !e; i++) {
        e = add_outcome(all, found.gl_pathv[i]);
    }
    globfree(&found);
    return e;
}

static bool counts_more(const outcome *a, const outcome *b) {
    return a->epochs != b->epochs ? a->epochs > b->epochs : a->rounded > b->rounded;
}

static const outcome *find_outcome(const outcomes *all, const char *experiment) {
    const outcome *best = NULL;
    for (size_t i = 0; i < all->count; i++) {
        const outcome *o = &all->list[i];
        if (strcmp(o->experiment, experiment) == 0 && (!best || counts_more(o, best))) {
            best = o;
        }
    }
    return best;
}

/* One line; the first is the table's head. */
static void print_line(const char *name, const char *row, const char *set, const char *encoders, const char *bits,
                       const char *loss) {
    printf("%-47s %3s %-13s %-28s %-5s %-10s", name, row, set, encoders, bits, loss);
}

static void print_accuracies(double train, double soft, double rounded) {
    const double all[] = {train, soft, rounded};
    printf(" ");
    for (size_t i = 0; i < 3; i++) {
        if (isfinite(all[i])) {
            printf(" %6.2f", all[i]);
        } else {
            printf(" %6s", "-");
        }
    }
}

/* 0 in an experiment's file: not given. */
static double given(float percent) {
    return percent > 0 ? (double)percent : (double)NAN;
}

static void print_experiment(const experiment *e, const outcomes *all) {
    char row[12] = "-", encoders[64] = "none", bits[24] = "-", loss[32] = "CE", net[EXPERIMENT_TEXT_MAX];
    if (e->paper.row > 0) {
        snprintf(row, sizeof row, "%u", e->paper.row);
    }
    if (!experiment_is_classifier_alone(e) && !experiment_value(e, "encoder.net", net)) {
        bool is_listed = experiment_lists_portions(e);
        snprintf(encoders, sizeof encoders, "%u x %.24s, %s", e->portion_count, net[0] == '[' ? "own layers" : net,
                 is_listed ? "listed" : partition_name(e->dataset.partition));
        if (is_listed) {
            snprintf(bits, sizeof bits, "%u", experiment_bits(e));
        } else {
            snprintf(bits, sizeof bits, "%ux%u", e->portion_count, e->encoder.bits);
        }
    }
    if (e->loss.quantization > 0) {
        snprintf(loss, sizeof loss, "CE + %g Q", (double)e->loss.quantization);
    }
    print_line(e->name, row, e->dataset.name, encoders, bits, loss);
    print_accuracies(given(e->paper.train), given(e->paper.soft), given(e->paper.rounded));
    const outcome *o = find_outcome(all, e->name);
    if (o) {
        print_accuracies(o->train, o->soft, o->rounded);
        printf("  %.4g", o->epochs);
    }
    printf("\n");
}

/* Where a list stands. */
typedef struct listing {
    const outcomes *all;
    size_t files;
    err worst;
} listing;

static void print_head(void) {
    print_line("", "", "", "", "", "");
    printf("   paper                   ours\n");
    print_line("experiment", "row", "data", "encoders", "bits", "loss");
    printf("   train   soft rounded   train   soft rounded epochs\n");
}

/* A file that is wrong is told of and does not hide the others. */
static void print_file(const char *path, listing *l) {
    if (l->files++ == 0) {
        print_head();
    }
    experiment one;
    err e = experiment_load(path, &one);
    if (e) {
        fprintf(stderr, "fewbit: note: %s\n", err_text());
        l->worst = e;
    } else {
        print_experiment(&one, l->all);
    }
}

/* Sweeps are none, though they lie beside. */
static err print_matches(const char *folder, const char *pattern, listing *l) {
    glob_t found;
    err e = file_list(folder, pattern, &found);
    for (size_t i = 0; i < found.gl_pathc && !e; i++) {
        if (!strstr(found.gl_pathv[i], "/sweeps/")) {
            print_file(found.gl_pathv[i], l);
        }
    }
    globfree(&found);
    return e;
}

static err print_all(const char *folder, const outcomes *all) {
    listing l = {.all = all};
    err e = print_matches(folder, "*.yaml", &l);
    e = e ? e : print_matches(folder, "*/*.yaml", &l);
    if (!e && l.files == 0) {
        return err_fail(ERR_NOT_FOUND, "%s: holds no experiment (NAME.yaml)", folder);
    }
    return e || !l.worst ? e : err_fail(l.worst, "%s: not all of its experiments can be read", folder);
}

err experiment_list_main(int argc, char **argv) {
    list_options o = {0};
    err e = options_parse(&command, argc, argv, &o, NULL);
    outcomes all = {0};
    e = e ? e : read_outcomes(o.runs, &all);
    e = e ? e : print_all(o.experiments, &all);
    free(all.list);
    return e;
}
