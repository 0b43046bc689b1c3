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

/* The mean of what pixel (y, x) covers, from the definition: every source pixel's overlap with it. */
static double mean_at(const uint8_t *pixels, uint32_t from_height, uint32_t from_width, uint32_t height, uint32_t width,
                      uint32_t y, uint32_t x) {
    double sum = 0, area = 0;
    for (uint32_t row = 0; row < from_height; row++) {
        for (uint32_t column = 0; column < from_width; column++) {
            double top = (double)y * from_height / height, left = (double)x * from_width / width;
            double bottom = (y + 1.0) * from_height / height, right = (x + 1.0) * from_width / width;
            double tall = (bottom < row + 1 ? bottom : row + 1) - (top > row ? top : row);
            double wide = (right < column + 1 ? right : column + 1) - (left > column ? left : column);
            if (tall > 0 && wide > 0) {
                sum += tall * wide * pixels[row * from_width + column];
                area += tall * wide;
            }
        }
    }
    return sum / area;
}

static void each_pixel_is_the_mean_of_what_it_covers(void **state) {
    (void)state;
    static uint8_t pixels[17 * 23], sample[40 * 40];
    for (size_t i = 0; i < sizeof pixels; i++) {
        pixels[i] = (uint8_t)(i * 73 % 256);
    }
    size_t length = make_png(1, 17, 23, pixels);
    static const image_shape shapes[] = {{1, 17, 23}, {1, 1, 1}, {1, 8, 8}, {1, 5, 40}, {1, 40, 5}, {1, 34, 23}};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const image_shape *s = &shapes[i];
        assert_int_equal(image_read_scaled(file, length, s, sample), ERR_OK);
        for (uint32_t y = 0; y < s->height; y++) {
            for (uint32_t x = 0; x < s->width; x++) {
                double wanted = mean_at(pixels, 17, 23, s->height, s->width, y, x);
                assert_true(sample[y * s->width + x] - wanted <= 0.5001 && wanted - sample[y * s->width + x] <= 0.5001);
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
