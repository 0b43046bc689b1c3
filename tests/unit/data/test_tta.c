/* Looks: which there are, and every pixel of them. */
#include "data/tta.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void assert_listed(bool flip, uint32_t shift, const tta_view *wanted, uint32_t count) {
    tta_view list[TTA_VIEWS_MAX];
    assert_int_equal(tta_views(flip, shift, list), count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(list[i].flip, wanted[i].flip);
        assert_int_equal(list[i].shift, wanted[i].shift);
        assert_true(list[i].weight == wanted[i].weight);
    }
}

static void lists_them(void **state) {
    (void)state;
    const tta_view one[] = {{false, 0, 1}};
    const tta_view two[] = {{false, 0, 0.5f}, {true, 0, 0.5f}};
    const tta_view three[] = {{false, 0, 0.5f}, {false, 2, 0.25f}, {false, -2, 0.25f}};
    const tta_view six[] = {{false, 0, 0.25f}, {false, 1, 0.125f}, {false, -1, 0.125f},
                            {true, 0, 0.25f},  {true, 1, 0.125f},  {true, -1, 0.125f}};
    assert_listed(false, 0, one, 1);
    assert_listed(true, 0, two, 2);
    assert_listed(false, 2, three, 3);
    assert_listed(true, 1, six, 6);
}

/* Two portions of two channels, 2 rows of 3. */
static void by_hand(void **state) {
    (void)state;
    const partition_box box = {.channels = 2, .top = 5, .left = 1, .height = 2, .width = 3};
    const float from[2][2][6] = {{{1, 2, 3, 4, 5, 6}, {7, 8, 9, 10, 11, 12}},
                                 {{13, 14, 15, 16, 17, 18}, {19, 20, 21, 22, 23, 24}}};
    const struct {
        tta_view view;
        float first[6];
    } cases[] = {
        {{false, 0, 1}, {1, 2, 3, 4, 5, 6}},  {{true, 0, 1}, {3, 2, 1, 6, 5, 4}},
        {{false, 1, 1}, {1, 1, 2, 1, 1, 2}},  {{false, -1, 1}, {5, 6, 6, 5, 6, 6}},
        {{true, 1, 1}, {3, 3, 2, 3, 3, 2}},   {{true, -1, 1}, {5, 4, 4, 5, 4, 4}},
        {{false, 16, 1}, {1, 1, 1, 1, 1, 1}}, {{false, -16, 1}, {6, 6, 6, 6, 6, 6}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float to[2][2][6];
        tta_apply(&cases[i].view, &box, from[0][0], 2, to[0][0]);
        for (size_t at = 0; at < 24; at++) {
            assert_true(to[at / 12][at / 6 % 2][at % 6] == cases[i].first[at % 6] + (float)(at / 6 * 6));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists_them), cmocka_unit_test(by_hand)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
