#include "data/portion_shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

typedef struct example {
    portion_shape shape;
    size_t elements, bytes;
    uint32_t channels, image[3];
    const char *text;
} example;

static void every_rank_and_type_is_measured(void **state) {
    (void)state;
    static const example examples[] = {
        {{PORTION_U8, 1, {10}}, 10, 10, 10, {1, 1, 10}, "u8 [10]"},
        {{PORTION_F32, 1, {1}}, 1, 4, 1, {1, 1, 1}, "f32 [1]"},
        {{PORTION_F32, 2, {3, 128}}, 384, 1536, 3, {3, 1, 128}, "f32 [3, 128]"},
        {{PORTION_U8, 2, {1, 7}}, 7, 7, 1, {1, 1, 7}, "u8 [1, 7]"},
        {{PORTION_U8, 3, {3, 16, 8}}, 384, 384, 3, {3, 16, 8}, "u8 [3, 16, 8]"},
        {{PORTION_F32, 3, {1, 1024, 1024}}, 1 << 20, 1 << 22, 1, {1, 1024, 1024}, "f32 [1, 1024, 1024]"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof examples[0]; i++) {
        const example *x = &examples[i];
        char text[PORTION_SHAPE_TEXT];
        uint32_t image[3];
        portion_shape_image(&x->shape, image);
        assert_int_equal(portion_shape_check(&x->shape), ERR_OK);
        assert_int_equal(portion_shape_elements(&x->shape), x->elements);
        assert_int_equal(portion_shape_bytes(&x->shape), x->bytes);
        assert_int_equal(portion_shape_channels(&x->shape), x->channels);
        assert_memory_equal(image, x->image, sizeof image);
        assert_string_equal(portion_shape_text(&x->shape, text), x->text);
        for (size_t k = 0; k < sizeof examples / sizeof examples[0]; k++) {
            assert_int_equal(portion_shape_equals(&x->shape, &examples[k].shape), i == k);
        }
    }
}

static void what_is_no_shape_is_refused(void **state) {
    (void)state;
    static const portion_shape none[] = {
        {PORTION_U8, 0, {1}},
        {PORTION_U8, 4, {1, 1, 1}},
        {PORTION_F32, 1, {0}},
        {PORTION_F32, 3, {1, 0, 1}},
        {PORTION_U8, 1, {(1 << 20) + 1}},
        {PORTION_U8, 1, {UINT32_MAX}},
        {PORTION_U8, 3, {1, 2048, 513}},
        {PORTION_U8, 3, {UINT32_MAX, UINT32_MAX, UINT32_MAX}},
        {PORTION_U8, 3, {65536, 65536, 65536}},
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_int_equal(portion_shape_check(&none[i]), ERR_INPUT);
    }
}

static void types_have_names(void **state) {
    (void)state;
    portion_type type;
    for (int i = PORTION_U8; i <= PORTION_F32; i++) {
        assert_int_equal(portion_type_parse(portion_type_name((portion_type)i), &type), ERR_OK);
        assert_int_equal(type, i);
    }
    assert_int_equal(portion_type_parse("f64", &type), ERR_INPUT);
    assert_int_equal(portion_type_parse("", &type), ERR_INPUT);
}

static void a_name_is_short_and_plain(void **state) {
    (void)state;
    for (int c = 1; c < 256; c++) {
        const char first[] = {(char)c, 0}, later[] = {'a', (char)c, 0};
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        assert_int_equal(portion_name_is_valid(first), is_letter);
        assert_int_equal(portion_name_is_valid(later), is_letter || c == '.' || c == '_' || c == '-');
    }
    assert_false(portion_name_is_valid(""));
    assert_true(portion_name_is_valid("0123456789012345678901234567890"));
    assert_false(portion_name_is_valid("01234567890123456789012345678901"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rank_and_type_is_measured),
        cmocka_unit_test(what_is_no_shape_is_refused),
        cmocka_unit_test(types_have_names),
        cmocka_unit_test(a_name_is_short_and_plain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
