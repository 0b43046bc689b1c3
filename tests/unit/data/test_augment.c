/* Augmentation: maps by hand, what is drawn, and that nodes distort their portions of one sample alike. */
#include "data/augment.h"

#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

enum { SIDE = 8, ELEMENTS = SIDE * SIDE, DRAWN = 2000 };

static const partition whole = {PARTITION_SLICES, 1, 1, SIDE, SIDE};
static const augment_map still = {.xx = 1, .yy = 1};

static void fill(uint8_t *image, size_t n) {
    rng draws = rng_at(3, rng_stream(RNG_TEST, 1), 0);
    for (size_t i = 0; i < n; i++) {
        image[i] = (uint8_t)rng_u32(&draws);
    }
}

static void maps_by_hand(void **state) {
    (void)state;
    uint8_t image[ELEMENTS], out[ELEMENTS];
    fill(image, ELEMENTS);
    augment_portion(&whole, 0, &still, image, out);
    assert_memory_equal(out, image, ELEMENTS);
    const augment_map left = {.xx = 1, .yy = 1, .x0 = 3}, mirrored = {.xx = -1, .yy = 1, .x0 = SIDE - 1};
    const augment_map turned = {.xy = 1, .yx = -1, .y0 = SIDE - 1},
                      between = {.xx = 1, .yy = 1, .x0 = 0.25f, .y0 = 0.5f};
    augment_portion(&whole, 0, &left, image, out);
    for (size_t i = 0; i < ELEMENTS; i++) {
        size_t row = i / SIDE, column = i % SIDE + 3;
        assert_int_equal(out[i], image[row * SIDE + (column < SIDE ? column : SIDE - 1)]); /* the edge, repeated */
    }
    augment_portion(&whole, 0, &mirrored, image, out);
    for (size_t i = 0; i < ELEMENTS; i++) {
        assert_int_equal(out[i], image[i / SIDE * SIDE + SIDE - 1 - i % SIDE]);
    }
    augment_portion(&whole, 0, &turned, image, out);
    for (size_t i = 0; i < ELEMENTS; i++) {
        assert_int_equal(out[i], image[(SIDE - 1 - i % SIDE) * SIDE + i / SIDE]);
    }
    augment_portion(&whole, 0, &between, image, out);
    const double wanted =
        0.5 * (0.75 * image[0] + 0.25 * image[1]) + 0.5 * (0.75 * image[SIDE] + 0.25 * image[SIDE + 1]);
    assert_true(fabs((double)out[0] - wanted) <= 0.51);
}

/* In double: where the middle goes, how far things turn and grow. */
static void draws_stay_within_their_bounds(void **state) {
    (void)state;
    const augmentation a = {.shift = 2, .rotation = 30, .scale = 0.2f, .flip = true};
    const partition s = {PARTITION_SLICES, 1, 1, 28, 20};
    double most_angle = 0, most_right = 0, most_down = 0, most_size = 0, mirrored = 0, sum = 0;
    for (uint32_t row = 0; row < DRAWN; row++) {
        augment_map m = augment_draw(&a, &s, 1, 5, row);
        double determinant = (double)(m.xx * m.yy - m.xy * m.yx), size = 1 / sqrt(fabs(determinant));
        double angle = atan2((double)m.xy, (double)m.yy) * 180 / M_PI;
        /* What comes to lie in the middle lay at minus the shift, turned and shrunk. */
        double x = (double)(m.xx * 9.5f + m.xy * 13.5f + m.x0) - 9.5,
               y = (double)(m.yx * 9.5f + m.yy * 13.5f + m.y0) - 13.5;
        double right = -((double)m.yy * x - (double)m.xy * y) / determinant;
        double down = -(-(double)m.yx * x + (double)m.xx * y) / determinant;
        mirrored += determinant < 0;
        sum += angle;
        most_angle = fmax(most_angle, fabs(angle));
        most_right = fmax(most_right, fabs(right));
        most_down = fmax(most_down, fabs(down));
        most_size = fmax(most_size, fabs(size - 1));
    }
    assert_true(most_angle <= 30.001 && most_angle > 29.5);
    assert_true(most_right <= 2.001 && most_right > 1.97);
    assert_true(most_down <= 2.001 && most_down > 1.97);
    assert_true(most_size <= 0.2001 && most_size > 0.197);
    assert_true(fabs(mirrored / DRAWN - 0.5) < 0.06);
    assert_true(fabs(sum / DRAWN) < 5 * 30 / sqrt(3.0 * DRAWN));
}

