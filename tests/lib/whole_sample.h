/* Asking an engine about a whole sample, divided as its partition says. */
#ifndef FEWBIT_TESTS_LIB_WHOLE_SAMPLE_H
#define FEWBIT_TESTS_LIB_WHOLE_SAMPLE_H

#include "data/partition.h"
#include "decoder_server/serve/engine.h"

static inline void classify_whole(engine *e, uint64_t request, const partition *s, const uint8_t *sample,
                                  uint64_t now_ns) {
    static uint8_t pieces[PARTITION_ELEMENTS_MAX];
    question_portion portions[PARTITION_PORTIONS_MAX];
    size_t length = partition_portion_elements(s);
    for (uint32_t k = 0; k < s->portions; k++) {
        partition_take(s, k, sample, pieces + k * length);
        portions[k] = (question_portion){pieces + k * length, length, FEWBIT__PORTION_FORMAT__FORMAT_RAW};
    }
    engine_classify(e, request, &(question){.portions = portions}, now_ns);
}

#endif
