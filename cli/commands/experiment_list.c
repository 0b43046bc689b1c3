#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/options.h"
#include "experiment/experiment.h"
#include "experiment/load.h"
#include "experiment/schema.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
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
    .about =
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

typedef struct outcomes {
    outcome *list;
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

static err add_outcome(outcomes *all, const char *runs, const char *name) {
    char path[FILE_PATH_MAX];
    uint8_t *text = NULL;
    size_t length = 0;
    err e = file_path(path, sizeof path, "%s/%s/result.json", runs, name);
    if (e || !file_exists(path)) {
        return e;
    }
    e = file_read(path, RESULT_MAX, &text, &length);
    if (e) {
        return e;
    }
    json_t *j = json_loadb((const char *)text, length, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    outcome o;
    bool good = outcome_from(j, &o);
    json_decref(j);
    outcome *grown = good ? realloc(all->list, (all->count + 1) * sizeof *grown) : NULL;
    if (!good) {
        fprintf(stderr, "fewbit: note: %s is no result of a run\n", path);
        return ERR_OK;
    }
    if (!grown) {
        return err_fail(ERR_MEMORY, "no memory for run %zu", all->count);
    }
    all->list = grown;
    all->list[all->count++] = o;
    return ERR_OK;
}

/* The names in a folder, sorted, for the caller to free; none where there is no folder. */
static err list_folder(const char *path, int (*wanted)(const struct dirent *entry), struct dirent ***names,
                       int *count) {
    *count = scandir(path, names, wanted, alphasort);
    if (*count >= 0) {
        return ERR_OK;
    }
    return err_system(errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: cannot list", path);
}

static void free_names(struct dirent **names, int count) {
    for (int i = 0; i < count; i++) {
        free(names[i]);
    }
    free(names);
}

static int is_plain(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int is_yaml(const struct dirent *entry) {
    size_t length = strlen(entry->d_name);
    return is_plain(entry) && length > 5 && strcmp(entry->d_name + length - 5, ".yaml") == 0;
}

static err read_outcomes(const char *runs, outcomes *all) {
    struct dirent **names = NULL;
    int count;
    err e = list_folder(runs, is_plain, &names, &count);
    if (e) {
        return e == ERR_NOT_FOUND ? ERR_OK : e;
    }
    for (int i = 0; i < count && !e; i++) {
        e = add_outcome(all, runs, names[i]->d_name);
    }
    free_names(names, count);
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
    char row[12] = "-", encoders[64] = "none", bits[24] = "-", loss[32] = "CE";
    if (e->paper.row > 0) {
        snprintf(row, sizeof row, "%u", e->paper.row);
    }
    if (!experiment_is_classifier_alone(e)) {
        snprintf(encoders, sizeof encoders, "%u x %s, %s", e->dataset.portions, experiment_encoder_name(e),
                 partition_name(e->dataset.partition));
        snprintf(bits, sizeof bits, "%ux%u", e->dataset.portions, e->encoder.bits);
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

static int is_folder(const struct dirent *entry) {
    return is_plain(entry) && entry->d_type == DT_DIR && strcmp(entry->d_name, "sweeps") != 0;
}

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

static err print_folder(const char *folder, listing *l) {
    struct dirent **names = NULL;
    int count;
    err e = list_folder(folder, is_yaml, &names, &count);
    if (e) {
        return e;
    }
    for (int i = 0; i < count && !e; i++) {
        char path[FILE_PATH_MAX];
        e = file_path(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (!e) {
            print_file(path, l);
        }
    }
    free_names(names, count);
    return e;
}

static err print_folders(const char *folder, listing *l) {
    struct dirent **names = NULL;
    int count;
    err e = list_folder(folder, is_folder, &names, &count);
    if (e) {
        return e;
    }
    for (int i = 0; i < count && !e; i++) {
        char path[FILE_PATH_MAX];
        e = file_path(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        e = e ? e : print_folder(path, l);
    }
    free_names(names, count);
    return e;
}

static err print_all(const char *folder, const outcomes *all) {
    listing l = {.all = all};
    err e = print_folder(folder, &l);
    e = e ? e : print_folders(folder, &l);
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
