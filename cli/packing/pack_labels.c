#include "cli/packing/pack_labels.h"

#include "cli/packing/pack_folder.h"

#include <stdio.h>
#include <stdlib.h>

static bool is_whole(const char *text) {
    const char *digits = text + (text[0] == '-');
    size_t length = strlen(digits);
    return length > 0 && length <= 18 && digits[strspn(digits, "0123456789")] == '\0';
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_number(const void *a, const void *b) {
    long long left = atoll(*(const char *const *)a), right = atoll(*(const char *const *)b);
    return left != right ? (left > right) - (left < right) : by_bytes(a, b);
}

static err refuse(const pack_samples *s, uint32_t sample, const char *what) {
    err_fail(ERR_INPUT, "sample '%s' %s", pack_samples_id(s, sample), what);
    return pack_samples_prefix(s, sample);
}

/* The classes of the training samples, sorted by their bytes. */
static err collect(const pack_samples *s, const char *list[DATASET_CLASSES_MAX], uint32_t *count) {
    *count = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        const char *name = pack_samples_class(s, i);
        uint32_t at;
        if (!name || name[0] == '\0') {
            return refuse(s, i, "has no class");
        }
        if (!class_name_is_valid(name)) {
            return refuse(s, i, "has a class whose name is not 1 to 63 bytes of UTF-8 without control characters");
        }
        if (pack_samples_get(s, i)->part != PACK_TRAIN || pack_samples_find_name(list, *count, name, &at)) {
            continue;
        }
        if (*count == DATASET_CLASSES_MAX) {
            return err_fail(ERR_INPUT,
                            "%s: has more than %d classes, such as '%s': values are to be made classes before",
                            s->paths[0], DATASET_CLASSES_MAX, name);
        }
        memmove(list + at + 1, list + at, (*count - at) * sizeof *list);
        list[at] = name;
        ++*count;
    }
    return ERR_OK;
}

/* numbers[i]: the class of list[i]. */
static err number(const pack_samples *s, const char *const *list, uint32_t count, class_names *names,
                  uint8_t numbers[DATASET_CLASSES_MAX]) {
    const char *sorted[DATASET_CLASSES_MAX];
    bool are_whole = true;
    for (uint32_t i = 0; i < count; i++) {
        sorted[i] = list[i];
        are_whole = are_whole && is_whole(list[i]);
    }
    qsort(sorted, count, sizeof *sorted, are_whole ? by_number : by_bytes);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = 0;
        pack_samples_find_name(list, count, sorted[i], &at);
        numbers[at] = (uint8_t)i;
    }
    return class_names_set(names, sorted, count) ? err_prefix(ERR_INPUT, "%s", s->paths[0]) : ERR_OK;
}

static err take_values(const pack_samples *s, const pack_order *o, labels *l) {
    const char *list[DATASET_CLASSES_MAX];
    uint8_t numbers[DATASET_CLASSES_MAX];
    uint32_t count, at;
    err e = collect(s, list, &count);
    e = e ? e : number(s, list, count, &l->classes, numbers);
    for (uint32_t i = 0; i < s->count && !e; i++) {
        bool is_test = i >= o->samples[DATASET_TRAIN];
        if (!pack_samples_find_name(list, count, pack_samples_class(s, o->list[i]), &at)) {
            char what[CLASS_NAME_MAX + 64];
            snprintf(what, sizeof what, "is of class '%s', which no training sample has",
                     pack_samples_class(s, o->list[i]));
            return refuse(s, o->list[i], what);
        }
        l->values[is_test][i - (is_test ? o->samples[DATASET_TRAIN] : 0)] = numbers[at];
    }
    return e;
}

err pack_labels_write(const char *folder, const pack_samples *s, pack_order *o, labels *l) {
    memcpy(l->samples, o->samples, sizeof l->samples);
    l->validation = o->validation;
    l->ids = o->ids; /* labels_close frees them */
    o->ids = NULL;
    for (uint32_t i = 0; i < 2; i++) {
        l->values[i] = malloc(l->samples[i]);
        if (!l->values[i]) {
            return err_fail(ERR_MEMORY, "%s: no memory for its labels", s->paths[0]);
        }
    }
    pack_folder f;
    err e = take_values(s, o, l);
    e = e ? e : pack_folder_begin(&f, folder);
    return e ? e : pack_folder_end(&f, labels_write(f.part, l));
}
