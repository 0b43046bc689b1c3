#include "cli/plot/class_plots.h"

#include "cli/class_label.h"
#include "cli/plot/gnuplot.h"

enum { CLASSES_MAX = 256, COUNTS_MAX = 20, TICS_MAX = 32, BINS_MAX = 100 };

static double number_at(const json_t *list, size_t index) {
    return json_number_value(json_array_get(list, index));
}

static size_t classes_of(const json_t *metrics) {
    return json_array_size(json_object_get(metrics, "confusion"));
}

static size_t bins_of(const json_t *metrics) {
    return json_array_size(json_object_get(metrics, "reliability"));
}

bool class_plots_has(const json_t *metrics) {
    size_t classes = classes_of(metrics), bins = bins_of(metrics);
    return classes >= 2 && classes <= CLASSES_MAX && bins >= 1 && bins <= BINS_MAX;
}

/* The confusion matrix. */

/* The block $confusion: column, row (downwards), the cell's corners, its share of the class, its count. */
static void put_cells(FILE *to, const json_t *metrics) {
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
static void put_tics(FILE *to, size_t classes, const json_t *names) {
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

void class_plots_put_confusion(FILE *to, const json_t *metrics, const json_t *names) {
    size_t classes = classes_of(metrics);
    put_cells(to, metrics);
    fputs("set xlabel 'taken for'\nset ylabel 'class'\nunset key\nset rmargin at screen 0.84\n", to);
    fprintf(to, "set xrange [0:%zu]\nset yrange [%zu:0]\n", classes, classes);
    put_tics(to, classes, names);
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

void class_plots_put_reliability(FILE *to, const json_t *metrics) {
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
