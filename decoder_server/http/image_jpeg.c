/* JPEG (libjpeg-turbo). The body is hostile until shown otherwise: the size is checked from the header before anything
 * of the picture's size is allocated, memory and scans are capped, and whatever libjpeg only warns about is an error.
 */
#include "decoder_server/http/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <jpeglib.h> /* wants stdio.h before it */

enum { MEMORY_MAX = 64 << 20, SCANS_MAX = 64 };

typedef struct decoder {
    struct jpeg_decompress_struct jpeg; /* first: libjpeg hands it back */
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf failed;
    char text[JMSG_LENGTH_MAX];
    uint8_t *row;
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
    if (d->jpeg.input_scan_number > SCANS_MAX) {
        snprintf(d->text, sizeof d->text, "it has more than %d scans", SCANS_MAX);
        longjmp(d->failed, 1);
    }
}

static err read_rows(decoder *d, const split *shape, uint8_t *sample) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    size_t pixels = (size_t)shape->width * shape->height, channels = shape->channels;
    d->row = malloc(shape->width * channels);
    if (!d->row) {
        return err_fail(ERR_MEMORY, "no memory for an image");
    }
    j->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(j);
    while (j->output_scanline < j->output_height) {
        uint8_t *to = sample + (size_t)j->output_scanline * shape->width;
        JSAMPROW row = d->row;
        jpeg_read_scanlines(j, &row, 1);
        for (size_t i = 0; i < shape->width * channels; i++) {
            to[i % channels * pixels + i / channels] = d->row[i];
        }
    }
    jpeg_finish_decompress(j);
    return ERR_OK;
}

static err decode(decoder *d, const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample) {
    struct jpeg_decompress_struct *j = &d->jpeg;
    if (setjmp(d->failed)) {
        return err_fail(ERR_INPUT, "the JPEG is damaged: %s", d->text);
    }
    jpeg_create_decompress(j);
    j->mem->max_memory_to_use = MEMORY_MAX;
    j->progress = &d->progress;
    jpeg_mem_src(j, bytes, (unsigned long)length);
    jpeg_read_header(j, TRUE);
    if (j->image_width != shape->width || j->image_height != shape->height) {
        return err_fail(ERR_INPUT, "the image has %u x %u pixels, this model takes %u x %u", j->image_width,
                        j->image_height, shape->width, shape->height);
    }
    return read_rows(d, shape, sample);
}

err image_from_jpeg(const uint8_t *bytes, size_t length, const split *shape, uint8_t *sample) {
    static const uint8_t signature[] = {0xff, 0xd8, 0xff};
    for (size_t i = 0; i < sizeof signature; i++) {
        if (i >= length || bytes[i] != signature[i]) {
            return err_fail(ERR_INPUT, "the body is no JPEG: its first bytes are others");
        }
    }
    if (shape->channels != 1 && shape->channels != 3) {
        return err_fail(ERR_INPUT, "samples of %u channels have no JPEG form", shape->channels);
    }
    decoder *d = calloc(1, sizeof *d); /* not on the stack: it must hold its values across longjmp */
    if (!d) {
        return err_fail(ERR_MEMORY, "no memory for an image");
    }
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = give_up;
    d->errors.emit_message = on_message;
    d->progress.progress_monitor = on_progress;
    err e = decode(d, bytes, length, shape, sample);
    jpeg_destroy_decompress(&d->jpeg);
    free(d->row);
    free(d);
    return e;
}
