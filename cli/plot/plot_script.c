#include "cli/plot/plot_script.h"

#include "cli/class_label.h"

#include <math.h>
#include <string.h>

/* The kinds of files, in their order. */
enum { ACCURACY, LOSS, CONFUSION, RELIABILITY, DISTANCE, FIRST_ENCODER, BY_CLASS = DISTANCE - CONFUSION };

/* A line of the accuracy plot: its key in result.json and in manifest.json, and what the paper has. */
typedef struct curve {
    const char *key, *title, *colour;
    float paper; /* percent; 0: not given */
} curve;

enum { CURVES = 5, LOSS_COLUMN = CURVES + 2 };
enum { CLASSES_MAX = 256, COUNTS_MAX = 20, TICS_MAX = 32, BINS_MAX = 100, ENCODER_MAX = PORTION_NAME_MAX + 16 };

/* NaN where there is none. */
static double number_of(const json_t *evaluation, const char *key) {
    const json_t *value = json_object_get(evaluation, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static double epoch_of(const json_t *evaluation) {
    return number_of(evaluation, "epoch");
}

static const json_t *encoder_of(const json_t *evaluation, size_t encoder) {
    return json_array_get(json_object_get(evaluation, "encoders"), encoder);
}

/* The longest list under `key` of one encoder. */
static size_t longest_list(const plot_subject *s, size_t encoder, const char *key) {
    size_t most = 0, index;
    json_t *evaluation;
    json_array_foreach((json_t *)(uintptr_t)s->history, index, evaluation) {
        size_t size = json_array_size(json_object_get(encoder_of(evaluation, encoder), key));
        most = size > most ? size : most;
    }
    return most;
}

/* How many encoders there is something to draw of. */
static size_t encoders_of(const plot_subject *s) {
    size_t count = 0;
    while (count < PARTITION_PORTIONS_MAX && longest_list(s, count, "bins") > 0 && longest_list(s, count, "ones") > 0) {
        count++;
    }
    return count;
}

static size_t classes_of(const json_t *metrics) {
    return json_array_size(json_object_get(metrics, "confusion"));
}

static size_t bins_of(const json_t *metrics) {
    return json_array_size(json_object_get(metrics, "reliability"));
}

/* Whether there is anything to draw of the metrics of one split; they are not trusted: what is no number is 0. */
static bool has_classes(const json_t *metrics) {
    size_t classes = classes_of(metrics), bins = bins_of(metrics);
    return classes >= 2 && classes <= CLASSES_MAX && bins >= 1 && bins <= BINS_MAX;
}

size_t plot_files(const plot_subject *s) {
    size_t encoders = encoders_of(s);
    return (encoders > 0 ? FIRST_ENCODER + encoders : DISTANCE) - (has_classes(s->metrics) ? 0 : BY_CLASS);
}

static void name_of(size_t kind, char name[PLOT_NAME_MAX]) {
    static const char *const names[] = {"accuracy", "loss", "confusion", "reliability", "distance"};
    if (kind < FIRST_ENCODER) {
        snprintf(name, PLOT_NAME_MAX, "%s.svg", names[kind]);
    } else {
        snprintf(name, PLOT_NAME_MAX, "encoder-%zu.svg", kind - FIRST_ENCODER);
    }
}

void plot_file_name(const plot_subject *s, size_t index, char name[PLOT_NAME_MAX]) {
    name_of(index + (index < CONFUSION || has_classes(s->metrics) ? 0 : BY_CLASS), name);
}

static void put_number(FILE *to, double value) {
    if (isfinite(value)) {
        fprintf(to, " %.9g", value);
    } else {
        fputs(" NaN", to);
    }
}

/* The block $evaluations: epoch, the accuracies, loss, then each encoder's distance. */
static void put_evaluations(FILE *to, const plot_subject *s, const curve curves[CURVES]) {
    size_t encoders = encoders_of(s), index;
    json_t *evaluation;
    fputs("$evaluations << END\n", to);
    json_array_foreach((json_t *)(uintptr_t)s->history, index, evaluation) {
        put_number(to, epoch_of(evaluation));
        for (int i = 0; i < CURVES; i++) {
            put_number(to, number_of(evaluation, curves[i].key));
        }
        put_number(to, number_of(evaluation, "loss"));
        for (size_t k = 0; k < encoders; k++) {
            put_number(to, number_of(encoder_of(evaluation, k), "distance"));
        }
        fputc('\n', to);
    }
    fputs("END\n", to);
}

/* Cells of a map: an evaluation reaches from the one before to its own epoch; number i of `key`'s list from i to
 * i + 1, coloured by its share of `whole`. */
static void put_cells(FILE *to, const plot_subject *s, size_t encoder, const char *key, const char *block,
                      double (*whole)(const json_t *encoder)) {
    double before = 0;
    size_t index;
    json_t *evaluation;
    fprintf(to, "$%s << END\n", block);
    json_array_foreach((json_t *)(uintptr_t)s->history, index, evaluation) {
        const json_t *described = encoder_of(evaluation, encoder), *list = json_object_get(described, key);
        double epoch = epoch_of(evaluation), all = whole(described);
        for (size_t i = 0; i < json_array_size(list) && isfinite(epoch); i++) {
            double share = all > 0 ? json_number_value(json_array_get(list, i)) / all : 0;
            fprintf(to, "%.9g %zu %.9g %.9g %zu %zu %.9g\n", epoch, i, before, epoch, i, i + 1, share);
        }
        before = isfinite(epoch) ? epoch : before;
    }
    fputs("END\n", to);
}

static double outputs_of(const json_t *encoder) {
    const json_t *bins = json_object_get(encoder, "bins");
    double sum = 0;
    for (size_t i = 0; i < json_array_size(bins); i++) {
        sum += json_number_value(json_array_get(bins, i));
    }
    return sum;
}

static double samples_of(const json_t *encoder) {
    size_t bits = json_array_size(json_object_get(encoder, "ones"));
    return bits > 0 ? outputs_of(encoder) / (double)bits : 0;
}

static double last_epoch_of(const plot_subject *s) {
    double last = epoch_of(json_array_get(s->history, json_array_size(s->history) - 1));
    return isfinite(last) && last > 0 ? last : 1;
}

static void start_file(FILE *to, const char *folder, size_t kind, unsigned height) {
    char name[PLOT_NAME_MAX], path[4096];
    name_of(kind, name);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fprintf(to, "reset\nset terminal svg size 800,%u noenhanced font 'sans-serif,13' background 'white'\nset output ",
            height);
    gnuplot_put_quoted(to, path);
    fputs("\nset xlabel 'epoch'\nset border 3\nset tics nomirror out\n", to);
}

static void put_title(FILE *to, const plot_subject *s, const char *what) {
    char title[sizeof s->experiment->name + sizeof s->experiment->title + 4];
    snprintf(title, sizeof title, "%s%s%s", s->experiment->name, s->experiment->title[0] ? ", " : "",
             s->experiment->title);
    fputs("set title ", to);
    gnuplot_put_quoted(to, title);
    fputs(".\"\\n\".", to);
    gnuplot_put_quoted(to, what);
    fputc('\n', to);
}

static bool has_curve(const plot_subject *s, const curve *c) {
    size_t index;
    json_t *evaluation;
    json_array_foreach((json_t *)(uintptr_t)s->history, index, evaluation) {
        if (isfinite(number_of(evaluation, c->key))) {
            return true;
        }
    }
    return false;
}

static void put_accuracy(FILE *to, const plot_subject *s, const char *folder, const curve curves[CURVES]) {
    start_file(to, folder, ACCURACY, 480);
    put_title(to, s, "accuracy");
    fputs("set ylabel 'correct, %'\nset yrange [0:100]\nset grid y lc rgb '#dddddd'\nset key bottom right\n", to);
    fprintf(to, "set xrange [0:%.9g]\n", last_epoch_of(s));
    const char *before = "plot ";
    for (int i = 0; i < CURVES; i++) {
        if (!has_curve(s, &curves[i])) {
            continue;
        }
        fprintf(to, "%s$evaluations using 1:%d with linespoints lw 2 pt 7 ps 0.4 lc rgb '%s' title '%s'", before, i + 2,
                curves[i].colour, curves[i].title);
        before = ", \\\n  ";
        if (curves[i].paper > 0) {
            fprintf(to, "%s%.9g with lines dt 3 lc rgb '%s' title '%s, in the paper'", before, (double)curves[i].paper,
                    curves[i].colour, curves[i].title);
        }
    }
    fputc('\n', to);
}

static void put_loss(FILE *to, const plot_subject *s, const char *folder) {
    start_file(to, folder, LOSS, 480);
    put_title(to, s, "training loss");
    fputs("set ylabel 'mean loss'\nset yrange [0:*]\nset grid y lc rgb '#dddddd'\n", to);
    fprintf(to, "set xrange [0:%.9g]\n", last_epoch_of(s));
    fprintf(to, "plot $evaluations using 1:%d with linespoints lw 2 pt 7 ps 0.4 lc rgb '#444444' notitle\n",
            LOSS_COLUMN);
}

/* By its portion; of more encoders than there are, which a tampered result may have, by its number. */
static const char *name_encoder(const plot_subject *s, size_t k, char name[ENCODER_MAX]) {
    if (k < s->experiment->portion_count) {
        snprintf(name, ENCODER_MAX, "encoder %s", s->experiment->portions[k].name);
    } else {
        snprintf(name, ENCODER_MAX, "encoder %zu", k);
    }
    return name;
}

static void put_distance(FILE *to, const plot_subject *s, const char *folder) {
    start_file(to, folder, DISTANCE, 480);
    put_title(to, s, "how far soft outputs are from bits");
    fputs("set ylabel 'mean distance to the nearest bit'\nset yrange [0:0.5]\nset grid y lc rgb '#dddddd'\n", to);
    fprintf(to, "set xrange [0:%.9g]\nset key outside right\n", last_epoch_of(s));
    const char *before = "plot ";
    for (size_t k = 0; k < encoders_of(s); k++) {
        char name[ENCODER_MAX];
        fprintf(to, "%s$evaluations using 1:%zu with linespoints lw 2 pt 7 ps 0.4 title ", before, k + LOSS_COLUMN + 1);
        gnuplot_put_quoted(to, name_encoder(s, k, name));
        before = ", \\\n  ";
    }
    fputc('\n', to);
}

static double number_at(const json_t *list, size_t index) {
    return json_number_value(json_array_get(list, index));
}

/* The confusion matrix. */

/* The block $confusion: column, row (downwards), the cell's corners, its share of the class, its count. */
static void put_matrix(FILE *to, const json_t *metrics) {
    size_t classes = classes_of(metrics);
    fputs("$confusion << END\n", to);
    for (size_t truth = 0; truth < classes; truth++) {
        const json_t *row = json_array_get(json_object_get(metrics, "confusion"), truth);
        double whole = 0;
        for (size_t taken = 0; taken < classes; taken++) {
            whole += number_at(row, taken);
        }
        for (size_t taken = 0; taken < classes; taken++) {
            double count = number_at(row, taken);
            fprintf(to, "%zu.5 %zu.5 %zu %zu %zu %zu %.9g %.0f\n", taken, truth, taken, taken + 1, truth, truth + 1,
                    whole > 0 ? count / whole : 0, count);
        }
    }
    fputs("END\n", to);
}

/* Of many classes not all are named. Columns are numbers, rows have names too. */
static void put_class_tics(FILE *to, size_t classes, const json_t *names) {
    size_t step = (classes + TICS_MAX - 1) / TICS_MAX;
    fprintf(to, "set xtics nomirror out%s (", classes > 12 ? " font ',9'" : "");
    for (size_t c = 0; c < classes; c += step) {
        fprintf(to, "%s'%zu' %zu.5", c ? ", " : "", c, c);
    }
    fputs(")\nset ytics nomirror out (", to);
    for (size_t c = 0; c < classes; c += step) {
        char label[CLASS_LABEL_MAX];
        class_label(label, c, names);
        fputs(c ? ", " : "", to);
        gnuplot_put_quoted(to, label);
        fprintf(to, " %zu.5", c);
    }
    fputs(")\n", to);
}

/* A row a class, a column what its samples were taken for; coloured by the share of the class. */
static void put_confusion(FILE *to, const json_t *metrics, const json_t *names) {
    size_t classes = classes_of(metrics);
    put_matrix(to, metrics);
    fputs("set xlabel 'taken for'\nset ylabel 'class'\nunset key\nset rmargin at screen 0.84\n", to);
    fprintf(to, "set xrange [0:%zu]\nset yrange [%zu:0]\n", classes, classes);
    put_class_tics(to, classes, names);
    fputs("set style fill solid noborder\nset cblabel 'share of the class'\nset cbrange [0:1]\n"
          /* by its root, or what is rare were white */
          "set cbtics ('0' 0, '1 %%' 0.1, '5 %%' sqrt(0.05), '25 %%' 0.5, '50 %%' sqrt(0.5), '100 %%' 1)\n"
          "set palette defined (0 '#ffffff', 0.25 '#9ecae1', 0.6 '#2171b5', 1 '#08203f')\n"
          "plot $confusion using 1:2:3:4:5:6:(sqrt($7)) with boxxyerror fc palette",
          to);
    if (classes <= COUNTS_MAX) {
        fputs(", \\\n  $confusion using 1:2:(sprintf('%.0f', $8)):($7 > 0.2 ? 0xffffff : 0x444444) with labels font "
              "',10' tc rgb variable",
              to);
    }
    fputc('\n', to);
}

/* The reliability diagram. */

/* The block $bins: from, to, the share that is right, the mean confidence, the bin's share of all. An empty bin has no
 * line. */
static void put_bins(FILE *to, const json_t *metrics) {
    const json_t *list = json_object_get(metrics, "reliability");
    size_t bins = bins_of(metrics);
    double all = json_number_value(json_object_get(metrics, "samples"));
    fputs("$bins << END\n0 0 0 NaN 0\n", to); /* never without a line */
    for (size_t i = 0; i < bins; i++) {
        const json_t *bin = json_array_get(list, i);
        double samples = json_number_value(json_object_get(bin, "samples"));
        if (samples > 0) {
            fprintf(to, "%.9g %.9g %.9g %.9g %.9g\n", (double)i / (double)bins, (double)(i + 1) / (double)bins,
                    json_number_value(json_object_get(bin, "correct")) / samples,
                    json_number_value(json_object_get(bin, "confidence")), all > 0 ? samples / all : 0);
        }
    }
    fputs("END\n", to);
}

/* How much is right of the answers of each confidence, and how many these are. */
static void put_reliability(FILE *to, const json_t *metrics) {
    put_bins(to, metrics);
    fputs("set multiplot layout 2,1\nset lmargin at screen 0.12\nset rmargin at screen 0.96\nset style fill solid 0.7 "
          "border "
          "lc rgb '#ffffff'\nset key top left\nset xrange [0:1]\nset yrange [0:1]\nset grid y lc rgb '#dddddd'\n"
          "set xlabel 'confidence'\nset ylabel 'share that is right'\n"
          "plot $bins using (($1 + $2) / 2):3:1:2:(0):3 with boxxyerror lc rgb '#1f77b4' notitle, \\\n"
          "  x with lines dt 3 lw 2 lc rgb '#444444' title 'as it should be', \\\n"
          "  $bins using 4:3 with points pt 7 ps 0.7 lc rgb '#ff7f0e' title 'at the mean confidence of a bin'\n"
          "unset title\nunset key\nset yrange [0:*]\nset ylabel 'share of all samples'\n"
          "plot $bins using (($1 + $2) / 2):5:1:2:(0):5 with boxxyerror lc rgb '#888888'\nunset multiplot\n",
          to);
}

static void put_by_class(FILE *to, const plot_subject *s, const char *folder) {
    char what[96];
    start_file(to, folder, CONFUSION, 720);
    snprintf(what, sizeof what, "what the %s are taken for", s->samples);
    put_title(to, s, what);
    put_confusion(to, s->metrics, s->names);
    start_file(to, folder, RELIABILITY, 720);
    snprintf(what, sizeof what, "reliability on the %s, calibration error %.2f %%", s->samples,
             100 * json_number_value(json_object_get(s->metrics, "calibration_error")));
    put_title(to, s, what);
    put_reliability(to, s->metrics);
}

/* Two maps over the epochs: where the outputs lie, and how often each bit is 1. */
static void put_encoder(FILE *to, const plot_subject *s, const char *folder, size_t k) {
    char name[ENCODER_MAX], what[ENCODER_MAX + 32];
    size_t bins = longest_list(s, k, "bins"), bits = longest_list(s, k, "ones");
    put_cells(to, s, k, "bins", "bins", outputs_of);
    put_cells(to, s, k, "ones", "ones", samples_of);
    start_file(to, folder, FIRST_ENCODER + k, 720);
    fprintf(to,
            "set multiplot layout 2,1\nset lmargin at screen 0.1\nset rmargin at screen 0.84\nset xrange [0:%.9g]\nset "
            "style fill solid noborder\nunset key\n",
            last_epoch_of(s));
    snprintf(what, sizeof what, "soft outputs of %s", name_encoder(s, k, name));
    put_title(to, s, what);
    fprintf(to,
            "set ylabel 'soft output'\nset yrange [0:%zu]\nset ytics ('0' 0, '0.25' %.9g, '0.5' %.9g, '0.75' %.9g, '1' "
            "%zu)\n",
            bins, 0.25 * (double)bins, 0.5 * (double)bins, 0.75 * (double)bins, bins);
    fputs("set cblabel 'share of outputs'\nset cbrange [0:1]\n" /* by its root, or all but the ends were white */
          "set cbtics ('0' 0, '1 %%' 0.1, '5 %%' sqrt(0.05), '10 %%' sqrt(0.1), '25 %%' 0.5, '50 %%' sqrt(0.5), '100 "
          "%%' 1)\n"
          "set palette defined (0 '#ffffff', 0.25 '#9ecae1', 0.6 '#2171b5', 1 '#08203f')\n"
          "plot $bins using 1:2:3:4:5:6:(sqrt($7)) with boxxyerror fc palette\n",
          to);
    fputs("set title 'how often each bit is 1'\nset ylabel 'bit'\nunset ytics\n", to);
    fprintf(to, "set yrange [0:%zu]\nset ytics nomirror out (", bits);
    for (size_t bit = 0; bit<bits; bit += bits> 32 ? 4 : 1) {
        fprintf(to, "%s'%zu' %zu.5", bit ? ", " : "", bit, bit);
    }
    fputs(")\nset cblabel 'share of samples'\nset cbtics ('0' 0, '25 %%' 0.25, '50 %%' 0.5, '75 %%' 0.75, '100 %%' 1)\n"
          "set palette defined (0 '#2166ac', 0.5 '#f7f7f7', 1 '#b2182b')\n"
          "plot $ones using 1:2:3:4:5:6:7 with boxxyerror fc palette\nunset multiplot\n",
          to);
}

void plot_script_write(FILE *to, const plot_subject *s, const char *folder) {
    const experiment *e = s->experiment;
    bool is_rounded = !experiment_is_classifier_alone(e);
    const curve curves[CURVES] = {
        {"train_accuracy", "training", "#1f77b4", e->paper.train},
        {"soft_accuracy", is_rounded ? "soft test" : "test", "#ff7f0e", e->paper.soft},
        {"rounded_accuracy", "rounded test", "#2ca02c", e->paper.rounded},
        {"soft_validation_accuracy", "soft validation", "#9467bd", 0},
        {"validation_accuracy", is_rounded ? "rounded validation" : "validation", "#8c564b", 0},
    };
    put_evaluations(to, s, curves);
    put_accuracy(to, s, folder, curves);
    put_loss(to, s, folder);
    if (has_classes(s->metrics)) {
        put_by_class(to, s, folder);
    }
    if (encoders_of(s) > 0) {
        put_distance(to, s, folder);
    }
    for (size_t k = 0; k < encoders_of(s); k++) {
        put_encoder(to, s, folder, k);
    }
}
