/* The rate-accuracy frontier: what sweeps came to against the bits of a sample, with the paper's points beside. */
#ifndef FEWBIT_CLIENT_FRONTIER_H
#define FEWBIT_CLIENT_FRONTIER_H

#include "base/err.h"

#include <stddef.h>

enum { FRONTIER_SWEEPS_MAX = 16 };

/* Draws `to`/frontier.svg from each folder's sweep.json, all of one data set. The paper's points are those of the
 * experiment files in the folder `experiments` of that data set. */
err frontier_draw(const char *const *sweeps, size_t count, const char *experiments, const char *to);

#endif
