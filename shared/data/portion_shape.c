#include "data/portion_shape.h"

#include <stdio.h>
#include <string.h>

static const char *const type_names[] = {"u8", "f32"};
static const size_t type_bytes[] = {1, 4};

err portion_shape_check(const portion_shape *s) {
    if (s->rank < 1 || s->rank > PORTION_RANK_MAX) {
        return err_fail(ERR_INPUT, "a portion has 1 to %d dimensions, not %u", PORTION_RANK_MAX, s->rank);
    }
    uint64_t elements = 1;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->dims[i] == 0) {
            return err_fail(ERR_INPUT, "dimension %u of a portion is 0", i);
        }
        elements *= s->dims[i];
        if (elements > PORTION_ELEMENTS_MAX) {
            return err_fail(ERR_INPUT, "a portion has more than %d elements", PORTION_ELEMENTS_MAX);
        }
    }
    return ERR_OK;
}

size_t portion_shape_elements(const portion_shape *s) {
    size_t elements = 1;
    for (uint32_t i = 0; i < s->rank; i++) {
        elements *= s->dims[i];
    }
    return elements;
}

size_t portion_shape_bytes(const portion_shape *s) {
    return portion_shape_elements(s) * type_bytes[s->type];
}

uint32_t portion_shape_channels(const portion_shape *s) {
    return s->dims[0];
}

void portion_shape_image(const portion_shape *s, uint32_t image[3]) {
    image[0] = s->rank == 1 ? 1 : s->dims[0];
    image[1] = s->rank == 3 ? s->dims[1] : 1;
    image[2] = s->dims[s->rank - 1];
}

bool portion_shape_equals(const portion_shape *a, const portion_shape *b) {
    return a->type == b->type && a->rank == b->rank && memcmp(a->dims, b->dims, a->rank * sizeof a->dims[0]) == 0;
}

const char *portion_shape_text(const portion_shape *s, char text[PORTION_SHAPE_TEXT]) {
    int length = snprintf(text, PORTION_SHAPE_TEXT, "%s [", portion_type_name(s->type));
    for (uint32_t i = 0; i < s->rank; i++) {
        length += snprintf(text + length, PORTION_SHAPE_TEXT - (size_t)length, "%s%u", i ? ", " : "", s->dims[i]);
    }
    snprintf(text + length, PORTION_SHAPE_TEXT - (size_t)length, "]");
    return text;
}

const char *portion_type_name(portion_type type) {
    return type_names[type];
}

err portion_type_parse(const char *name, portion_type *type) {
    for (int i = PORTION_U8; i <= PORTION_F32; i++) {
        if (strcmp(name, type_names[i]) == 0) {
            *type = (portion_type)i;
            return ERR_OK;
        }
    }
    return err_fail(ERR_INPUT, "the type '%s' is none of u8, f32", name);
}

bool portion_name_is_valid(const char *name) {
    static const char alphanumeric[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t length = strlen(name);
    return length >= 1 && length <= PORTION_NAME_MAX && strspn(name, alphanumeric) >= 1 && strspn(name, all) == length;
}
