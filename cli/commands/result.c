#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/class_label.h"
#include "experiment/load.h"

#include <stdio.h>

enum { RESULT_MAX = 64 << 20, CLASSES_MAX = 256, MATRIX_MAX = 20, LABEL_LEAST = 12 };

static double number_in(const json_t *j, const char *section, const char *key) {
    return json_number_value(json_object_get(json_object_get(j, section), key));
}

/* Nothing where it was not measured. */
static void print_accuracy(const json_t *j, const char *what, const char *key) {
    const json_t *value = json_object_get(json_object_get(j, "final"), key);
    if (json_is_number(value)) {
        printf("   %s %6.2f %%", what, json_number_value(value));
    }
}

static void print_accuracies(const experiment *e, const json_t *j) {
    printf("accuracy      training %6.2f %%", number_in(j, "final", "train_accuracy"));
    print_accuracy(j, "soft test", "soft_accuracy");
    print_accuracy(j, "rounded test", "rounded_accuracy");
    print_accuracy(j, "soft validation", "soft_validation_accuracy");
    print_accuracy(j, "rounded validation", "validation_accuracy");
    printf("   (after epoch %.4g)\n", number_in(j, "final", "epoch"));
    if (e->paper.row == 0) {
        return;
    }
    char soft[16] = "   n/a";
    if (e->paper.soft > 0) {
        snprintf(soft, sizeof soft, "%6.2f", (double)e->paper.soft);
    }
    printf("paper, row %-2u  training %6.2f %%   soft test %s %%   rounded test %6.2f %%\n", e->paper.row,
           (double)e->paper.train, soft, (double)e->paper.rounded);
}

/* Of a classifier alone: no bits, nothing rounded. */
static void print_test(const json_t *j) {
    printf("accuracy      training %6.2f %%", number_in(j, "final", "train_accuracy"));
    print_accuracy(j, "test", "soft_accuracy");
    print_accuracy(j, "validation", "validation_accuracy");
    printf("   (after epoch %.4g)\n", number_in(j, "final", "epoch"));
}

static void print_bits(const json_t *j) {
    double payload = number_in(j, "bits_per_sample", "payload");
    const json_t *frames = json_object_get(json_object_get(j, "bits_per_sample"), "frames");
    const json_t *tls = json_object_get(json_object_get(j, "bits_per_sample"), "tls");
    const json_t *tcp = json_object_get(json_object_get(j, "bits_per_sample"), "tcp");
    double raw = json_number_value(json_object_get(j, "raw_bits_per_sample"));
    const json_t *entropy = json_object_get(json_object_get(j, "bits_per_sample"), "entropy");
    printf("bits/sample   %.0f of payload", payload);
    if (json_is_number(frames)) {
        printf(", %.2f in frames", json_number_value(frames));
    }
    if (json_is_number(tls)) {
        printf(", %.2f in TLS", json_number_value(tls));
    }
    if (json_is_number(tcp)) {
        printf(", %.2f in TCP", json_number_value(tcp));
    }
    printf(" (rounded test, both directions)\n");
    if (json_is_object(entropy)) { /* null where this process measured no rounded test */
        printf("codes         %.2f bits a sample as they came; entropy %.2f bit by bit, %.2f code by code\n",
               number_in(j, "bits_per_sample", "coded"), json_number_value(json_object_get(entropy, "bits")),
               json_number_value(json_object_get(entropy, "codes")));
    }
    printf("raw portions  %.0f bits a sample: %.0f times the payload\n", raw, payload > 0 ? raw / payload : 0);
}

/* The thresholds that cost and bring something else than the one before. */
static void print_refinement(const json_t *j) {
    const json_t *stages = json_object_get(json_object_get(j, "final"), "refinement");
    double before = -1;
    for (size_t i = 0; i < json_array_size(stages); i++) {
        const json_t *r = json_array_get(stages, i);
        double bits = json_number_value(json_object_get(r, "bits"));
        if (bits != before) {
            printf("--confidence %-6.4g %6.2f %% with %.2f bits a sample, %.2f in frames up, %.2f down; more asked of "
                   "%.1f %%\n",
                   json_number_value(json_object_get(r, "confidence")),
                   json_number_value(json_object_get(r, "accuracy")), bits,
                   json_number_value(json_object_get(r, "bits_up")), json_number_value(json_object_get(r, "bits_down")),
                   100 * json_number_value(json_object_get(r, "asked")));
        }
        before = bits;
    }
}

/* The names of its classes, as identity.json has them, a new reference; NULL: it has none. */
static json_t *class_names_of(const char *run) {
    char path[FILE_PATH_MAX];
    json_t *j = NULL;
    if (file_path(path, sizeof path, "%s/identity.json", run) || json_read(path, RESULT_MAX, &j)) {
        return NULL;
    }
    json_t *names = json_incref(json_object_get(j, "classes"));
    json_decref(j);
    return names;
}

static void print_with_missing(const json_t *all) {
    if (json_is_object(all)) {
        printf("with missing  rounded test %6.2f %% of %lld samples, those that lack portions among them\n",
               json_number_value(json_object_get(all, "accuracy")),
               (long long)json_integer_value(json_object_get(all, "samples")));
    }
}

/* What it says class by class, as tables. */

typedef struct table {
    const json_t *metrics;
    size_t classes;
    char labels[CLASSES_MAX][CLASS_LABEL_MAX];
    int widths[CLASSES_MAX], width; /* in code points; `width`: of all of them */
} table;

static void fill_labels(table *t, const json_t *names) {
    t->width = LABEL_LEAST;
    for (size_t c = 0; c < t->classes; c++) {
        t->widths[c] = class_label(t->labels[c], c, names);
        t->width = t->widths[c] > t->width ? t->widths[c] : t->width;
    }
}

