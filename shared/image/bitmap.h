/* A decoded picture: its pixels as they are stored, and how they become a sample.
 *
 * - 16 bits are cut to their high byte, 1, 2 and 4 bits stretched to 0..255, a palette is looked up.
 * - Gamma, chromaticities, sRGB and ICC profiles change nothing.
 * - Alpha is composed on black, in stored values: (value x alpha) / 255, rounded to nearest.
 * - Then colour becomes grey: (19595 R + 38470 G + 7471 B + 32768) >> 16 (ITU-R BT.601). Grey becomes R = G = B.
 * - EXIF says which way up it is. Where that is damaged, it is as stored.
 *
 * This is what Pillow gives: exif_transpose(), paste() on black, then convert("L") or convert("RGB"). */
#ifndef FEWBIT_IMAGE_BITMAP_H
#define FEWBIT_IMAGE_BITMAP_H

#include "base/err.h"

/* What a picture becomes: u8 [channels, height, width], of 1 or 3 channels. */
typedef struct image_shape {
    uint32_t channels, height, width;
} image_shape;

static inline size_t image_shape_elements(const image_shape *s) {
    return (size_t)s->channels * s->height * s->width;
}

typedef struct bitmap {
    uint32_t width, height; /* as stored */
    uint32_t channels;      /* 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha */
    uint32_t orientation;   /* 1 to 8 */
    uint8_t *pixels;        /* [height, width, channels] */
} bitmap;

enum { BITMAP_UPRIGHT = 1, BITMAP_PIXELS_MAX = 1 << 26 };

/* The orientation that EXIF data (a TIFF header and what follows) say; BITMAP_UPRIGHT where they say none. */
uint32_t bitmap_orientation(const uint8_t *exif, size_t length);

/* ERR_INPUT: the picture, turned upright, does not have the sample's size; where `shape` is NULL, has more pixels than
 * BITMAP_PIXELS_MAX. */
err bitmap_check(const bitmap *p, const image_shape *shape);

/* Allocates its pixels. Call bitmap_free also after a failure. */
err bitmap_allocate(bitmap *p);
void bitmap_free(bitmap *p);

/* Its size once it is upright. */
void bitmap_size(const bitmap *p, uint32_t *height, uint32_t *width);

/* Its pixels -> `sample` u8 [channels, height, width], of 1 or 3 channels and its size once it is upright. */
void bitmap_to_sample(const bitmap *p, const image_shape *shape, uint8_t *sample);

/* The decoders: image_png.c, and image_jpeg.c, of baseline, extended and progressive files of 8 bits, in grey, YCbCr or
 * RGB. */

/* Whether it begins as a PNG does. */
bool image_png_is(const uint8_t *bytes, size_t length);

/* A whole PNG of the sample's size (`shape` NULL: of any); of an animated one its default image. bitmap_free also where
 * this failed. */
err image_png_decode(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p);

/* Whether it begins as a JPEG does. */
bool image_jpeg_is(const uint8_t *bytes, size_t length);

/* Whether it has the header of a frame, of any kind. */
bool image_jpeg_has_frame(const uint8_t *bytes, size_t length);

/* A whole JPEG of the sample's size (`shape` NULL: of any). bitmap_free also where this failed. */
err image_jpeg_decode(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p);

#endif
