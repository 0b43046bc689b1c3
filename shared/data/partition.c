#include "data/partition.h"

#include <string.h>

static const char *const names[] = {"slices", "quadrants", "planes", "none"};

enum { KIND_COUNT = 3 /* that samples are cut by */, QUADRANTS = 4 };

const char *partition_name(partition_kind kind) {
    return names[kind];
}

err partition_parse(const char *name, partition_kind *kind) {
    for (int i = 0; i < KIND_COUNT; i++) {
        if (strcmp(name, names[i]) == 0) {
            *kind = (partition_kind)i;
            return ERR_OK;
        }
    }
    return err_fail(ERR_INPUT, "split '%s' is none of slices, quadrants, planes", name);
}

static err check_sizes(const partition *s) {
    if (s->channels == 0 || s->height == 0 || s->width == 0) {
        return err_fail(ERR_INPUT, "a sample of [%u, %u, %u] has no elements", s->channels, s->height, s->width);
    }
    if (s->channels > PARTITION_ELEMENTS_MAX / s->height ||
        s->channels * s->height > PARTITION_ELEMENTS_MAX / s->width) {
        return err_fail(ERR_INPUT, "a sample of [%u, %u, %u] has more than %d elements", s->channels, s->height,
                        s->width, PARTITION_ELEMENTS_MAX);
    }
    if (s->portions == 0 || s->portions > PARTITION_PORTIONS_MAX) {
        return err_fail(ERR_INPUT, "%u portions are not 1 to %d", s->portions, PARTITION_PORTIONS_MAX);
    }
    return ERR_OK;
}

static err check_quadrants(const partition *s) {
    if (s->portions != QUADRANTS) {
        return err_fail(ERR_INPUT, "quadrants make 4 portions, not %u", s->portions);
    }
    if (s->height % 2 != 0 || s->width % 2 != 0) {
        return err_fail(ERR_INPUT, "quadrants need even sides, not %u x %u", s->height, s->width);
    }
    return ERR_OK;
}

err partition_check(const partition *s) {
    err e = check_sizes(s);
    if (e) {
        return e;
    }
    switch (s->kind) {
    case PARTITION_SLICES:
        if (partition_sample_elements(s) % s->portions != 0) {
            return err_fail(ERR_INPUT, "%zu elements do not part into %u even slices", partition_sample_elements(s),
                            s->portions);
        }
        return ERR_OK;
    case PARTITION_QUADRANTS:
        return check_quadrants(s);
    case PARTITION_NONE:
        break;
    case PARTITION_PLANES:
        if (s->portions != s->channels) {
            return err_fail(ERR_INPUT, "planes make one portion for each of the %u channels, not %u", s->channels,
                            s->portions);
        }
        return ERR_OK;
    }
    return err_fail(ERR_INPUT, "split kind %d is unknown", (int)s->kind);
}

portion_shape partition_shape_of_portions(const partition *s) {
    partition_box box = {0};
    return partition_find_box(s, 0, &box) ? (portion_shape){PORTION_U8, 1, {(uint32_t)partition_portion_elements(s)}}
                                          : (portion_shape){PORTION_U8, 3, {box.channels, box.height, box.width}};
}

err partition_find_box(const partition *s, uint32_t index, partition_box *box) {
    size_t elements = partition_portion_elements(s), plane = (size_t)s->height * s->width;
    if (s->kind == PARTITION_QUADRANTS) {
        uint32_t height = s->height / 2, width = s->width / 2;
        *box = (partition_box){s->channels, index / 2 * height, index % 2 * width, height, width};
    } else if (elements % plane == 0) {
        *box = (partition_box){(uint32_t)(elements / plane), 0, 0, s->height, s->width};
    } else if (elements % s->width == 0 && plane % elements == 0) {
        uint32_t height = (uint32_t)(elements / s->width);
        *box = (partition_box){1, index % (s->height / height) * height, 0, height, s->width};
    } else {
        return err_fail(ERR_INPUT, "slices of %zu elements are no rectangles of rows of %u", elements, s->width);
    }
    return ERR_OK;
}

size_t partition_sample_elements(const partition *s) {
    return (size_t)s->channels * s->height * s->width;
}

size_t partition_portion_elements(const partition *s) {
    return partition_sample_elements(s) / s->portions;
}

static void take_quadrant(const partition *s, uint32_t index, const uint8_t *sample, uint8_t *portion) {
    size_t rows = s->height / 2, columns = s->width / 2;
    size_t top = index / 2 * rows, left = index % 2 * columns;
    for (size_t channel = 0; channel < s->channels; channel++) {
        for (size_t row = 0; row < rows; row++) {
            memcpy(portion, sample + (channel * s->height + top + row) * s->width + left, columns);
            portion += columns;
        }
    }
}

void partition_take(const partition *s, uint32_t index, const uint8_t *sample, uint8_t *portion) {
    if (s->kind == PARTITION_QUADRANTS) {
        take_quadrant(s, index, sample, portion);
        return;
    }
    size_t elements = partition_portion_elements(s); /* slices and planes are both contiguous */
    memcpy(portion, sample + index * elements, elements);
}
