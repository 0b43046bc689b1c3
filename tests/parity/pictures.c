/* The samples that pictures become.
 *
 *     parity_pictures
 *
 * reads records from standard input until its end: the content type and a NUL, then as little-endian u32 the sample's
 * channels, height and width and the body's bytes, then the body. Answers each with a u32, the error's number (0:
 * none), and a u32, how many bytes follow: the sample's elements, or the error's line. */
#include "image/image.h"

#include "base/byte_reader.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static uint8_t body[1 << 20], sample[1 << 20];

static bool read_type(char *type, size_t size) {
    size_t length = 0;
    int next = getchar();
    for (; next > 0 && length + 1 < size; next = getchar()) {
        type[length++] = (char)next;
    }
    type[length] = '\0';
    return next == 0;
}

static uint32_t read_number(void) {
    uint8_t bytes[4] = {0};
    byte_reader at = byte_reader_over(bytes, fread(bytes, 1, sizeof bytes, stdin));
    return byte_reader_u32_le(&at);
}

static void answer(err e, const void *bytes, size_t length) {
    uint8_t head[8];
    byte_put_u32_le(head, (uint32_t)e);
    byte_put_u32_le(head + 4, (uint32_t)length);
    fwrite(head, 1, sizeof head, stdout);
    fwrite(bytes, 1, length, stdout);
}

int main(void) {
    char type[100];
    while (read_type(type, sizeof type)) {
        image_shape shape;
        shape.channels = read_number();
        shape.height = read_number();
        shape.width = read_number();
        size_t length = read_number();
        if (image_shape_elements(&shape) > sizeof sample || length > sizeof body ||
            fread(body, 1, length, stdin) != length) {
            fprintf(stderr, "a record is wrong\n");
            return 1;
        }
        err e = image_read(image_type_of(type, strlen(type)), body, length, &shape, sample);
        e ? answer(e, err_text(), strlen(err_text())) : answer(e, sample, image_shape_elements(&shape));
    }
    return 0;
}
