#include "cli/plot/rate_accuracy.h"

#include "base/json.h"
#include "cli/plot/gnuplot.h"
#include "experiment/derive.h"
#include "experiment/load.h"

#include <stdlib.h>
#include <string.h>

enum { TITLE_MAX = 256, SWEEP_MAX = 64 << 20 };

/* A point of ours. Points of one title make a line. */
typedef struct mark {
    char title[TITLE_MAX];
    double bits, mean, least, largest;
} mark;

typedef struct paper_mark {
    double bits, rounded;
    uint32_t row;
} paper_mark;

typedef struct rate_accuracy {
    char set[32];
    const char *measure; /* "rounded_accuracy", or of sweeps that left the test part alone "validation_accuracy" */
    mark *marks;         /* [count], by title and bits */
    size_t count;
    paper_mark *paper; /* [paper_count] */
    size_t paper_count;
} rate_accuracy;

/* A line's title: the sweep's base, and what its group sets beside the bits. */
static void title_of(const char *base, const json_t *settings, char title[TITLE_MAX]) {
    size_t used = (size_t)snprintf(title, TITLE_MAX, "%s", base);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)settings, key, value) {
        const char *text = json_string_value(value);
        if (!text || strcmp(key, "encoder.bits") == 0 || used >= TITLE_MAX) {
            continue;
        }
        bool is_variant = strcmp(key, "variant") == 0;
        used += (size_t)snprintf(title + used, TITLE_MAX - used, ", %s%s%s", is_variant ? "" : key,
                                 is_variant ? "" : " ", text);
    }
}

static err add_group(rate_accuracy *f, const char *base, const json_t *group) {
    const json_t *spread = json_object_get(group, f->measure);
    if (!json_is_object(spread)) {
        return ERR_OK;
    }
    mark *grown = realloc(f->marks, (f->count + 1) * sizeof *grown);
    if (!grown) {
        return err_fail(ERR_MEMORY, "no memory for %zu points", f->count);
    }
    f->marks = grown;
    mark *m = &f->marks[f->count++];
    *m = (mark){.bits = json_number_value(json_object_get(group, "bits")),
                .mean = json_number_value(json_object_get(spread, "mean")),
                .least = json_number_value(json_object_get(spread, "min")),
                .largest = json_number_value(json_object_get(spread, "max"))};
    title_of(base, json_object_get(group, "settings"), m->title);
    return ERR_OK;
}

static err read_sweep(const char *folder, char path[FILE_PATH_MAX], json_t **j) {
    err e = file_path(path, FILE_PATH_MAX, "%s/sweep.json", folder);
    return e ? e : json_read(path, SWEEP_MAX, j);
}

static err take_sweep(rate_accuracy *f, const char *path, const json_t *j) {
    const char *base = json_string_value(json_object_get(j, "base")),
               *set = json_string_value(json_object_get(j, "dataset"));
    const json_t *groups = json_object_get(j, "groups");
    if (!base || !set || strlen(set) >= sizeof f->set || !json_is_array(groups)) {
        return err_fail(ERR_INPUT, "%s: is no table of a sweep", path);
    }
    if (f->set[0] && strcmp(f->set, set) != 0) {
        return err_fail(ERR_INPUT, "%s: is on %s, the sweep before on %s", path, set, f->set);
    }
    strcpy(f->set, set);
    err e = ERR_OK;
    for (size_t i = 0; i < json_array_size(groups) && !e; i++) {
        e = add_group(f, base, json_array_get(groups, i));
    }
    return e;
}

static err add_sweeps(rate_accuracy *f, const char *const *sweeps, size_t count) {
    err e = ERR_OK;
    for (size_t i = 0; i < count && !e; i++) {
        char path[FILE_PATH_MAX];
        json_t *j = NULL;
        size_t before = f->count;
        e = read_sweep(sweeps[i], path, &j);
        e = e ? e : take_sweep(f, path, j);
        json_decref(j);
        bool is_behind_others = i > 0 && before > 0 && f->count == before,
             is_first = i > 0 && before == 0 && f->count > 0;
        if (!e && (is_behind_others || is_first)) {
            e = err_fail(ERR_INPUT, "%s/sweep.json: has no %s, which others have: draw them apart",
                         sweeps[is_first ? 0 : i], f->measure);
        }
    }
    return e;
}

/* By title, then by bits. */
static int compare_marks(const void *a, const void *b) {
    const mark *one = a, *other = b;
    int titles = strcmp(one->title, other->title);
    return titles ? titles : (one->bits > other->bits) - (one->bits < other->bits);
}

