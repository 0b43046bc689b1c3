/* JPEG (libjpeg-turbo). The body is hostile until shown otherwise: what it is and its size are read from its headers
 * before anything of the picture's size is allocated, memory and scans are capped, and whatever libjpeg only warns
 * about is an error. */
#include "image/bitmap.h"

#include "base/byte_reader.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h> /* wants stdio.h before it */

#include <jerror.h>

enum { MEMORY_MAX = 64 << 20, MEMORY_MAX_OF_ANY = 1 << 30, SCANS_MAX = 64, SEGMENTS_MAX = 1024, DEPTH = 8 };

/* Markers: the byte after 0xff. */
enum {
    MARKER_TEM = 0x01,
    MARKER_SOF0 = 0xc0, /* to 0xcf, but for the three that follow */
    MARKER_SOF2 = 0xc2,
    MARKER_DHT = 0xc4,
    MARKER_JPG = 0xc8,
    MARKER_DAC = 0xcc,
    MARKER_SOF15 = 0xcf,
    MARKER_RST0 = 0xd0,
    MARKER_SOI = 0xd8,
    MARKER_EOI = 0xd9,
    MARKER_SOS = 0xda,
    MARKER_APP1 = 0xe1,
};

/* What the headers before the first scan say. */
typedef struct outline {
    uint32_t frame; /* its marker; 0: none was found */
    uint32_t depth, width, height, components;
    uint32_t orientation; /* 0: none is named */
    uint32_t segments;    /* at most SEGMENTS_MAX + 1 are looked at */
} outline;

typedef struct decoder {
    struct jpeg_decompress_struct jpeg; /* first: libjpeg hands it back */
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    char text[JMSG_LENGTH_MAX];
    bool has_too_many_scans, is_of_any_size;
} decoder;

static void give_up(j_common_ptr common) {
    decoder *d = (decoder *)common;
    common->err->format_message(common, d->text);
    longjmp(d->failed, 1);
}

/* Negative: a warning, which means damage. */
static void on_message(j_common_ptr common, int level) {
    if (level < 0) {
        give_up(common);
    }
}

/* A progressive picture may have any number of scans, each as costly as the whole. */
static void on_progress(j_common_ptr common) {
    decoder *d = (decoder *)common;
    d->has_too_many_scans = d->jpeg.input_scan_number > SCANS_MAX;
    if (d->has_too_many_scans) {
        longjmp(d->failed, 1);
    }
}

static err tell(const decoder *d) {
    if (d->has_too_many_scans) {
        return err_fail(ERR_INPUT, "the JPEG has more than %d scans", SCANS_MAX);
    }
    return d->errors.msg_code == JERR_OUT_OF_MEMORY ? err_fail(ERR_MEMORY, "no memory for an image")
                                                    : err_fail(ERR_INPUT, "the JPEG is damaged: %s", d->text);
}

static void read_frame(byte_reader body, uint32_t marker, outline *o) {
    o->frame = marker;
    o->depth = byte_reader_u8(&body);
    o->height = (uint32_t)byte_reader_u8(&body) << 8;
    o->height |= byte_reader_u8(&body);
    o->width = (uint32_t)byte_reader_u8(&body) << 8;
    o->width |= byte_reader_u8(&body);
    o->components = byte_reader_u8(&body);
}

static void read_segment(byte_reader body, uint32_t marker, outline *o) {
    static const uint8_t exif[6] = {'E', 'x', 'i', 'f', 0, 0};
    bool is_frame = marker >= MARKER_SOF0 && marker <= MARKER_SOF15 && marker != MARKER_DHT && marker != MARKER_JPG &&
                    marker != MARKER_DAC;
    if (is_frame && o->frame == 0) {
        read_frame(body, marker, o);
    } else if (marker == MARKER_APP1 && o->orientation == 0) {
        const uint8_t *mark = byte_reader_bytes(&body, sizeof exif);
        if (mark && memcmp(mark, exif, sizeof exif) == 0) {
            o->orientation = bitmap_orientation(body.next, byte_reader_left(&body));
        }
    }
}

