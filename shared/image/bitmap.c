#include "image/bitmap.h"

#include "base/byte_reader.h"

#include <stdlib.h>
#include <string.h>

/* EXIF: a TIFF header, then a table of entries of 12 bytes. */

enum { TIFF_HEADER = 8, TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, ORIENTATIONS = 8, FIRST_TURNED = 5 };

typedef struct tiff {
    byte_reader c;
    bool is_little;
} tiff;

static uint32_t tiff_number(tiff *t, uint32_t bytes) {
    uint32_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        uint32_t byte = byte_reader_u8(&t->c);
        value = t->is_little ? value | byte << 8 * i : value << 8 | byte;
    }
    return value;
}

uint32_t bitmap_orientation(const uint8_t *exif, size_t length) {
    static const uint8_t little[] = {'I', 'I', 42, 0}, big[] = {'M', 'M', 0, 42};
    tiff t = {.c = byte_reader_over(exif, length)};
    const uint8_t *mark = byte_reader_bytes(&t.c, sizeof little);
    t.is_little = mark && memcmp(mark, little, sizeof little) == 0;
    if (!mark || (!t.is_little && memcmp(mark, big, sizeof big) != 0)) {
        return BITMAP_UPRIGHT;
    }
    uint32_t table = tiff_number(&t, 4);
    if (table < TIFF_HEADER || table > length) {
        return BITMAP_UPRIGHT;
    }
    t.c = byte_reader_over(exif + table, length - table);
    for (uint32_t left = tiff_number(&t, 2); left > 0 && !t.c.failed; left--) {
        uint32_t tag = tiff_number(&t, 2), type = tiff_number(&t, 2), count = tiff_number(&t, 4);
        uint32_t value = tiff_number(&t, 2);
        byte_reader_bytes(&t.c, 2);
        if (tag == TAG_ORIENTATION) {
            bool is_good = !t.c.failed && type == TYPE_SHORT && count == 1 && value >= 1 && value <= ORIENTATIONS;
            return is_good ? value : BITMAP_UPRIGHT;
        }
    }
    return BITMAP_UPRIGHT;
}

/* Turned: its rows become columns. */
static bool is_turned(const bitmap *p) {
    return p->orientation >= FIRST_TURNED;
}

void bitmap_size(const bitmap *p, uint32_t *height, uint32_t *width) {
    *height = is_turned(p) ? p->width : p->height;
    *width = is_turned(p) ? p->height : p->width;
}

err bitmap_check(const bitmap *p, const image_shape *shape) {
    uint32_t width, height;
    bitmap_size(p, &height, &width);
    if (!shape) {
        return (uint64_t)width * height <= BITMAP_PIXELS_MAX
                   ? ERR_OK
                   : err_fail(ERR_INPUT, "the image has %u x %u pixels, more than %d in all", width, height,
                              BITMAP_PIXELS_MAX);
    }
    if (width == shape->width && height == shape->height) {
        return ERR_OK;
    }
    return err_fail(ERR_INPUT, "the image has %u x %u pixels, this model takes %u x %u", width, height, shape->width,
                    shape->height);
}

err bitmap_allocate(bitmap *p) {
    p->pixels = calloc((size_t)p->width * p->height, p->channels);
    return p->pixels ? ERR_OK : err_fail(ERR_MEMORY, "no memory for an image");
}

void bitmap_free(bitmap *p) {
    free(p->pixels);
    p->pixels = NULL;
}

static uint8_t over_black(uint32_t value, uint32_t alpha) {
    return (uint8_t)((value * alpha + 127) / 255);
}

static uint8_t grey_of(const uint8_t rgb[3]) {
    return (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
}

static void lay_pixel(const uint8_t *pixel, uint32_t channels, const image_shape *shape, uint8_t *to) {
    size_t plane = (size_t)shape->width * shape->height;
    bool is_colour = channels >= 3;
    uint32_t alpha = channels % 2 == 0 ? pixel[channels - 1] : 255;
    uint8_t rgb[3];
    for (uint32_t i = 0; i < 3; i++) {
        rgb[i] = over_black(pixel[is_colour ? i : 0], alpha);
    }
    if (shape->channels == 1) {
        to[0] = is_colour ? grey_of(rgb) : rgb[0];
        return;
    }
    for (uint32_t i = 0; i < 3; i++) {
        to[i * plane] = rgb[i];
    }
}

void bitmap_to_sample(const bitmap *p, const image_shape *shape, uint8_t *sample) {
    uint32_t o = p->orientation;
    bool is_from_right = o == 2 || o == 3 || o == 6 || o == 7, is_from_below = o == 3 || o == 4 || o == 7 || o == 8;
    ptrdiff_t width = (ptrdiff_t)shape->width, height = (ptrdiff_t)shape->height;
    ptrdiff_t across = is_from_right ? -1 : 1, down = is_from_below ? -width : width;
    ptrdiff_t origin = (is_from_right ? width - 1 : 0) + (is_from_below ? (height - 1) * width : 0);
    ptrdiff_t by_x = is_turned(p) ? down : across, by_y = is_turned(p) ? across : down;
    const uint8_t *pixel = p->pixels;
    for (uint32_t y = 0; y < p->height; y++) {
        for (uint32_t x = 0; x < p->width; x++, pixel += p->channels) {
            lay_pixel(pixel, p->channels, shape, sample + origin + (ptrdiff_t)x * by_x + (ptrdiff_t)y * by_y);
        }
    }
}