/* Of a file that is no experiment nothing is drawn. */
static err add_paper(rate_accuracy *f, const char *folder) {
    glob_t found;
    err e = file_list(folder, "*.yaml", &found);
    f->paper = calloc(found.gl_pathc + 1, sizeof *f->paper);
    for (size_t i = 0; i < found.gl_pathc && f->paper; i++) {
        experiment one;
        if (!experiment_load(found.gl_pathv[i], &one) && one.paper.rounded > 0 &&
            strcmp(one.dataset.name, f->set) == 0) {
            f->paper[f->paper_count++] = (paper_mark){experiment_bits(&one), (double)one.paper.rounded, one.paper.row};
        }
    }
    globfree(&found);
    return e || f->paper ? e : err_fail(ERR_MEMORY, "no memory for the paper's points");
}

/* The script. */

static bool begins_line(const rate_accuracy *f, size_t i) {
    return i == 0 || strcmp(f->marks[i - 1].title, f->marks[i].title) != 0;
}

/* The blocks $line0, $line1, … and $paper. */
static void put_blocks(FILE *to, const rate_accuracy *f) {
    size_t lines = 0;
    for (size_t i = 0; i < f->count; i++) {
        const mark *m = &f->marks[i];
        if (begins_line(f, i)) {
            fprintf(to, "%s$line%zu << END\n", lines ? "END\n" : "", lines);
            lines++;
        }
        fprintf(to, "%.9g %.9g %.9g %.9g\n", m->bits, m->mean, m->least, m->largest);
    }
    fputs("END\n$paper << END\n", to);
    for (size_t i = 0; i < f->paper_count; i++) {
        fprintf(to, "%.9g %.9g %u\n", f->paper[i].bits, f->paper[i].rounded, f->paper[i].row);
    }
    fputs("END\n", to);
}

static void put_plot(FILE *to, const rate_accuracy *f) {
    const char *before = "plot ";
    size_t line = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (begins_line(f, i)) {
            fprintf(to, "%s$line%zu using 1:2:3:4 with yerrorlines lw 2 pt 7 ps 0.6 title ", before, line++);
            gnuplot_put_quoted(to, f->marks[i].title);
            before = ", \\\n  ";
        }
    }
    if (f->paper_count > 0) {
        fprintf(
            to,
            "%s$paper using 1:2 with points pt 6 ps 0.8 lc rgb '#666666' title 'the paper, by row', \\\n  $paper using "
            "1:2:3 with labels font ',9' offset 1.2,0 tc rgb '#666666' notitle",
            before);
    }
    fputc('\n', to);
}

static void write_script(FILE *to, const void *context, const char *folder) {
    const rate_accuracy *f = context;
    char path[FILE_PATH_MAX + GNUPLOT_NAME_MAX];
    snprintf(path, sizeof path, "%s/rate-accuracy.svg", folder);
    put_blocks(to, f);
    fputs("set terminal svg size 800,560 noenhanced font 'sans-serif,13' background 'white'\nset output ", to);
    gnuplot_put_quoted(to, path);
    char title[sizeof f->set + 64];
    snprintf(title, sizeof title, "%s: mean over seeds, least and largest", f->set);
    fputs("\nset title ", to);
    gnuplot_put_quoted(to, title);
    fputc('\n', to);
    fprintf(to,
            "set xlabel 'payload bits a sample'\nset ylabel 'correct, %% of %s, rounded'\nset logscale x 2\n"
            "set offsets graph 0.05, graph 0.05, graph 0.05, graph 0.05\nset border 3\nset tics nomirror out\n"
            "set grid y lc rgb '#dddddd'\nset key bottom right\n",
            strcmp(f->measure, "rounded_accuracy") == 0 ? "test samples" : "samples held back");
    put_plot(to, f);
}

static void name_file(const void *context, size_t index, char name[GNUPLOT_NAME_MAX]) {
    (void)context, (void)index;
    strcpy(name, "rate-accuracy.svg");
}

static err draw(rate_accuracy *f, const char *const *sweeps, size_t count, const char *experiments, const char *to) {
    static const char *const measures[] = {"rounded_accuracy", "validation_accuracy"};
    err e = ERR_OK;
    for (size_t i = 0; i < 2 && !e && f->count == 0; i++) {
        f->measure = measures[i];
        e = add_sweeps(f, sweeps, count);
    }
    if (!e && f->count == 0) {
        e = err_fail(ERR_NOT_FOUND, "%s/sweep.json: has no finished point to draw", sweeps[0]);
    }
    e = e ? e : add_paper(f, experiments);
    if (e) {
        return e;
    }
    qsort(f->marks, f->count, sizeof *f->marks, compare_marks);
    const gnuplot_job job = {f, write_script, 1, name_file};
    return gnuplot_draw(&job, to);
}

err rate_accuracy_draw(const char *const *sweeps, size_t count, const char *experiments, const char *to) {
    rate_accuracy f = {.count = 0};
    err e = draw(&f, sweeps, count, experiments, to);
    free(f.marks);
    free(f.paper);
    return e;
}
