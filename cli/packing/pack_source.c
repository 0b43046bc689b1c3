#include "cli/packing/pack_source.h"

#include "base/file.h"
#include "cli/packing/file_names.h"
#include "cli/packing/pack_arrays.h"
#include "cli/packing/pack_pictures.h"
#include "cli/packing/pack_sounds.h"

#include <strings.h>

typedef enum kind { KIND_TABLE, KIND_NUMPY, KIND_IDX, KIND_SERIES, KIND_PICTURES, KIND_SOUNDS } kind;

static bool is_either(const char *name) {
    return pack_pictures_are(name) || pack_sounds_are(name);
}

static err kind_of_folder(const char *path, kind *k) {
    file_names files;
    err e = file_names_list(&files, path, is_either);
    if (e) {
        return e == ERR_INPUT ? err_fail(e, "%s: holds no .png, .jpg, .jpeg or .wav file", path) : e;
    }
    uint32_t pictures = 0, count = files.count;
    for (uint32_t i = 0; i < count; i++) {
        pictures += pack_pictures_are(files.list[i].name);
    }
    file_names_free(&files);
    *k = pictures > 0 ? KIND_PICTURES : KIND_SOUNDS;
    return pictures == 0 || pictures == count
               ? ERR_OK
               : err_fail(ERR_INPUT, "%s: holds pictures and sounds, which are portions of their own", path);
}

static err kind_of(const char *path, kind *k) {
    const char *end = strrchr(path, '.');
    if (file_names_is_folder(path)) {
        return kind_of_folder(path, k);
    }
    if (!file_exists(path)) {
        return err_fail(ERR_NOT_FOUND, "%s: is not there", path);
    }
    bool is_known =
        pack_table_is(path) || pack_arrays_is(path) || pack_arrays_is_idx(path) || (end && strcasecmp(end, ".ts") == 0);
    *k = pack_table_is(path)        ? KIND_TABLE
         : pack_arrays_is(path)     ? KIND_NUMPY
         : pack_arrays_is_idx(path) ? KIND_IDX
                                    : KIND_SERIES;
    return is_known ? ERR_OK
                    : err_fail(ERR_INPUT, "%s: is no .csv, .tsv, .npy, .npz, .ts or IDX file, and no folder", path);
}

/* An option that would change nothing is a mistake. */
static err check_options(kind k, const pack_source_options *o) {
    const pack_table_options *t = &o->table;
    bool is_for_tables = t->columns || t->categories || t->delimiter || t->fills_missing;
    const char *odd =
        k != KIND_TABLE && is_for_tables ? "--columns, --categories, --missing-cells, --delimiter: for tables"
        : k != KIND_NUMPY && o->array    ? "--array: for .npz files"
        : k != KIND_SERIES && k != KIND_SOUNDS && o->dimensions.count > 0 ? "--dimensions: for .ts and .wav files"
        : k != KIND_PICTURES && o->height > 0                             ? "--size: for pictures"
        : k != KIND_SERIES && k != KIND_SOUNDS && o->length > 0           ? "--length: for .ts and .wav files"
        : k != KIND_PICTURES && k != KIND_SOUNDS && o->channels > 0       ? "--channels: for pictures and sounds"
        : (k == KIND_PICTURES || k == KIND_SOUNDS) && t->has_no_ids
            ? "--ids: pictures and sounds have the names of their files"
        : k == KIND_PICTURES && o->channels == 2 ? "--channels: pictures have 1 (grey) or 3 (colour)"
        : k == KIND_SOUNDS && o->channels > 1    ? "--channels: sounds have those of their files, or 1 (the mean)"
                                                 : NULL;
    return odd ? err_fail(ERR_USAGE, "%s", odd) : ERR_OK;
}

static err read_pictures(pack_samples *s, const pack_source_options *o, bool is_labels) {
    const uint32_t shape[3] = {o->channels > 0 ? o->channels : 3, o->height, o->width};
    return is_labels || o->height > 0 ? pack_pictures_read(s, shape, is_labels)
                                      : err_fail(ERR_USAGE, "--size is missing: %s holds pictures", s->paths[0]);
}

static err read_file(kind k, pack_samples *s, const pack_source_options *o, bool is_labels, pack_table **t) {
    switch (k) {
    case KIND_TABLE:
        return pack_table_read(t, s, &o->table, is_labels);
    case KIND_NUMPY:
    case KIND_IDX:
        return pack_arrays_read(s, o->array, is_labels);
    case KIND_SERIES:
        return pack_series_read(s, &o->dimensions, o->length, is_labels);
    case KIND_PICTURES:
        return read_pictures(s, o, is_labels);
    case KIND_SOUNDS:
        return pack_sounds_read(s, &o->dimensions, o->length, o->channels == 1, is_labels);
    }
    return ERR_INTERNAL;
}

err pack_source_read(pack_samples *s, const pack_source_options *o, bool is_labels, pack_table **t) {
    kind first, second;
    err e = kind_of(s->paths[0], &first);
    e = e ? e : check_options(first, o);
    e = e ? e : read_file(first, s, o, is_labels, t);
    if (!e && s->paths[1]) {
        s->is_of_test_file = true;
        e = kind_of(s->paths[1], &second);
        e = e || first == second ? e : err_fail(ERR_INPUT, "%s: is of another kind than %s", s->paths[1], s->paths[0]);
        e = e ? e : read_file(first, s, o, is_labels, t);
    }
    return e ? e : pack_samples_check(s);
}
