/* The PNG decoder: a file becomes a bitmap. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_IMAGE_PNG_H
#define FEWBIT_DECODER_SERVER_HTTP_IMAGE_PNG_H

#include "decoder_server/http/bitmap.h"

#include <stdbool.h>

/* Whether it begins as a PNG does. */
bool image_png_is(const uint8_t *bytes, size_t length);

/* A whole PNG of the sample's size; of an animated one its default image. bitmap_free also where this failed. */
err image_png_decode(const uint8_t *bytes, size_t length, const partition *shape, bitmap *p);

#endif
