#include "cli/packing/pack_order.h"

#include <stdlib.h>

static err take_ids(pack_order *o, const pack_samples *s) {
    const char **texts = calloc(s->count, sizeof *texts);
    if (!texts) {
        return err_fail(ERR_MEMORY, "%s: no memory for so many samples", s->paths[0]);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        texts[i] = pack_samples_id(s, o->list[i]);
    }
    const char *const *const splits[] = {texts, texts + o->samples[DATASET_TRAIN]};
    err e = sample_ids_new(&o->ids, splits, o->samples);
    free(texts);
    return e;
}

err pack_order_make(pack_order *o, const pack_samples *s, const uint32_t counts[PACK_PARTS]) {
    uint32_t next[PACK_PARTS] = {0, counts[PACK_TRAIN], counts[PACK_TRAIN] + counts[PACK_VALIDATION]};
    *o = (pack_order){.samples = {next[PACK_TEST], counts[PACK_TEST]}, .validation = counts[PACK_VALIDATION]};
    o->list = calloc(s->count, sizeof *o->list);
    if (!o->list) {
        return err_fail(ERR_MEMORY, "%s: no memory for so many samples", s->paths[0]);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        o->list[next[pack_samples_get(s, i)->part]++] = i;
    }
    return take_ids(o, s);
}

void pack_order_free(pack_order *o) {
    free(o->list);
    sample_ids_free(o->ids);
}
