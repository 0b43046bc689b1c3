/* PNG (libpng). The chunks are gone over first, which costs little and allocates nothing; libpng then gets only those
 * that make the picture, and no more of them than a picture of this size can need. All others (texts, profiles, frames
 * of an animation, what is unknown) are skipped unread, and so are image data after the last row. */
#include "image/bitmap.h"

#include "base/byte_reader.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { SIGNATURE = 8, HEADER = 13, AROUND = 12, CHUNKS_MAX = 4096, DATA_SPARE = 4096, TEXT_MAX = 100 };
enum { COLOUR_PALETTE = 3, COLOUR_TYPES = 7 };

typedef struct chunk {
    const uint8_t *all; /* length, type, data and CRC */
    const uint8_t *data;
    uint32_t length;
    char type[5];
} chunk;

/* What was found on the way over the chunks. */
typedef struct outline {
    uint32_t width, height;
    uint32_t depth, colour; /* as the header has them */
    uint32_t orientation;
    uint64_t data_bytes; /* of all IDAT */
} outline;

typedef struct decoder {
    png_structp png;
    png_infop info;
    jmp_buf failed;
    char text[TEXT_MAX];
    bitmap *bitmap;
    err e; /* what failed is not the PNG */
    bool is_complete;
} decoder;

bool image_png_is(const uint8_t *bytes, size_t length) {
    return length >= SIGNATURE && png_sig_cmp(bytes, 0, SIGNATURE) == 0;
}

static bool is_type(const chunk *c, const char *type) {
    return strcmp(c->type, type) == 0;
}

/* False where the body ends within it. */
static bool next_chunk(byte_reader *at, chunk *c) {
    c->all = at->next;
    c->length = byte_reader_u32_be(at);
    const uint8_t *type = byte_reader_bytes(at, 4);
    c->data = byte_reader_bytes(at, c->length);
    byte_reader_u32_be(at); /* its CRC */
    if (at->failed) {
        return false;
    }
    memcpy(c->type, type, 4);
    c->type[4] = '\0';
    return true;
}

static bool crc_fits(const chunk *c) {
    byte_reader stored = byte_reader_over(c->data + c->length, 4);
    return crc32(crc32(0, NULL, 0), c->all + 4, c->length + 4) == byte_reader_u32_be(&stored);
}

static err read_header(const chunk *c, outline *o) {
    if (!is_type(c, "IHDR") || c->length != HEADER) {
        return err_fail(ERR_INPUT, "the PNG is damaged: it does not begin with a header");
    }
    byte_reader at = byte_reader_over(c->data, c->length);
    o->width = byte_reader_u32_be(&at);
    o->height = byte_reader_u32_be(&at);
    o->depth = byte_reader_u8(&at);
    o->colour = byte_reader_u8(&at);
    return ERR_OK;
}

static err look_at(const chunk *c, outline *o) {
    bool is_needed = (c->type[0] & 0x20) == 0; /* a capital: whoever does not know it cannot show the bitmap */
    if (is_type(c, "IDAT")) {
        o->data_bytes += c->length;
    } else if (is_type(c, "eXIf") && o->orientation == 0 && crc_fits(c)) {
        o->orientation = bitmap_orientation(c->data, c->length);
    } else if (is_needed && !is_type(c, "IHDR") && !is_type(c, "PLTE") && !is_type(c, "IEND")) {
        return err_fail(ERR_INPUT, "the PNG is of a kind that is not taken: it cannot be read without its chunk '%s'",
                        c->type);
    }
    return ERR_OK;
}

/* Over all chunks up to IEND. */
static err survey(const uint8_t *bytes, size_t length, outline *o) {
    byte_reader at = byte_reader_over(bytes + SIGNATURE, length - SIGNATURE);
    chunk c = {0};
    for (uint32_t count = 0; !is_type(&c, "IEND"); count++) {
        if (count == CHUNKS_MAX) {
            return err_fail(ERR_INPUT, "the PNG has more than %d chunks", CHUNKS_MAX);
        }
        if (!next_chunk(&at, &c)) {
            return err_fail(ERR_INPUT, "the PNG is damaged: it ends within a chunk");
        }
        err e = count == 0 ? read_header(&c, o) : look_at(&c, o);
        if (e) {
            return e;
        }
    }
    return ERR_OK;
}

/* Deflate makes hardly more of what it cannot compress; a row on its own, or a pass of a narrow picture, has at most as
 * much again around it. What is beyond that costs time and holds nothing. */
