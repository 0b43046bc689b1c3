/* Drawing with gnuplot: a script, run in a temporary folder; its files get their places once all are drawn. */
#ifndef FEWBIT_CLI_PLOT_GNUPLOT_H
#define FEWBIT_CLI_PLOT_GNUPLOT_H

#include "base/err.h"

#include <stdio.h>

enum { GNUPLOT_NAME_MAX = 40 };

/* Borrowed for the call. */
typedef struct gnuplot_job {
    const void *context;
    void (*write)(FILE *to, const void *context, const char *folder); /* the script that draws all files in `folder` */
    size_t files;
    void (*name)(const void *context, size_t index, char name[GNUPLOT_NAME_MAX]); /* of a file, from 0 */
} gnuplot_job;

/* Makes the folder `to` where it is missing, draws, and prints each file's path. On failure none of them is there
 * that was not there before. ERR_NOT_FOUND where there is no gnuplot. */
err gnuplot_draw(const gnuplot_job *job, const char *to);

/* An expression for text, in gnuplot's single quotes, where nothing is special but the quote itself. */
void gnuplot_put_quoted(FILE *to, const char *text);

#endif
