#include "decoder_server/http/image.h"

#include "decoder_server/http/image_jpeg.h"
#include "decoder_server/http/image_png.h"

#include <string.h>
#include <strings.h>

image_type image_type_of(span type) {
    static const struct {
        const char *name;
        image_type type;
    } known[] = {
        {"image/png", IMAGE_PNG},
        {"image/jpeg", IMAGE_JPEG},
        {"image/jpg", IMAGE_JPEG},
        {"application/octet-stream", IMAGE_RAW},
    };
    size_t length = 0;
    while (length < type.length && !strchr("; \t", type.at[length])) {
        length++;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (span_is((span){type.at, length}, known[i].name)) {
            return known[i].type;
        }
    }
    const size_t any = strlen("image/");
    return length >= any && strncasecmp(type.at, "image/", any) == 0 ? IMAGE_PICTURE : IMAGE_OTHER;
}

typedef err decode_picture(const uint8_t *bytes, size_t length, const partition *shape, bitmap *p);

static err read_picture(decode_picture *decode, const uint8_t *bytes, size_t length, const partition *shape,
                        uint8_t *sample) {
    if (shape->channels != 1 && shape->channels != 3) {
        return err_fail(ERR_INPUT, "samples of %u channels have no PNG or JPEG form", shape->channels);
    }
    bitmap p = {.orientation = BITMAP_UPRIGHT};
    err e = decode(bytes, length, shape, &p);
    if (!e) {
        bitmap_to_sample(&p, shape, sample);
    }
    bitmap_free(&p);
    return e;
}

static err refuse(image_type type, size_t length, size_t elements) {
    switch (type) {
    case IMAGE_PNG:
        return err_fail(ERR_INPUT, "the body is no PNG: its first bytes are others");
    case IMAGE_JPEG:
        return err_fail(ERR_INPUT, "the body is no JPEG: its first bytes are others");
    case IMAGE_RAW:
        return err_fail(ERR_INPUT, "the body has %zu bytes, a sample %zu", length, elements);
    case IMAGE_PICTURE:
        return err_fail(ERR_REFUSED, "the image is no PNG and no JPEG");
    case IMAGE_OTHER:
        return err_fail(ERR_REFUSED,
                        "the image is no PNG and no JPEG, and its %zu bytes are not the %zu of a raw sample", length,
                        elements);
    }
    return ERR_INTERNAL;
}

bool image_is_picture(const uint8_t *bytes, size_t length) {
    return image_png_is(bytes, length) || image_jpeg_is(bytes, length);
}

err image_read(image_type type, const uint8_t *bytes, size_t length, const partition *shape, uint8_t *sample) {
    size_t elements = partition_sample_elements(shape);
    bool may_be_raw = length == elements && (type == IMAGE_RAW || type == IMAGE_OTHER);
    if (image_png_is(bytes, length)) {
        return read_picture(image_png_decode, bytes, length, shape, sample);
    }
    /* Raw elements may begin with a JPEG's three bytes too, but hardly have a frame header where a JPEG has it. */
    if (image_jpeg_is(bytes, length) && (!may_be_raw || image_jpeg_has_frame(bytes, length))) {
        return read_picture(image_jpeg_decode, bytes, length, shape, sample);
    }
    if (!may_be_raw) {
        return refuse(type, length, elements);
    }
    memcpy(sample, bytes, length);
    return ERR_OK;
}