static void print_head(const table *t, const char *text) {
    printf("%-*s", t->width, text);
}

static void print_label(const table *t, size_t class) {
    printf("%s%*s", t->labels[class], t->width - t->widths[class], "");
}

static double number_of(const json_t *metrics, const char *key) {
    return json_number_value(json_object_get(metrics, key));
}

static json_int_t count_of(const table *t, size_t truth, size_t taken) {
    return json_integer_value(json_array_get(json_array_get(json_object_get(t->metrics, "confusion"), truth), taken));
}

static void print_all(const table *t, const char *what) {
    const json_t *auc = json_object_get(t->metrics, "auc");
    printf("%-14s%lld samples   macro F1 %.2f %%   calibration error %.2f %%", what,
           (long long)json_integer_value(json_object_get(t->metrics, "samples")),
           100 * number_of(t->metrics, "macro_f1"), 100 * number_of(t->metrics, "calibration_error"));
    if (json_is_number(auc)) {
        printf("   AUC %.4f", json_number_value(auc));
    }
    printf("\n");
}

static double percent_of(const table *t, const char *key, size_t class) {
    return 100 * json_number_value(json_array_get(json_object_get(t->metrics, key), class));
}

static void print_classes(const table *t) {
    uint32_t unseen = 0;
    print_head(t, "class");
    printf("   samples   precision      recall          F1\n");
    for (size_t c = 0; c < t->classes; c++) {
        json_int_t samples = 0;
        for (size_t i = 0; i < t->classes; i++) {
            samples += count_of(t, c, i);
        }
        unseen += samples == 0;
        print_label(t, c);
        printf("%10lld%10.2f %%%10.2f %%%10.2f %%\n", (long long)samples, percent_of(t, "precision", c),
               percent_of(t, "recall", c), percent_of(t, "f1", c));
    }
    if (unseen > 0) {
        printf("(classes without samples: %u; macro F1 takes their 0 too)\n", unseen);
    }
}

static int widest_count(const table *t) {
    int widest = 4;
    for (size_t truth = 0; truth < t->classes; truth++) {
        for (size_t taken = 0; taken < t->classes; taken++) {
            int width = snprintf(NULL, 0, "%lld", (long long)count_of(t, truth, taken));
            widest = width > widest ? width : widest;
        }
    }
    return widest + 1;
}

static void print_matrix(const table *t) {
    int width = widest_count(t);
    print_head(t, "taken for");
    for (size_t c = 0; c < t->classes; c++) {
        printf("%*zu", width, c);
    }
    for (size_t truth = 0; truth < t->classes; truth++) {
        printf("\n");
        print_label(t, truth);
        for (size_t taken = 0; taken < t->classes; taken++) {
            printf("%*lld", width, (long long)count_of(t, truth, taken));
        }
    }
    printf("\n");
}

/* Prints the metrics of one split (NULL: nothing): a line about all, one a class, and of at most 20 classes the
 * confusion matrix. `what` says of which samples they are. `names` is a list of the classes' names; where it has none,
 * the class is a number. Neither is trusted: what is no number is 0. */
static void print_by_class(const char *what, const json_t *metrics, const json_t *names) {
    static table t; /* one a process */
    t = (table){.metrics = metrics, .classes = json_array_size(json_object_get(metrics, "confusion"))};
    if (t.classes < 2 || t.classes > CLASSES_MAX) {
        return;
    }
    fill_labels(&t, names);
    print_all(&t, what);
    print_classes(&t);
    if (t.classes <= MATRIX_MAX) {
        print_matrix(&t);
    }
}

static void print_metrics(const char *run, const json_t *j) {
    const json_t *final = json_object_get(j, "final");
    print_with_missing(json_object_get(final, "with_missing"));
    json_t *names = class_names_of(run);
    print_by_class("test", json_object_get(final, "test"), names);
    print_by_class("validation", json_object_get(final, "validation"), names);
    json_decref(names);
}

static err print_run(const char *run) {
    char path[FILE_PATH_MAX];
    experiment e;
    json_t *j = NULL;
    err failed = file_path(path, sizeof path, "%s/experiment.yaml", run);
    failed = failed ? failed : experiment_load(path, &e);
    failed = failed ? failed : file_path(path, sizeof path, "%s/result.json", run);
    failed = failed ? failed : json_read(path, RESULT_MAX, &j);
    if (failed) {
        return failed;
    }
    if (!json_is_object(j)) {
        json_decref(j);
        return err_fail(ERR_INPUT, "%s: is no result of a run", path);
    }
    printf("%s%s%s\n", e.name, e.title[0] ? ": " : "", e.title);
    printf("trained       %lld epochs in %.1f s, %.2f s an epoch with its tests\n",
           (long long)json_integer_value(json_object_get(j, "epochs")),
           json_number_value(json_object_get(j, "seconds")),
           json_number_value(json_object_get(j, "seconds_per_epoch")));
    if (experiment_is_classifier_alone(&e)) {
        print_test(j);
    } else {
        print_accuracies(&e, j);
        print_bits(j);
        print_refinement(j);
    }
    print_metrics(run, j);
    json_decref(j);
    return ERR_OK;
}

err result_main(int argc, char **argv) {
    static const options_entry none[] = {{0}};
    static const options_command command = {
        .arguments = "RUN",
        .least = 1,
        .most = 1,
        .summary = "Prints what came out of a training: accuracies, beside the paper's where the experiment has them, "
                   "bits, and class by class what is right: with at most 20 classes the confusion matrix too.",
        .entries = none,
    };
    options_arguments run;
    err e = options_parse(&command, argc, argv, NULL, &run);
    return e ? e : print_run(run.list[0]);
}
