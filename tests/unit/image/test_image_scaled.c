/* Pictures of any size, scaled: each pixel is the mean of what it covers. */
#include "image/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <png.h>

enum { FILE_MAX = 1 << 16 };

static uint8_t file[FILE_MAX];

/* A PNG of u8 [height, width, channels] in `file`. */
static size_t make_png(uint32_t channels, uint32_t height, uint32_t width, const uint8_t *pixels) {
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = width,
                       .height = height,
                       .format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t length = sizeof file;
    assert_int_equal(png_image_write_to_memory(&image, file, &length, 0, pixels, 0, NULL), 1);
    return length;
}

/* How much of source pixel `from` (of `froms`) target pixel `to` (of `tos`) covers, in parts of froms x tos a side. */
static int64_t overlap(uint32_t from, uint32_t froms, uint32_t to, uint32_t tos) {
    int64_t low = (int64_t)from * tos, high = low + tos, first = (int64_t)to * froms, end = first + froms;
    int64_t shared = (high < end ? high : end) - (low > first ? low : first);
    return shared > 0 ? shared : 0;
}

/* The mean of what pixel (y, x) covers, from the definition, rounded to nearest, a half up. */
static uint8_t mean_at(const uint8_t *pixels, const image_shape *from, const image_shape *to, uint32_t y, uint32_t x) {
    int64_t sum = 0, area = 0;
    for (uint32_t row = 0; row < from->height; row++) {
        for (uint32_t column = 0; column < from->width; column++) {
            int64_t covered = overlap(row, from->height, y, to->height) * overlap(column, from->width, x, to->width);
            sum += covered * pixels[row * from->width + column];
            area += covered;
        }
    }
    return (uint8_t)((2 * sum + area) / (2 * area));
}

static void each_pixel_is_the_mean_of_what_it_covers(void **state) {
    (void)state;
    static uint8_t pixels[40 * 40], sample[40 * 40];
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * 73 % 256);
    }
    static const image_shape from[] = {{1, 17, 23}, {1, 6, 8}, {1, 16, 24}};
    static const image_shape shapes[] = {{1, 17, 23}, {1, 1, 1},   {1, 8, 8}, {1, 5, 40},
                                         {1, 40, 5},  {1, 34, 23}, {1, 3, 3}, {1, 9, 4}};
    for (size_t k = 0; k < sizeof from / sizeof from[0]; k++) {
        size_t length = make_png(1, from[k].height, from[k].width, pixels);
        for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
            const image_shape *s = &shapes[i];
            assert_int_equal(image_read_scaled(file, length, s, sample), ERR_OK);
            for (uint32_t at = 0; at < s->height * s->width; at++) {
                assert_int_equal(sample[at], mean_at(pixels, &from[k], s, at / s->width, at % s->width));
            }
        }
    }
}

static void colour_is_scaled_a_plane_at_a_time(void **state) {
    (void)state;
    static const uint8_t pixels[] = {10, 20, 30, 30, 40, 50, 50, 60, 70, 70, 80, 90};
    uint8_t sample[3];
    size_t length = make_png(3, 2, 2, pixels);
    assert_int_equal(image_read_scaled(file, length, &(image_shape){3, 1, 1}, sample), ERR_OK);
    assert_memory_equal(sample, ((const uint8_t[]){40, 50, 60}), 3);
    assert_int_equal(image_read_scaled(file, length - 20, &(image_shape){3, 1, 1}, sample), ERR_INPUT);
    assert_int_equal(image_read_scaled((const uint8_t *)"text", 4, &(image_shape){3, 1, 1}, sample), ERR_INPUT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pixel_is_the_mean_of_what_it_covers),
        cmocka_unit_test(colour_is_scaled_a_plane_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
