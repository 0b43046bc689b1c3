/* Images: a request's PNG, JPEG or raw bytes become the elements of a sample. The bytes are not trusted.
 *
 * Reading one takes at most some 100 ns for each of its bytes and 50 ns for each pixel of the sample (half of that was
 * measured, on the worst files of tests/), and four bytes of memory a pixel, a progressive JPEG six more.
 *
 * A PNG or JPEG is recognised by its first bytes, whatever its content type says; bitmap.h says what its pixels become.
 */
#ifndef FEWBIT_DECODER_SERVER_HTTP_IMAGE_H
#define FEWBIT_DECODER_SERVER_HTTP_IMAGE_H

#include "base/err.h"
#include "data/partition.h"
#include "decoder_server/http/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a content type says. IMAGE_OTHER: no type at all, or one that is no image's. */
typedef enum image_type { IMAGE_OTHER, IMAGE_PNG, IMAGE_JPEG, IMAGE_PICTURE, IMAGE_RAW } image_type;

/* Ignores case and parameters. */
image_type image_type_of(span type);

/* Whether it begins as a PNG or a JPEG does: reading it takes a while. */
bool image_is_picture(const uint8_t *bytes, size_t length);

/* An image of exactly the sample's height and width to `sample` u8 [channels, height, width]. What is no PNG and no
 * JPEG are raw elements, if they are as many as the sample has and `type` is no picture's. ERR_INPUT says what does not
 * fit; ERR_REFUSED: it is no kind of image that is taken. */
err image_read(image_type type, const uint8_t *bytes, size_t length, const partition *shape, uint8_t *sample);

#endif
