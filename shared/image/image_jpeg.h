/* The JPEG decoder: a file becomes a bitmap. Baseline, extended and progressive, of 8 bits, in grey, YCbCr or RGB. */
#ifndef FEWBIT_IMAGE_IMAGE_JPEG_H
#define FEWBIT_IMAGE_IMAGE_JPEG_H

#include "image/bitmap.h"

/* Whether it begins as a JPEG does. */
bool image_jpeg_is(const uint8_t *bytes, size_t length);

/* Whether it has the header of a frame, of any kind. */
bool image_jpeg_has_frame(const uint8_t *bytes, size_t length);

/* A whole JPEG of the sample's size (`shape` NULL: of any). bitmap_free also where this failed. */
err image_jpeg_decode(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p);

#endif
