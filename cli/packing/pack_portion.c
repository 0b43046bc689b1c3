#include "cli/packing/pack_portion.h"

#include "base/interrupt.h"
#include "base/options.h"
#include "cli/packing/pack_folder.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { QUADRANTS = 4 };

err pack_portion_parse_piece(const char *text, pack_piece *piece) {
    char kind[16] = "";
    int64_t index;
    const char *colon = strchr(text, ':');
    snprintf(kind, sizeof kind, "%.*s", colon ? (int)(colon - text) : 0, text);
    bool is_known = colon && !partition_parse(kind, &piece->kind) && piece->kind != PARTITION_SLICES;
    if (!is_known || options_number(colon + 1, "the piece", 0, PARTITION_PORTIONS_MAX - 1, &index)) {
        return err_fail(ERR_USAGE, "'%.40s' is no piece of a picture, such as quadrants:0 or planes:2", text);
    }
    *piece = (pack_piece){.kind = piece->kind, .index = (uint32_t)index};
    return ERR_OK;
}

/* Scaling: twice over the values, so that the deviation is exact where it is small beside the mean. */

typedef struct measures {
    const portion_shape *shape;
    const void *values;
    size_t count, channels, run; /* a channel's values lie in runs */
} measures;

static double value_at(const measures *m, size_t at) {
    return m->shape->type == PORTION_U8 ? ((const uint8_t *)m->values)[at] / 255.0
                                        : (double)((const float *)m->values)[at];
}

static void measure_channel(const measures *m, size_t channel, float *mean, float *std) {
    size_t elements = m->channels * m->run;
    double sum = 0, squares = 0, least = INFINITY, most = -INFINITY, number = (double)m->count * (double)m->run;
    for (size_t i = 0; i < m->count; i++) {
        for (size_t k = 0; k < m->run; k++) {
            double value = value_at(m, i * elements + channel * m->run + k);
            sum += value;
            least = fmin(least, value);
            most = fmax(most, value);
        }
    }
    double middle = sum / number;
    for (size_t i = 0; i < m->count; i++) {
        for (size_t k = 0; k < m->run; k++) {
            double off = value_at(m, i * elements + channel * m->run + k) - middle;
            squares += off * off;
        }
    }
    *mean = (float)middle;
    *std = (float)sqrt(squares / number);
    if (least == most || *std <= 0) {
        *std = 1;
    }
}

err pack_portion_measure(const portion_shape *shape, const void *values, size_t count, float *mean, float *std) {
    measures m = {.shape = shape, .values = values, .count = count, .channels = portion_shape_channels(shape)};
    m.run = portion_shape_elements(shape) / m.channels;
    for (size_t i = 0; i < m.channels; i++) {
        err e = interrupt_check();
        if (e) {
            return e;
        }
        measure_channel(&m, i, &mean[i], &std[i]);
    }
    return ERR_OK;
}

/* Values in the order of packing. */

static err take_table(const pack_samples *s, const pack_table *t, const columns *c, const pack_order *o, float *to) {
    err e = ERR_OK;
    for (uint32_t i = 0; i < s->count && !e; i++) {
        e = interrupt_check();
        e = e ? e : pack_table_take(t, s, c, o->list[i], to + (size_t)i * columns_features(c));
    }
    return e;
}

static void take_values(const pack_samples *s, const partition *cut, uint32_t index, const pack_order *o, uint8_t *to) {
    size_t bytes = portion_shape_bytes(&s->shape), taken = cut ? partition_portion_elements(cut) : bytes;
    for (uint32_t i = 0; i < s->count; i++, to += taken) {
        const uint8_t *from = (const uint8_t *)s->values.bytes + o->list[i] * bytes;
        if (cut) {
            partition_take(cut, index, from, to);
        } else {
            memcpy(to, from, bytes);
        }
    }
}

static err plan_cut(const pack_samples *s, const pack_piece *piece, partition *cut) {
    const uint32_t *dims = s->shape.dims;
    if (s->shape.rank != 3 || s->shape.type != PORTION_U8) {
        return err_fail(ERR_USAGE, "--part: only pictures are cut, not %s", s->paths[0]);
    }
    *cut = (partition){.kind = piece->kind,
                       .portions = piece->kind == PARTITION_PLANES ? dims[0] : QUADRANTS,
                       .channels = dims[0],
                       .height = dims[1],
                       .width = dims[2]};
    if (partition_check(cut)) {
        return err_prefix(ERR_USAGE, "--part");
    }
    return piece->index < cut->portions
               ? ERR_OK
               : err_fail(ERR_USAGE, "--part: there are only the pieces 0 to %u", cut->portions - 1);
}

/* The shape, and the columns of a table. */
static err plan(const pack_samples *s, const pack_table *t, const pack_piece *piece, partition *cut,
                portion_shape *shape, columns **c) {
    if (t && !piece->is_whole) {
        return err_fail(ERR_USAGE, "--part: a table is not cut, but --columns chooses");
    }
    err e = t ? pack_table_learn(t, s, c) : piece->is_whole ? ERR_OK : plan_cut(s, piece, cut);
    if (e) {
        return e;
    }
    *shape = t                 ? (portion_shape){.type = PORTION_F32, .rank = 1, .dims = {columns_features(*c)}}
             : piece->is_whole ? s->shape
                               : partition_shape_of_portions(cut);
    return ERR_OK;
}

static err write_folder(const char *folder, portion_info *info, const portion_contents *values) {
    portion_contents all = *values;
    size_t channels = portion_shape_channels(&info->shape);
    float *measures = calloc(2 * channels, sizeof *measures);
    const portion_scaling scaling = {.channels = (uint32_t)channels, .mean = measures, .std = measures + channels};
    all.scaling = &scaling;
    pack_folder f;
    err e = measures ? pack_portion_measure(&info->shape, all.values[DATASET_TRAIN],
                                            info->samples[DATASET_TRAIN] - info->validation, scaling.mean, scaling.std)
                     : err_fail(ERR_MEMORY, "%s: no memory to scale it", folder);
    e = e ? e : pack_folder_begin(&f, folder);
    e = e ? e : pack_folder_end(&f, portion_write(f.part, info, &all));
    free(measures);
    return e;
}

err pack_portion_write(const char *folder, const pack_samples *s, const pack_table *t, const pack_piece *piece,
                       const pack_order *o, portion_info *info, columns **c) {
    *c = NULL;
    partition cut;
    err e = plan(s, t, piece, &cut, &info->shape, c);
    size_t bytes = e ? 0 : portion_shape_bytes(&info->shape);
    uint8_t *values = bytes > 0 && bytes <= PACK_BYTES_MAX / s->count ? malloc(bytes * s->count) : NULL;
    e = e || values ? e : err_fail(ERR_MEMORY, "%s: no memory for its values, or more than 4 GiB", s->paths[0]);
    if (!e && t) {
        e = take_table(s, t, *c, o, (float *)(void *)values);
    } else if (!e) {
        take_values(s, piece->is_whole ? NULL : &cut, piece->index, o, values);
    }
    memcpy(info->samples, o->samples, sizeof info->samples);
    info->validation = o->validation;
    const portion_contents contents = {
        .values = {values, values ? values + bytes * o->samples[DATASET_TRAIN] : NULL}, .ids = o->ids, .columns = *c};
    e = e ? e : write_folder(folder, info, &contents);
    free(values);
    return e;
}
