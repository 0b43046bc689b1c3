/* The rate-accuracy plot: accuracy of sweeps against bits a sample, with the paper's points. */
#ifndef FEWBIT_CLI_PLOT_RATE_ACCURACY_H
#define FEWBIT_CLI_PLOT_RATE_ACCURACY_H

#include "base/err.h"

enum { RATE_ACCURACY_SWEEPS_MAX = 16 };

/* Draws `to`/rate-accuracy.svg from each folder's sweep.json, all of one data set. The paper's points are those of the
 * experiment files in the folder `experiments` of that data set. */
err rate_accuracy_draw(const char *const *sweeps, size_t count, const char *experiments, const char *to);

#endif
