#include "data/tta.h"

uint32_t tta_views(bool flip, uint32_t shift, tta_view list[TTA_VIEWS_MAX]) {
    const int32_t by = (int32_t)shift, shifts[] = {0, by, -by};
    uint32_t count = 0, sides = flip ? 2 : 1;
    for (uint32_t side = 0; side < sides; side++) {
        for (uint32_t i = 0; i < (shift ? 3 : 1); i++) {
            float weight = !shift ? 1 : i == 0 ? 0.5f : 0.25f;
            list[count++] = (tta_view){side == 1, shifts[i], weight / (float)sides};
        }
    }
    return count;
}

/* Which of `count` rows or columns comes to lie at `to`. */
static uint32_t source_of(uint32_t to, int32_t shift, uint32_t count) {
    int64_t at = (int64_t)to - shift;
    return at < 0 ? 0 : at >= count ? count - 1 : (uint32_t)at;
}

static void take_channel(const tta_view *l, const partition_box *box, const float *from, float *to) {
    for (uint32_t row = 0; row < box->height; row++) {
        const float *line = from + (size_t)source_of(row, l->shift, box->height) * box->width;
        for (uint32_t column = 0; column < box->width; column++) {
            uint32_t at = source_of(column, l->shift, box->width);
            *to++ = line[l->flip ? box->width - 1 - at : at];
        }
    }
}

void tta_apply(const tta_view *l, const partition_box *box, const float *from, size_t count, float *to) {
    size_t elements = (size_t)box->height * box->width;
    for (size_t i = 0; i < count * box->channels; i++) {
        take_channel(l, box, from + i * elements, to + i * elements);
    }
}
