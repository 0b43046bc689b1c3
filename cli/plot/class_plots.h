/* The gnuplot commands that draw a training's metrics by class: the confusion matrix as a map, and the reliability
 * diagram. Title, output and terminal are set before. */
#ifndef FEWBIT_CLI_PLOT_CLASS_PLOTS_H
#define FEWBIT_CLI_PLOT_CLASS_PLOTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* `metrics` is of one split, as train/class_metrics.h says, `names` a list of the classes' names, or NULL: they are
 * numbers then. Neither is trusted: what is no number is 0. Whether there is anything to draw of it. */
bool class_plots_has(const json_t *metrics);

/* A row a class, a column what its samples were taken for; coloured by the share of the class. */
void class_plots_put_confusion(FILE *to, const json_t *metrics, const json_t *names);

/* How much is right of the answers of each confidence, and how many these are. */
void class_plots_put_reliability(FILE *to, const json_t *metrics);

#endif
