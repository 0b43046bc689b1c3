/* The PNG decoder: a file becomes a bitmap. */
#ifndef FEWBIT_IMAGE_IMAGE_PNG_H
#define FEWBIT_IMAGE_IMAGE_PNG_H

#include "image/bitmap.h"

/* Whether it begins as a PNG does. */
bool image_png_is(const uint8_t *bytes, size_t length);

/* A whole PNG of the sample's size (`shape` NULL: of any); of an animated one its default image. bitmap_free also where
 * this failed. */
err image_png_decode(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p);

#endif
