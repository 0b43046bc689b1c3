/* The gnuplot script that draws a run. Knows no file but those it names. */
#ifndef FEWBIT_CLI_PLOT_PLOT_SCRIPT_H
#define FEWBIT_CLI_PLOT_PLOT_SCRIPT_H

#include "cli/plot/gnuplot.h"
#include "experiment/experiment.h"

#include <jansson.h>

enum { PLOT_NAME_MAX = GNUPLOT_NAME_MAX };

/* What is drawn; borrowed. `history` is a list of evaluations, as result.json or manifest.json holds it: at least one;
 * `metrics` are those by class of `samples`, for a title, and `names` those of the classes;
 * NULL: there are none. Nothing is trusted: what is missing or no number is left out. */
typedef struct plot_subject {
    const experiment *experiment;
    const json_t *history, *metrics, *names;
    const char *samples;
} plot_subject;

/* How many files are drawn, and the name of one: accuracy.svg, loss.svg, where there are metrics confusion.svg and
 * reliability.svg, where there are histograms distance.svg, encoder-0.svg, encoder-1.svg, … */
size_t plot_files(const plot_subject *s);
void plot_file_name(const plot_subject *s, size_t index, char name[PLOT_NAME_MAX]);

/* Writes the script that draws them all in `folder`. */
void plot_script_write(FILE *to, const plot_subject *s, const char *folder);

#endif
