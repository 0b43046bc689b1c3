#include "cli/packing/pack_samples.h"

#include "base/interrupt.h"
#include "data/sample_ids.h"

#include <stdio.h>
#include <stdlib.h>

void pack_samples_init(pack_samples *s) {
    *s = (pack_samples){.texts = dynbuf_make(PACK_BYTES_MAX),
                        .list = dynbuf_make(PACK_SAMPLES_MAX * sizeof(pack_sample)),
                        .values = dynbuf_make(PACK_BYTES_MAX)};
}

void pack_samples_free(pack_samples *s) {
    dynbuf_free(&s->texts);
    dynbuf_free(&s->list);
    dynbuf_free(&s->values);
}

const char *pack_samples_path(const pack_samples *s) {
    return s->paths[s->is_of_test_file];
}

static size_t add_text(pack_samples *s, const char *text) {
    size_t at = s->texts.length;
    dynbuf_add(&s->texts, text, strlen(text) + 1);
    return at;
}

static err refuse_id(const pack_samples *s, const char *id, uint32_t line) {
    err_fail(ERR_INPUT, "'%.70s' is no id: 1 to %d bytes of UTF-8 without control characters", id, SAMPLE_ID_MAX);
    return line > 0 ? err_prefix(ERR_INPUT, "%s: line %u", pack_samples_path(s), line)
                    : err_prefix(ERR_INPUT, "%s", pack_samples_path(s));
}

err pack_samples_add(pack_samples *s, const char *id, const char *class_name, uint32_t line) {
    char counted[32];
    err e = interrupt_check();
    if (e) {
        return e;
    }
    if (!id && s->ids && s->count == s->id_count) {
        return err_fail(ERR_INPUT, "--ids: has only %u ids, there are more samples", s->id_count);
    }
    if (!id && !s->ids) {
        const char *before = !s->paths[1] ? "" : s->is_of_test_file ? "test-" : "train-";
        snprintf(counted, sizeof counted, "%s%u", before, s->count - (s->is_of_test_file ? s->first_count : 0));
    }
    id = id ? id : s->ids ? s->ids[s->count] : counted;
    if (!sample_id_is_valid(id)) {
        return refuse_id(s, id, line);
    }
    pack_sample sample = {.line = line, .is_of_test_file = s->is_of_test_file, .class_name = PACK_NO_CLASS};
    sample.id = add_text(s, id);
    if (class_name) {
        sample.class_name = add_text(s, class_name);
    }
    dynbuf_add(&s->list, &sample, sizeof sample);
    if (s->list.has_failed || s->texts.has_failed) {
        return err_fail(ERR_MEMORY, "%s: no memory for so many samples", pack_samples_path(s));
    }
    s->count++;
    s->first_count += !s->is_of_test_file;
    return ERR_OK;
}

err pack_samples_set_shape(pack_samples *s, const portion_shape *shape) {
    char text[PORTION_SHAPE_TEXT], before[PORTION_SHAPE_TEXT];
    if (s->shape.rank == 0) {
        s->shape = *shape;
        return portion_shape_check(shape) ? err_prefix(ERR_INPUT, "%s", pack_samples_path(s)) : ERR_OK;
    }
    return portion_shape_equals(&s->shape, shape)
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: has %s, the samples before %s", pack_samples_path(s),
                          portion_shape_text(shape, text), portion_shape_text(&s->shape, before));
}

void *pack_samples_values(pack_samples *s) {
    size_t bytes = portion_shape_bytes(&s->shape);
    char *to = dynbuf_room(&s->values, bytes);
    if (to) {
        dynbuf_commit(&s->values, to + bytes);
    }
    return to;
}

/* By id, and of the same id in their order. */
static int compare(const void *a, const void *b, void *samples) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    int order = strcmp(pack_samples_id(samples, left), pack_samples_id(samples, right));
    return order ? order : (left > right) - (left < right);
}

static err check_ids(const pack_samples *s) {
    uint32_t *order = calloc(s->count, sizeof *order), twice = s->count;
    if (!order) {
        return err_fail(ERR_MEMORY, "%s: no memory for the ids of so many samples", s->paths[0]);
    }
    for (uint32_t i = 0; i < s->count; i++) {
        order[i] = i;
    }
    qsort_r(order, s->count, sizeof *order, compare, (void *)(uintptr_t)s);
    for (uint32_t i = 1; i < s->count; i++) {
        bool is_same = strcmp(pack_samples_id(s, order[i - 1]), pack_samples_id(s, order[i])) == 0;
        twice = is_same && order[i] < twice ? order[i] : twice;
    }
    free(order);
    if (twice == s->count) {
        return ERR_OK;
    }
    err_fail(ERR_INPUT, "the id '%s' is there twice", pack_samples_id(s, twice));
    return pack_samples_prefix(s, twice);
}

err pack_samples_check(const pack_samples *s) {
    if (s->values.has_failed) {
        return err_fail(ERR_MEMORY, "%s: no memory for its values, or more than 4 GiB", s->paths[0]);
    }
    if (s->ids && s->count < s->id_count) {
        return err_fail(ERR_INPUT, "--ids: has %u ids, there are %u samples", s->id_count, s->count);
    }
    return s->count > 0 ? check_ids(s) : err_fail(ERR_INPUT, "%s: has no samples", s->paths[0]);
}

bool pack_samples_find_name(const char *const *names, uint32_t count, const char *name, uint32_t *at) {
    uint32_t low = 0, high = count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = strcmp(names[middle], name);
        if (order == 0) {
            *at = middle;
            return true;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    *at = low;
    return false;
}

pack_sample *pack_samples_get(const pack_samples *s, uint32_t index) {
    return (pack_sample *)s->list.bytes + index;
}

const char *pack_samples_id(const pack_samples *s, uint32_t index) {
    return s->texts.bytes + pack_samples_get(s, index)->id;
}

const char *pack_samples_class(const pack_samples *s, uint32_t index) {
    size_t at = pack_samples_get(s, index)->class_name;
    return at == PACK_NO_CLASS ? NULL : s->texts.bytes + at;
}

err pack_samples_prefix(const pack_samples *s, uint32_t index) {
    const pack_sample *sample = pack_samples_get(s, index);
    const char *path = s->paths[sample->is_of_test_file];
    return sample->line > 0 ? err_prefix(ERR_INPUT, "%s: line %u", path, sample->line)
                            : err_prefix(ERR_INPUT, "%s", path);
}