static void shear_moves_columns_by_the_row(void **state) {
    (void)state;
    const augmentation a = {.shear = 0.3f};
    const partition s = {PARTITION_SLICES, 1, 1, 28, 20};
    double most = 0, sum = 0;
    for (uint32_t row = 0; row < DRAWN; row++) {
        augment_map m = augment_draw(&a, &s, 1, 5, row);
        assert_true(m.xx == 1 && m.yy == 1 && m.yx == 0);
        most = fmax(most, fabs((double)m.xy));
        sum += (double)m.xy;
    }
    assert_true(most <= 0.3001 && most > 0.295);
    assert_true(fabs(sum / DRAWN) < 5 * 0.3 / sqrt(3.0 * DRAWN));
}

static void draws_depend_on_seed_step_and_row(void **state) {
    (void)state;
    const augmentation a = {.shift = 2, .rotation = 30};
    const augment_map m = augment_draw(&a, &whole, 1, 5, 7), same = augment_draw(&a, &whole, 1, 5, 7);
    const augment_map others[] = {augment_draw(&a, &whole, 2, 5, 7), augment_draw(&a, &whole, 1, 6, 7),
                                  augment_draw(&a, &whole, 1, 5, 8)};
    assert_memory_equal(&m, &same, sizeof m);
    for (size_t i = 0; i < 3; i++) {
        assert_true(m.xx != others[i].xx && m.x0 != others[i].x0 && m.y0 != others[i].y0);
    }
}

/* The same map on a whole sample and on its portions: equal wherever the pixels it needs are the portion's own. */
static void assert_alike(const partition *s, const augment_map *m, size_t least) {
    uint8_t sample[3 * ELEMENTS], wanted[3 * ELEMENTS], portion[3 * ELEMENTS], out[3 * ELEMENTS],
        in_place[3 * ELEMENTS];
    const partition all = {PARTITION_SLICES, 1, s->channels, s->height, s->width};
    size_t elements = partition_portion_elements(s), same = 0;
    fill(sample, partition_sample_elements(s));
    augment_portion(&all, 0, m, sample, wanted);
    for (uint32_t k = 0; k < s->portions; k++) {
        partition_box box;
        partition_take(s, k, sample, portion);
        augment_portion(s, k, m, portion, out);
        partition_take(s, k, wanted, in_place);
        assert_int_equal(partition_find_box(s, k, &box), ERR_OK);
        assert_int_equal((size_t)box.channels * box.height * box.width, elements);
        for (size_t i = 0; i < elements; i++) {
            float row = (float)(box.top + i / box.width % box.height), column = (float)(box.left + i % box.width);
            float x = m->xx * column + m->xy * row + m->x0, y = m->yx * column + m->yy * row + m->y0;
            bool is_own = x >= (float)box.left && x <= (float)(box.left + box.width - 1) && y >= (float)box.top &&
                          y <= (float)(box.top + box.height - 1);
            assert_true(!is_own || out[i] == in_place[i]);
            same += is_own;
        }
    }
    assert_true(same >= least);
}

static void portions_are_distorted_alike(void **state) {
    (void)state;
    static const partition partitions[] = {{PARTITION_PLANES, 3, 3, SIDE, SIDE},
                                           {PARTITION_QUADRANTS, 4, 3, SIDE, SIDE},
                                           {PARTITION_SLICES, 4, 1, SIDE, SIDE},
                                           {PARTITION_SLICES, 6, 3, SIDE, SIDE}};
    const augmentation a = {.shift = 1, .rotation = 20, .scale = 0.1f, .shear = 0.1f};
    for (size_t i = 0; i < sizeof partitions / sizeof partitions[0]; i++) {
        for (uint32_t row = 0; row < 20; row++) {
            augment_map m = augment_draw(&a, &partitions[i], 1, 2, row);
            assert_alike(&partitions[i], &m, partition_sample_elements(&partitions[i]) / 5);
        }
    }
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    const augmentation none = {0}, shift = {.shift = 1}, flip = {.flip = true};
    const partition odd = {PARTITION_SLICES, 16, 1, SIDE, SIDE}, quadrants = {PARTITION_QUADRANTS, 4, 1, SIDE, SIDE};
    const partition rows = {PARTITION_SLICES, 4, 1, SIDE, SIDE};
    assert_int_equal(augment_check(&none, &odd), ERR_OK);
    assert_int_equal(augment_check(&shift, &odd), ERR_INPUT);
    assert_int_equal(augment_check(&shift, &quadrants), ERR_OK);
    assert_int_equal(augment_check(&flip, &quadrants), ERR_INPUT);
    assert_int_equal(augment_check(&flip, &rows), ERR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_by_hand),
        cmocka_unit_test(draws_stay_within_their_bounds),
        cmocka_unit_test(shear_moves_columns_by_the_row),
        cmocka_unit_test(draws_depend_on_seed_step_and_row),
        cmocka_unit_test(portions_are_distorted_alike),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
