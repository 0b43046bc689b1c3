#include "decoder_server/http/image.h"

#include "base/cursor.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

static err finish_read(png_image *image, const split *shape, uint8_t *sample) {
    if (image->width != shape->width || image->height != shape->height) {
        return err_fail(ERR_INPUT, "the image has %u x %u pixels, this model takes %u x %u", image->width,
                        image->height, shape->width, shape->height);
    }
    uint32_t channels = shape->channels;
    image->format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    size_t pixels = (size_t)shape->width * shape->height;
    uint8_t *interleaved = malloc(PNG_IMAGE_SIZE(*image));
    if (!interleaved) {
        return err_fail(ERR_MEMORY, "no memory for an image");
    }
    const png_color black = {0, 0, 0};
    bool good = png_image_finish_read(image, &black, interleaved, 0, NULL) != 0;
    for (size_t i = 0; good && i < pixels * channels; i++) {
        sample[i % channels * pixels + i / channels] = interleaved[i];
    }
    free(interleaved);
    return good ? ERR_OK : err_fail(ERR_INPUT, "the PNG is damaged: %s", image->message);
}

enum { PNG_SIGNATURE = 8 };

/* Whether every chunk up to IEND lies within the body: libpng allocates what a chunk claims before it reads it. */
static bool chunks_fit(const uint8_t *bytes, size_t length) {
    static const uint8_t end[4] = {'I', 'E', 'N', 'D'};
    cursor c = cursor_over(bytes, length);
    cursor_bytes(&c, PNG_SIGNATURE);
    while (!c.failed) {
        uint32_t size = cursor_u32_be(&c);
        const uint8_t *type = cursor_bytes(&c, sizeof end);
        cursor_bytes(&c, size);
        cursor_u32_be(&c); /* its CRC */
        if (!c.failed && memcmp(type, end, sizeof end) == 0) {
            return true;
        }
    }
    return false;
}

err image_from_png(const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    if (length < PNG_SIGNATURE || png_sig_cmp(bytes, 0, PNG_SIGNATURE) != 0) {
        return err_fail(ERR_INPUT, "the body is no PNG: its first bytes are others");
    }
    if (!chunks_fit(bytes, length)) {
        return err_fail(ERR_INPUT, "the PNG is damaged: it ends within a chunk");
    }
    if (!png_image_begin_read_from_memory(&image, bytes, length)) {
        return err_fail(ERR_INPUT, "the body is no PNG: %s", image.message);
    }
    err e = shape->channels == 1 || shape->channels == 3
                ? finish_read(&image, shape, sample)
                : err_fail(ERR_INPUT, "samples of %u channels have no PNG form", shape->channels);
    png_image_free(&image);
    return e;
}

err image_from_raw(const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample) {
    if (length != split_sample_elements(shape)) {
        return err_fail(ERR_INPUT, "the body has %zu bytes, a sample %zu", length, split_sample_elements(shape));
    }
    memcpy(sample, bytes, length);
    return ERR_OK;
}
