#include "cli/commands/class_table.h"

#include "cli/class_label.h"

#include <stdio.h>

enum { CLASSES_MAX = 256, MATRIX_MAX = 20, LABEL_LEAST = 12 };

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
    print_head(t, "class");
    printf("   samples   precision      recall          F1\n");
    for (size_t c = 0; c < t->classes; c++) {
        json_int_t samples = 0;
        for (size_t i = 0; i < t->classes; i++) {
            samples += count_of(t, c, i);
        }
        print_label(t, c);
        printf("%10lld%10.2f %%%10.2f %%%10.2f %%\n", (long long)samples, percent_of(t, "precision", c),
               percent_of(t, "recall", c), percent_of(t, "f1", c));
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

void class_table_print(const char *what, const json_t *metrics, const json_t *names) {
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
