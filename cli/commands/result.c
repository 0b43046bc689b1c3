#include "cli/commands/commands.h"

#include "base/file.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/commands/class_table.h"
#include "experiment/load.h"

#include <stdio.h>

enum { RESULT_MAX = 64 << 20 };

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

static void print_metrics(const char *run, const json_t *j) {
    const json_t *final = json_object_get(j, "final");
    print_with_missing(json_object_get(final, "with_missing"));
    json_t *names = class_names_of(run);
    class_table_print("test", json_object_get(final, "test"), names);
    class_table_print("validation", json_object_get(final, "validation"), names);
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