static err check_data(const outline *o) {
    static const uint8_t channels[COLOUR_TYPES] = {1, 0, 3, 1, 2, 0, 4};
    if (o->colour >= COLOUR_TYPES || channels[o->colour] == 0 || o->depth > 16) {
        return err_fail(ERR_INPUT, "the PNG is damaged: its header names no kind of PNG");
    }
    uint64_t row = 1 + ((uint64_t)o->width * channels[o->colour] * o->depth + 7) / 8;
    uint64_t most = 2 * row * o->height + DATA_SPARE;
    if (o->data_bytes > most) {
        return err_fail(ERR_INPUT, "the PNG has %llu bytes of image data, where %u x %u pixels need at most %llu",
                        (unsigned long long)o->data_bytes, o->width, o->height, (unsigned long long)most);
    }
    return ERR_OK;
}

/* libpng's callbacks. */

static void on_error(png_structp png, png_const_charp text) {
    decoder *d = png_get_error_ptr(png);
    snprintf(d->text, sizeof d->text, "%s", text);
    longjmp(d->failed, 1);
}

static void on_warning(png_structp png, png_const_charp text) {
    (void)png, (void)text;
}

static void on_header(png_structp png, png_infop info) {
    decoder *d = png_get_progressive_ptr(png);
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, info);
    d->bitmap->channels = png_get_channels(png, info);
    d->e = bitmap_allocate(d->bitmap);
    if (d->e) {
        png_error(png, "no memory");
    }
}

/* `bytes` is NULL for a row that a pass leaves as it is. */
static void on_row(png_structp png, png_bytep bytes, png_uint_32 y, int pass) {
    decoder *d = png_get_progressive_ptr(png);
    bitmap *p = d->bitmap;
    bool is_interlaced = png_get_interlace_type(png, d->info) != PNG_INTERLACE_NONE;
    png_progressive_combine_row(png, p->pixels + (size_t)y * p->width * p->channels, bytes);
    d->is_complete = y + 1 == p->height && pass == (is_interlaced ? PNG_INTERLACE_ADAM7_PASSES - 1 : 0);
}

static void feed(decoder *d, const uint8_t *bytes, size_t length) {
    png_process_data(d->png, d->info, (png_bytep)bytes, length); /* it does not write there */
}

/* Which chunks libpng gets, until it has the last row. */
static bool makes_the_picture(const chunk *c, const outline *o) {
    bool has_alpha = (o->colour & PNG_COLOR_MASK_ALPHA) != 0;
    return is_type(c, "IHDR") || is_type(c, "IDAT") || (is_type(c, "PLTE") && o->colour == COLOUR_PALETTE) ||
           (is_type(c, "tRNS") && !has_alpha);
}

static err decode(decoder *d, const uint8_t *bytes, size_t length, const outline *o) {
    if (setjmp(d->failed)) {
        return d->e ? d->e : err_fail(ERR_INPUT, "the PNG is damaged: %s", d->text);
    }
    png_set_crc_action(d->png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    png_set_user_limits(d->png, o->width, o->height);
    png_set_progressive_read_fn(d->png, d, on_header, on_row, NULL);
    feed(d, bytes, SIGNATURE);
    byte_reader at = byte_reader_over(bytes + SIGNATURE, length - SIGNATURE);
    chunk c = {0};
    while (!d->is_complete && !is_type(&c, "IEND") && next_chunk(&at, &c)) {
        if (makes_the_picture(&c, o)) {
            feed(d, c.all, (size_t)c.length + AROUND);
        }
    }
    return d->is_complete ? ERR_OK : err_fail(ERR_INPUT, "the PNG is damaged: it has not all its rows");
}

static void *give(png_structp png, png_alloc_size_t size) {
    decoder *d = png_get_mem_ptr(png);
    void *memory = malloc(size);
    if (!memory) {
        d->e = err_fail(ERR_MEMORY, "no memory for an image");
    }
    return memory;
}

static void take_back(png_structp png, void *memory) {
    (void)png;
    free(memory);
}

static err open_and_decode(decoder *d, const uint8_t *bytes, size_t length, const outline *o) {
    d->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, d, on_error, on_warning, d, give, take_back);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    err e = d->info ? decode(d, bytes, length, o) : err_fail(ERR_MEMORY, "no memory for an image");
    png_destroy_read_struct(&d->png, &d->info, NULL);
    return e;
}

err image_png_decode(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p) {
    outline o = {0};
    err e = survey(bytes, length, &o);
    if (e) {
        return e;
    }
    p->width = o.width;
    p->height = o.height;
    p->orientation = o.orientation ? o.orientation : BITMAP_UPRIGHT;
    e = bitmap_check(p, shape);
    e = e ? e : check_data(&o);
    if (e) {
        return e;
    }
    decoder *d = calloc(1, sizeof *d); /* not on the stack: it must hold its values across longjmp */
    if (!d) {
        return err_fail(ERR_MEMORY, "no memory for an image");
    }
    d->bitmap = p;
    e = open_and_decode(d, bytes, length, &o);
    free(d);
    return e;
}
