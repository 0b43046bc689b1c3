/* What a portion split off MNIST says of itself, and what labels say of such portions. */
#ifndef FEWBIT_TESTS_LIB_PORTION_INFO_H
#define FEWBIT_TESTS_LIB_PORTION_INFO_H

#include "data/labels.h"
#include "data/portion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline portion_info info_of_portion(partition of, uint32_t index, uint32_t train, uint32_t test) {
    portion_info info = {.dataset = "mnist",
                         .shape = partition_shape_of_portions(&of),
                         .samples = {train, test},
                         .has_partition = true,
                         .partition = of,
                         .index = index};
    snprintf(info.name, sizeof info.name, "%u", index);
    return info;
}

/* `classes` of them, named "0", "1", ... */
static inline class_names some_class_names(uint32_t classes) {
    class_names c = {.count = classes};
    for (uint32_t i = 0; i < classes; i++) {
        snprintf(c.names[i], sizeof c.names[i], "%u", i);
    }
    return c;
}

/* Portions "0", "1", ..., each with a digest of its own of one digit; NULL where there is no memory. */
static inline labels_portion *some_labels_portions(uint32_t count) {
    labels_portion *portions = calloc(count, sizeof *portions);
    for (uint32_t k = 0; portions && k < count; k++) {
        snprintf(portions[k].name, sizeof portions[k].name, "%u", k);
        memset(portions[k].digest, 'a' + (int)(k % 6), SHA256_HEX - 1);
    }
    return portions;
}

#endif
