#include "decoder_server/serve/offered_samples.h"

#include "base/json_writer.h"
#include "data/sample_ids.h"

#include <stdlib.h>

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool has(const struct offered_list *l, const char *id) {
    return bsearch(&id, l->ids, l->count, sizeof *l->ids, compare) != NULL;
}

void offered_samples_forget(offered_samples *o, uint32_t portion) {
    free(o->of[portion].ids);
    o->of[portion] = (struct offered_list){0};
}

void offered_samples_free(offered_samples *o) {
    for (uint32_t k = 0; k < CODEWORD_PORTIONS_MAX; k++) {
        offered_samples_forget(o, k);
    }
}

static err check(const Fewbit__Ready *r, size_t *bytes) {
    if (r->n_samples > MESSAGE_OFFERED_MAX) {
        return err_fail(ERR_INPUT, "it offers %zu samples, more than %d", r->n_samples, MESSAGE_OFFERED_MAX);
    }
    *bytes = r->n_samples * sizeof(char *);
    for (size_t i = 0; i < r->n_samples; i++) {
        if (!sample_id_is_valid(r->samples[i])) {
            return err_fail(ERR_INPUT, "sample %zu of those that it offers is no id", i);
        }
        *bytes += strlen(r->samples[i]) + 1;
    }
    return ERR_OK;
}

static void drop_twins(struct offered_list *l) {
    uint32_t kept = 0;
    qsort(l->ids, l->count, sizeof *l->ids, compare);
    for (uint32_t i = 0; i < l->count; i++) {
        if (kept == 0 || strcmp(l->ids[kept - 1], l->ids[i]) != 0) {
            l->ids[kept++] = l->ids[i];
        }
    }
    l->count = kept;
}

err offered_samples_set(offered_samples *o, uint32_t portion, const Fewbit__Ready *r) {
    struct offered_list *l = &o->of[portion];
    size_t bytes = 0;
    offered_samples_forget(o, portion);
    err e = check(r, &bytes);
    if (e || r->n_samples == 0) {
        return e;
    }
    l->ids = malloc(bytes);
    if (!l->ids) {
        return err_fail(ERR_MEMORY, "no memory for ids of samples");
    }
    char *at = (char *)(l->ids + r->n_samples);
    for (size_t i = 0; i < r->n_samples; i++) {
        size_t length = strlen(r->samples[i]) + 1;
        l->ids[i] = memcpy(at, r->samples[i], length);
        at += length;
    }
    l->count = (uint32_t)r->n_samples;
    drop_twins(l);
    return ERR_OK;
}

static bool is_everywhere(const offered_samples *o, const char *id) {
    for (uint32_t k = 0; k < CODEWORD_PORTIONS_MAX; k++) {
        if (o->of[k].count > 0 && !has(&o->of[k], id)) {
            return false;
        }
    }
    return true;
}

void offered_samples_write(const offered_samples *o, dynbuf *to) {
    json_writer w = json_writer_make(to);
    uint32_t first = 0;
    while (first + 1 < CODEWORD_PORTIONS_MAX && o->of[first].count == 0) {
        first++;
    }
    json_writer_object(&w, NULL);
    json_writer_array(&w, "samples");
    for (uint32_t i = 0; i < o->of[first].count; i++) {
        if (is_everywhere(o, o->of[first].ids[i])) {
            json_writer_string(&w, NULL, o->of[first].ids[i]);
        }
    }
    json_writer_end_array(&w);
    json_writer_end_object(&w);
}
