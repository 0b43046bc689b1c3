/* Images of a request -> the elements a sample has. Bodies are not trusted. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_IMAGE_H
#define FEWBIT_DECODER_SERVER_HTTP_IMAGE_H

#include "base/err.h"
#include "data/split.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A PNG of exactly the sample's height and width, grey or colour, to `sample` u8 [channels, height, width].
 * Transparency is laid on black. ERR_INPUT says what does not fit. */
err image_from_png(const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample);

/* The same for a JPEG; of a colour one a sample of one channel takes the luminance. */
err image_from_jpeg(const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample);

/* Raw elements, as many as the sample has. */
err image_from_raw(const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample);

#endif
