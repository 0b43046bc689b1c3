#include "experiment/portions.h"

#include "experiment/derive.h"

#include <stdio.h>
#include <string.h>

err experiment_fill_portions(experiment *e) {
    partition s;
    if (experiment_lists_portions(e)) {
        return ERR_OK;
    }
    e->portion_count = 0;
    err failed = experiment_partition(e, &s, NULL);
    if (failed) {
        return failed;
    }
    experiment_portion p = {
        .shape = partition_shape_of_portions(&s), .encoder = e->encoder, .refinement_count = e->refinement.bits_count};
    memcpy(p.refinement, e->refinement.bits, sizeof p.refinement);
    for (; e->portion_count < s.portions; e->portion_count++) {
        snprintf(p.name, sizeof p.name, "%u", e->portion_count);
        e->portions[e->portion_count] = p;
    }
    return ERR_OK;
}

const experiment_portion *experiment_find_portion(const experiment *e, const char *name, uint32_t *number) {
    for (*number = 0; *number < e->portion_count; (*number)++) {
        if (strcmp(e->portions[*number].name, name) == 0) {
            return &e->portions[*number];
        }
    }
    return NULL;
}
