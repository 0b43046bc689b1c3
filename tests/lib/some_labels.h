/* Labels of a few samples that nobody looks at: a run has to be of some data. */
#ifndef FEWBIT_TESTS_LIB_SOME_LABELS_H
#define FEWBIT_TESTS_LIB_SOME_LABELS_H

#include "data/labels.h"
#include "experiment/derive.h"
#include "experiment/experiment.h"

#include "tests/lib/portion_info.h"

#include <string.h>

static inline const labels *some_labels(const experiment *e) {
    static labels_portion *portions;
    static uint8_t values[8] = {0, 1, 0, 1, 0, 1, 0, 1};
    static labels l;
    free(portions);
    portions = some_labels_portions(e->dataset.portions);
    l = (labels){.samples = {8, 8},
                 .values = {values, values},
                 .has_partition = true,
                 .portions = portions,
                 .portion_count = e->dataset.portions};
    snprintf(l.dataset, sizeof l.dataset, "%s", e->dataset.name);
    uint32_t classes = 10;
    experiment_partition(e, &l.partition, &classes);
    l.classes = some_class_names(classes);
    return &l;
}

#endif
