#include "data/looks.h"

uint32_t looks_list(bool mirrored, uint32_t shifted, look list[LOOKS_MAX]) {
    const int32_t by = (int32_t)shifted, shifts[] = {0, by, -by};
    uint32_t count = 0, sides = mirrored ? 2 : 1;
    for (uint32_t side = 0; side < sides; side++) {
        for (uint32_t i = 0; i < (shifted ? 3 : 1); i++) {
            float weight = !shifted ? 1 : i == 0 ? 0.5f : 0.25f;
            list[count++] = (look){side == 1, shifts[i], weight / (float)sides};
        }
    }
    return count;
}

/* Which of `count` rows or columns comes to lie at `to`. */
static uint32_t source_of(uint32_t to, int32_t shift, uint32_t count) {
    int64_t at = (int64_t)to - shift;
    return at < 0 ? 0 : at >= count ? count - 1 : (uint32_t)at;
}

static void take_channel(const look *l, const split_box *box, const float *from, float *to) {
    for (uint32_t row = 0; row < box->height; row++) {
        const float *line = from + (size_t)source_of(row, l->shift, box->height) * box->width;
        for (uint32_t column = 0; column < box->width; column++) {
            uint32_t at = source_of(column, l->shift, box->width);
            *to++ = line[l->mirrored ? box->width - 1 - at : at];
        }
    }
}

void looks_take(const look *l, const split_box *box, const float *from, size_t count, float *to) {
    size_t elements = (size_t)box->height * box->width;
    for (size_t i = 0; i < count * box->channels; i++) {
        take_channel(l, box, from + i * elements, to + i * elements);
    }
}
