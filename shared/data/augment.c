#include "data/augment.h"

#include "base/rng.h"

#include <math.h>

/* Draws of one sample begin at a number of their own. */
enum { DRAWS = 8 };

bool augment_is_any(const augmentation *a) {
    return a->shift > 0 || a->rotation > 0 || a->scale > 0 || a->shear > 0 || a->flip;
}

err augment_check(const augmentation *a, const partition *s) {
    partition_box box;
    if (!augment_is_any(a)) {
        return ERR_OK;
    }
    err e = partition_find_box(s, 0, &box);
    if (!e && a->flip && box.width != s->width) {
        e = err_fail(ERR_INPUT, "only portions as wide as the sample can be mirrored");
    }
    return e;
}

static float draw_within(rng *draws, float bound) {
    return bound * (2 * rng_float(draws) - 1);
}

augment_map augment_draw(const augmentation *a, const partition *s, uint64_t seed, uint32_t step, uint32_t row) {
    rng draws = rng_at(seed, rng_stream(RNG_AUGMENT, 0), step);
    draws.index = (uint64_t)row * DRAWS;
    float angle = draw_within(&draws, a->rotation) * (float)M_PI / 180, size = 1 + draw_within(&draws, a->scale);
    float shear = draw_within(&draws, a->shear);
    float right = draw_within(&draws, a->shift), down = draw_within(&draws, a->shift);
    bool is_mirrored = rng_float(&draws) < 0.5f && a->flip;
    float c = cosf(angle) / size, n = sinf(angle) / size, side = is_mirrored ? -1 : 1;
    augment_map m = {.xx = side * c, .xy = n + shear * c, .yx = side * -n, .yy = c - shear * n};
    /* The middle goes to the middle, then everything is shifted. */
    float x = (float)(s->width - 1) / 2, y = (float)(s->height - 1) / 2;
    m.x0 = x - m.xx * (x + right) - m.xy * (y + down);
    m.y0 = y - m.yx * (x + right) - m.yy * (y + down);
    return m;
}

static float clamped(float value, uint32_t count) {
    float most = (float)(count - 1);
    return value < 0 ? 0 : value > most ? most : value;
}

/* The pixel of `from` [height, width] at x, y. */
static uint8_t look_up(const uint8_t *from, const partition_box *box, float x, float y) {
    x = clamped(x, box->width);
    y = clamped(y, box->height);
    uint32_t left = (uint32_t)x, top = (uint32_t)y;
    uint32_t right = left + (left + 1 < box->width), bottom = top + (top + 1 < box->height);
    float fx = x - (float)left, fy = y - (float)top;
    const uint8_t *upper = from + top * box->width, *lower = from + bottom * box->width;
    float above = (float)upper[left] + fx * ((float)upper[right] - (float)upper[left]);
    float below = (float)lower[left] + fx * ((float)lower[right] - (float)lower[left]);
    return (uint8_t)(above + fy * (below - above) + 0.5f);
}

void augment_portion(const partition *s, uint32_t index, const augment_map *m, const uint8_t *from, uint8_t *to) {
    partition_box box;
    if (partition_find_box(s, index, &box)) {
        return; /* augment_check has refused it */
    }
    for (uint32_t channel = 0; channel < box.channels; channel++, from += box.height * box.width) {
        for (uint32_t row = box.top; row < box.top + box.height; row++) {
            for (uint32_t column = box.left; column < box.left + box.width; column++) {
                float x = m->xx * (float)column + m->xy * (float)row + m->x0;
                float y = m->yx * (float)column + m->yy * (float)row + m->y0;
                *to++ = look_up(from, &box, x - (float)box.left, y - (float)box.top);
            }
        }
    }
}
