/* Images: PNG, JPEG or raw bytes become the elements of a sample. The bytes are not trusted.
 *
 * Reading one takes at most some 100 ns for each of its bytes and 50 ns for each pixel of the sample (half of that was
 * measured, on the worst files of tests/), and four bytes of memory a pixel, a progressive JPEG six more.
 *
 * A PNG or JPEG is recognised by its first bytes, whatever its content type says; bitmap.h says what its pixels become.
 */
#ifndef FEWBIT_IMAGE_IMAGE_H
#define FEWBIT_IMAGE_IMAGE_H

#include "image/bitmap.h"

/* What a content type says. IMAGE_OTHER: no type at all, or one that is no image's. */
typedef enum image_type { IMAGE_OTHER, IMAGE_PNG, IMAGE_JPEG, IMAGE_PICTURE, IMAGE_RAW } image_type;

/* Of a content type's text, which may be NULL; ignores case and parameters. */
image_type image_type_of(const char *type, size_t length);

/* Whether it begins as a PNG or a JPEG does: reading it takes a while. */
bool image_is_picture(const uint8_t *bytes, size_t length);

/* An image of exactly the sample's height and width to `sample` u8 [channels, height, width]. What is no PNG and no
 * JPEG are raw elements, if they are as many as the sample has and `type` is no picture's. ERR_INPUT says what does not
 * fit; ERR_REFUSED: it is no kind of image that is taken. */
err image_read(image_type type, const uint8_t *bytes, size_t length, const image_shape *shape, uint8_t *sample);

/* A PNG or JPEG of any size, scaled to `shape`: each pixel is the mean of the area of the picture that it covers, the
 * sides' proportions are not kept. */
err image_read_scaled(const uint8_t *bytes, size_t length, const image_shape *shape, uint8_t *sample);

#endif