/* Over the segments up to the first scan, or to where the body is damaged. */
static outline survey(const uint8_t *bytes, size_t length) {
    outline o = {0};
    byte_reader at = byte_reader_over(bytes, length);
    while (!at.failed && o.segments <= SEGMENTS_MAX && byte_reader_u8(&at) == 0xff) {
        uint32_t marker = byte_reader_u8(&at);
        while (marker == 0xff) { /* any number of them fills */
            marker = byte_reader_u8(&at);
        }
        if (marker == MARKER_SOS || marker == MARKER_EOI) {
            break;
        }
        if (marker == MARKER_TEM || (marker >= MARKER_RST0 && marker <= MARKER_SOI)) {
            continue; /* nothing follows these */
        }
        size_t high = byte_reader_u8(&at), size = high << 8 | byte_reader_u8(&at);
        const uint8_t *body = byte_reader_bytes(&at, size < 2 ? SIZE_MAX : size - 2);
        o.segments++;
        if (body) {
            read_segment(byte_reader_over(body, size - 2), marker, &o);
        }
    }
    return o;
}

static const char *kind_not_taken(const outline *o) {
    static const char *const kinds[] = {NULL,
                                        NULL,
                                        NULL,
                                        "lossless",
                                        NULL,
                                        "hierarchical",
                                        "hierarchical",
                                        "hierarchical",
                                        NULL,
                                        "arithmetically coded",
                                        "arithmetically coded",
                                        "arithmetically coded and lossless",
                                        NULL,
                                        "arithmetically coded and hierarchical",
                                        "arithmetically coded and hierarchical",
                                        "arithmetically coded and hierarchical"};
    const char *kind = kinds[o->frame - MARKER_SOF0];
    return kind                                       ? kind
           : o->depth != DEPTH                        ? "of another depth than 8 bits"
           : o->components == 4                       ? "in four colours (CMYK or YCCK)"
           : o->components != 1 && o->components != 3 ? "neither grey nor in three colours"
                                                      : NULL;
}

bool image_jpeg_is(const uint8_t *bytes, size_t length) {
    static const uint8_t signature[] = {0xff, MARKER_SOI, 0xff};
    return length >= sizeof signature && memcmp(bytes, signature, sizeof signature) == 0;
}

bool image_jpeg_has_frame(const uint8_t *bytes, size_t length) {
    return survey(bytes, length).frame != 0;
}

static err check(const outline *o, const image_shape *shape, bitmap *p) {
    if (o->segments > SEGMENTS_MAX) {
        return err_fail(ERR_INPUT, "the JPEG has more than %d segments before its picture", SEGMENTS_MAX);
    }
    if (o->frame == 0) {
        return err_fail(ERR_INPUT, "the JPEG is damaged: it has no header of a frame");
    }
    const char *kind = kind_not_taken(o);
    if (kind) {
        return err_fail(ERR_INPUT, "the JPEG is %s, which is not taken: save it as a baseline one in RGB or grey",
                        kind);
    }
    p->width = o->width;
    p->height = o->height;
    p->channels = o->components;
    p->orientation = o->orientation ? o->orientation : BITMAP_UPRIGHT;
    return bitmap_check(p, shape);
}

static err read_rows(decoder *d, bitmap *p) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    err e = bitmap_allocate(p);
    if (e) {
        return e;
    }
    j->out_color_space = p->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(j);
    while (j->output_scanline < j->output_height) {
        JSAMPROW row = p->pixels + (size_t)j->output_scanline * p->width * p->channels;
        jpeg_read_scanlines(j, &row, 1);
    }
    jpeg_finish_decompress(j);
    return ERR_OK;
}

static err decode(decoder *d, const uint8_t *bytes, size_t length, bitmap *p) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    if (setjmp(d->failed)) {
        return tell(d);
    }
    jpeg_create_decompress(j);
    j->mem->max_memory_to_use = d->is_of_any_size ? MEMORY_MAX_OF_ANY : MEMORY_MAX;
    j->progress = &d->progress;
    jpeg_mem_src(j, bytes, (unsigned long)length);
    jpeg_read_header(j, TRUE);
    bool is_as_surveyed =
        j->image_width == p->width && j->image_height == p->height && (uint32_t)j->num_components == p->channels;
    return is_as_surveyed ? read_rows(d, p) : err_fail(ERR_INPUT, "the JPEG is damaged: it has two sizes");
}

err image_jpeg_decode(const uint8_t *bytes, size_t length, const image_shape *shape, bitmap *p) {
    outline o = survey(bytes, length);
    err e = check(&o, shape, p);
    if (e) {
        return e;
    }
    decoder *d = calloc(1, sizeof *d); /* not on the stack: it must hold its values across longjmp */
    if (!d) {
        return err_fail(ERR_MEMORY, "no memory for an image");
    }
    d->is_of_any_size = !shape;
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = give_up;
    d->errors.emit_message = on_message;
    d->progress.progress_monitor = on_progress;
    e = decode(d, bytes, length, p);
    jpeg_destroy_decompress(&d->jpeg);
    free(d);
    return e;
}
