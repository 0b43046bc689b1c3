#include "cli/packing/pack_parts.h"

#include <math.h>
#include <stdlib.h>

enum { HASHED_BYTES = 8 };

err pack_parts_parse_share(const char *text, double *share) {
    char *end;
    double percent = strtod(text, &end);
    bool is_percent = end > text && end == text + strspn(text, "0123456789.") && strcmp(end, "%") == 0;
    if (!is_percent || !(percent >= 0 && percent < 100)) {
        return err_fail(ERR_USAGE, "'%.40s' is no share from 0%% to below 100%%, such as 20%%", text);
    }
    *share = percent / 100;
    return ERR_OK;
}

err pack_parts_hash(const char *id, double *at) {
    static const char salt[] = "fewbit split";
    const file_span spans[] = {{salt, strlen(salt)}, {id, strlen(id)}};
    uint8_t digest[SHA256_BYTES];
    err e = sha256_spans(spans, 2, digest);
    uint64_t number = 0;
    for (uint32_t i = 0; !e && i < HASHED_BYTES; i++) {
        number = number << 8 | digest[i];
    }
    *at = ldexp((double)(number >> 11), -53); /* what a double holds exactly, so that it stays below 1 */
    return e;
}

static err part_of(const pack_parts *p, const pack_samples *s, uint32_t index, pack_part *part) {
    const char *id = pack_samples_id(s, index);
    double at = 1, test = s->paths[1] || p->test_ids ? 0 : p->test, validation = p->validation_ids ? 0 : p->validation;
    err e = test + validation > 0 ? pack_parts_hash(id, &at) : ERR_OK;
    bool is_test =
        pack_samples_get(s, index)->is_of_test_file || at < test || (p->test_ids && id_list_has(p->test_ids, id));
    bool is_validation = at < test + validation || (p->validation_ids && id_list_has(p->validation_ids, id));
    *part = is_test ? PACK_TEST : is_validation ? PACK_VALIDATION : PACK_TRAIN;
    return e;
}

err pack_parts_assign(const pack_parts *p, pack_samples *s, uint32_t counts[PACK_PARTS]) {
    memset(counts, 0, PACK_PARTS * sizeof *counts);
    for (uint32_t i = 0; i < s->count; i++) {
        pack_part *part = &pack_samples_get(s, i)->part;
        err e = part_of(p, s, i, part);
        if (e) {
            return e;
        }
        counts[*part]++;
    }
    const char *none = counts[PACK_TRAIN] == 0 ? "training" : counts[PACK_TEST] == 0 ? "test" : NULL;
    return none ? err_fail(ERR_INPUT, "%s: no %s samples among %u", s->paths[0], none, s->count) : ERR_OK;
}

/* The order. */

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
