#include "image/image.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

image_type image_type_of(const char *type, size_t length) {
    static const struct {
        const char *name;
        image_type type;
    } known[] = {
        {"image/png", IMAGE_PNG},
        {"image/jpeg", IMAGE_JPEG},
        {"image/jpg", IMAGE_JPEG},
        {"application/octet-stream", IMAGE_RAW},
    };
    size_t name = 0;
    while (name < length && !strchr("; \t", type[name])) {
        name++;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (name == strlen(known[i].name) && strncasecmp(type, known[i].name, name) == 0) {
            return known[i].type;
        }
    }
    const size_t any = strlen("image/");
    return name >= any && strncasecmp(type, "image/", any) == 0 ? IMAGE_PICTURE : IMAGE_OTHER;
}

typedef err decode_picture(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p);

static err read_picture(decode_picture *decode, const uint8_t *bytes, size_t length, const image_shape *shape,
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

err image_read(image_type type, const uint8_t *bytes, size_t length, const image_shape *shape, uint8_t *sample) {
    size_t elements = image_shape_elements(shape);
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

/* What one row or column of the scaled picture covers: from `first` to before `end`, in parts of 1 / `whole`: of the
 * first `head`, of the last `tail`. */
typedef struct cover {
    uint32_t first, end, head, tail, whole;
} cover;

static cover cover_of(uint32_t index, uint32_t from, uint32_t to) {
    uint64_t low = (uint64_t)index * from, high = low + from;
    cover c = {.first = (uint32_t)(low / to), .end = (uint32_t)((high + to - 1) / to), .whole = to};
    c.head = c.end - c.first == 1 ? from : (uint32_t)((c.first + 1ull) * to - low);
    c.tail = (uint32_t)(high - (c.end - 1ull) * to);
    return c;
}

static uint64_t share_of(const cover *c, uint32_t index) {
    return index == c->first ? c->head : index + 1 == c->end ? c->tail : c->whole;
}

/* In whole numbers, and so the same everywhere: all shares of a pixel's area make `all`. */
static void scale_plane(const uint8_t *from, const image_shape *is, const image_shape *shape, uint8_t *to) {
    const uint64_t all = (uint64_t)is->height * is->width;
    for (uint32_t y = 0; y < shape->height; y++) {
        cover rows = cover_of(y, is->height, shape->height);
        for (uint32_t x = 0; x < shape->width; x++) {
            cover columns = cover_of(x, is->width, shape->width);
            uint64_t sum = 0;
            for (uint32_t row = rows.first; row < rows.end; row++) {
                uint64_t line = 0;
                for (uint32_t column = columns.first; column < columns.end; column++) {
                    line += share_of(&columns, column) * from[(size_t)row * is->width + column];
                }
                sum += share_of(&rows, row) * line;
            }
            *to++ = (uint8_t)((2 * sum + all) / (2 * all));
        }
    }
}

static err scale(const bitmap *p, const image_shape *shape, uint8_t *sample) {
    image_shape is = {.channels = shape->channels};
    bitmap_size(p, &is.height, &is.width);
    uint8_t *upright = malloc(image_shape_elements(&is));
    if (!upright) {
        return err_fail(ERR_MEMORY, "no memory for an image");
    }
    bitmap_to_sample(p, &is, upright);
    for (uint32_t i = 0; i < shape->channels; i++) {
        scale_plane(upright + (size_t)i * is.height * is.width, &is, shape,
                    sample + (size_t)i * shape->height * shape->width);
    }
    free(upright);
    return ERR_OK;
}

err image_read_scaled(const uint8_t *bytes, size_t length, const image_shape *shape, uint8_t *sample) {
    decode_picture *decode = image_png_is(bytes, length)    ? image_png_decode
                             : image_jpeg_is(bytes, length) ? image_jpeg_decode
                                                            : NULL;
    if (!decode) {
        return err_fail(ERR_INPUT, "the image is no PNG and no JPEG");
    }
    bitmap p = {.orientation = BITMAP_UPRIGHT};
    err e = decode(bytes, length, NULL, &p);
    e = e ? e : scale(&p, shape, sample);
    bitmap_free(&p);
    return e;
}
