/* A sample that is handed over by portion: every type, shape and content type, and what is refused. */
#include "decoder_server/http/portion_question.h"

#include "data/npy.h"
#include "decoder_server/http/json_question.h"
#include "tests/lib/folder.h"

#include <math.h>
#include <png.h>

/* One of each type and rank. */
static const experiment_portion all[] = {
    {.name = "u1", .shape = {PORTION_U8, 1, {6}}},        {.name = "u2", .shape = {PORTION_U8, 2, {2, 3}}},
    {.name = "u3", .shape = {PORTION_U8, 3, {1, 2, 3}}},  {.name = "f1", .shape = {PORTION_F32, 1, {6}}},
    {.name = "f2", .shape = {PORTION_F32, 2, {2, 3}}},    {.name = "f3", .shape = {PORTION_F32, 3, {1, 2, 3}}},
    {.name = "rgb", .shape = {PORTION_U8, 3, {3, 1, 2}}},
};
enum { COUNT = sizeof all / sizeof all[0], SIZE = 6, BODY_MAX = PORTION_INPUT_JSON_MAX + 8192, PARTS_MAX = 8 };
static const portion_list list = {all, COUNT};

/* The values of every case, which each type can have. */
static const double wanted[SIZE] = {0, 255, 3, 4, 128, 6};

/* A body of parts without its boundaries. */
static struct {
    uint8_t body[BODY_MAX];
    size_t length;
    multipart_part parts[PARTS_MAX];
    uint32_t count;
} form;

static int clear_form(void **state) {
    (void)state;
    form.length = form.count = 0;
    return 0;
}

static void add(const char *name, const char *type, const void *bytes, size_t length) {
    assert_true(form.count < PARTS_MAX && form.length + length <= BODY_MAX);
    form.parts[form.count++] = (multipart_part){span_of(type), span_of(name), form.length, length};
    memcpy(form.body + form.length, bytes, length);
    form.length += length;
}

static void add_text(const char *name, const char *type, const char *text) {
    add(name, type, text, strlen(text));
}

/* From the form, or from JSON. */
static err ask_form(portion_question **q) {
    *q = NULL;
    err e = portion_question_from_parts(q, &list, form.body, form.parts, form.count);
    return e ? e : portion_question_fill(*q);
}

static void assert_values(const portion_question *q, uint32_t k) {
    question asked = portion_question_get(q);
    const portion_shape *s = &all[k].shape;
    assert_null(asked.sample);
    for (uint32_t other = 0; other < COUNT; other++) {
        assert_int_equal(asked.portions[other].length, other == k ? portion_shape_bytes(s) : 0);
    }
    assert_int_equal(asked.portions[k].format, FEWBIT__PORTION_FORMAT__FORMAT_RAW);
    for (size_t i = 0; i < SIZE; i++) {
        float value = asked.portions[k].bytes[i * (s->type == PORTION_U8 ? 1 : 4)];
        if (s->type == PORTION_F32) {
            memcpy(&value, asked.portions[k].bytes + i * sizeof value, sizeof value);
        }
        assert_true((double)value == wanted[i]);
    }
}

static void assert_taken(uint32_t k) {
    portion_question *q;
    if (ask_form(&q)) {
        fail_msg("%s: %s", all[k].name, err_text());
    }
    assert_values(q, k);
    portion_question_free(q);
}

static void assert_form_refused(err code, const char *words) {
    portion_question *q;
    assert_int_equal(ask_form(&q), code);
    if (!strstr(err_text(), words)) {
        fail_msg("'%s' is not in '%s'", words, err_text());
    }
    portion_question_free(q);
    clear_form(NULL);
}

/* The values as a portion of that type stores them. */
static size_t store(portion_type type, uint8_t *to) {
    for (size_t i = 0; i < SIZE; i++) {
        float value = (float)wanted[i];
        if (type == PORTION_U8) {
            to[i] = (uint8_t)wanted[i];
        } else {
            memcpy(to + i * sizeof value, &value, sizeof value);
        }
    }
    return SIZE * (type == PORTION_U8 ? 1 : sizeof(float));
}

static bool is_of_six(uint32_t k) {
    return portion_shape_elements(&all[k].shape) == SIZE;
}

static void raw_values_are_taken_with_their_type_or_none(void **state) {
    (void)state;
    static const char *const types[] = {"application/octet-stream", NULL, "text/plain",
                                        "Application/Octet-Stream; x=y"};
    for (uint32_t k = 0; k < COUNT; k++) {
        for (size_t t = 0; t < sizeof types / sizeof types[0] && is_of_six(k); t++) {
            uint8_t bytes[SIZE * sizeof(float)];
            clear_form(NULL);
            add(all[k].name, types[t], bytes, store(all[k].shape.type, bytes));
            assert_taken(k);
        }
    }
}

static void raw_values_of_another_length_are_refused(void **state) {
    (void)state;
    static const uint8_t bytes[64];
    for (uint32_t k = 0; k < COUNT; k++) {
        size_t fit = portion_shape_bytes(&all[k].shape);
        for (size_t length = 0; length < sizeof bytes; length++) {
            if (length != fit) {
                add(all[k].name, "application/octet-stream", bytes, length);
                assert_form_refused(ERR_INPUT, all[k].name);
                add(all[k].name, NULL, bytes, length);
                assert_form_refused(ERR_REFUSED, all[k].name);
            }
        }
    }
}

static void floats_that_are_not_finite_are_refused(void **state) {
    (void)state;
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (uint32_t k = 0; k < COUNT; k++) {
        for (size_t b = 0; b < 3 && all[k].shape.type == PORTION_F32; b++) {
            float values[SIZE] = {0};
            values[4] = bad[b];
            add(all[k].name, NULL, values, sizeof values);
            assert_form_refused(ERR_INPUT, "value 4 ");
        }
    }
}

static void json_is_taken_flat_and_nested(void **state) {
    (void)state;
    static const char *const texts[] = {"[0, 255, 3, 4.0, 1.28e2, 6]", "[[0, 255, 3], [4, 128, 6]]",
                                        "[[[0, 255, 3], [4, 128, 6]]]"};
    for (uint32_t k = 0; k < COUNT; k++) {
        for (uint32_t depth = 0; depth < 3; depth++) {
            bool fits = depth == 0 || (depth + 1 == all[k].shape.rank && k != COUNT - 1);
            clear_form(NULL);
            add_text(all[k].name, "application/json; charset=utf-8", texts[depth]);
            if (fits) {
                assert_taken(k);
            } else {
                assert_form_refused(ERR_INPUT, all[k].name);
            }
        }
    }
}

static void json_of_other_sizes_or_values_is_refused_by_place(void **state) {
    (void)state;
    static const struct {
        const char *name, *text, *words;
    } cases[] = {
        {"u1", "[0,1,2,3,4]", "has 5 of them, not 6"},
        {"u1", "[0,1,2,3,4,5,6]", "has 7 of them, not 6"},
        {"u1", "[]", "has 0 of them"},
        {"u1", "[0,1,256,3,4,5]", "value 2 (counted from 0) is 256"},
        {"u1", "[0,-1,2,3,4,5]", "value 1 (counted from 0) is -1"},
        {"u1", "[0,1,2.5,3,4,5]", "value 2 (counted from 0) is 2.5"},
        {"u1", "[0,1,null,3,4,5]", "value 2 (counted from 0) is no number"},
        {"u1", "[0,1,\"2\",3,4,5]", "value 2 (counted from 0) is no number"},
        {"u1", "[0,1,true,3,4,5]", "value 2 (counted from 0) is no number"},
        {"u2", "[[0,1,2],[3,4]]", "has 2 of them, not 3"},
        {"u2", "[[0,1,2],[3,4,256]]", "value 5 "},
        {"u2", "[[0,1,2]]", "has 1 lists in it, not 2"},
        {"u2", "[[0,1,2],3]", "a number where a list is due"},
        {"f1", "[0,1,2,3,4,1e39]", "value 5 (counted from 0) is too large"},
        {"f1", "[0,1,2,3,4,-1e300]", "value 5 (counted from 0) is too large"},
        {"f1", "[0,1,2,3,4,1e999]", "no JSON"},
        {"f1", "7", "no list"},
        {"f1", "{\"a\": 1}", "no list"},
        {"f1", "[0,1,", "no JSON: line 1"},
        {"f1", "", "no JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        add_text(cases[i].name, "application/json", cases[i].text);
        assert_form_refused(ERR_INPUT, cases[i].words);
    }
}

/* Of every shape, of both types, whatever a file stores; with sizes of 1 more or less. */
static void arrays_of_numpy_are_taken_by_magic_and_by_type(void **state) {
    (void)state;
    static const uint32_t shapes[][3] = {{6}, {2, 3}, {1, 2, 3}};
    float floats[SIZE];
    uint8_t bytes[SIZE];
    store(PORTION_U8, bytes);
    store(PORTION_F32, (uint8_t *)floats);
    for (uint32_t k = 0; k < COUNT; k++) {
        for (uint32_t rank = 1; rank <= 3; rank++) {
            for (int stored = 0; stored < 2; stored++) {
                uint8_t *file;
                size_t length;
                const char *path = in_folder("one.npy");
                assert_int_equal(npy_write(path, stored ? PORTION_F32 : PORTION_U8, rank, shapes[rank - 1],
                                           stored ? (const void *)floats : bytes),
                                 ERR_OK);
                assert_int_equal(file_read(path, BODY_MAX, &file, &length), ERR_OK);
                clear_form(NULL);
                add(all[k].name, stored ? "application/x-npy" : "application/octet-stream", file, length);
                bool fits = rank == all[k].shape.rank || (rank > 1 && all[k].shape.rank > 1);
                if (fits && k != COUNT - 1) {
                    assert_taken(k);
                } else {
                    assert_form_refused(ERR_INPUT, "the array has other sizes");
                }
                free(file);
            }
        }
    }
    add_text("u1", "application/x-npy", "no array");
    assert_form_refused(ERR_INPUT, "portion 'u1'");
}

static size_t make_png(uint32_t height, uint32_t width, const void *pixels, uint8_t to[BODY_MAX]) {
    png_image image = {.version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_GRAY};
    png_alloc_size_t length = BODY_MAX;
    assert_true(png_image_write_to_memory(&image, to, &length, 0, pixels, 0, NULL));
    return length;
}

/* Left to the caller, of u8 [channels, height, width] alone. */
static void pictures_are_for_portions_that_are_pictures(void **state) {
    (void)state;
    static const uint8_t pixels[SIZE] = {0, 255, 3, 4, 128, 6};
    static const char *const types[] = {"image/png", "application/octet-stream", NULL, "image/jpeg"};
    uint8_t file[BODY_MAX];
    size_t length = make_png(2, 3, pixels, file);
    for (uint32_t k = 0; k < COUNT; k++) {
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            portion_question *q;
            add(all[k].name, types[t], file, length);
            if (all[k].shape.type == PORTION_F32 || all[k].shape.rank != 3) {
                assert_form_refused(ERR_REFUSED, "a picture is for");
                continue;
            }
            assert_int_equal(ask_form(&q), ERR_OK);
            assert_int_equal(portion_question_pictures(q), 1);
            const portion_picture *p = portion_question_picture(q, 0);
            assert_int_equal(p->portion, k);
            assert_int_equal(p->length, length);
            if (k != COUNT - 1) { /* of its size */
                image_shape shape = portion_input_picture(&all[k].shape);
                assert_int_equal(
                    image_read(p->type, p->bytes, p->length, &shape, portion_question_picture_values(q, 0)), ERR_OK);
                assert_values(q, k);
            }
            portion_question_free(q);
            clear_form(NULL);
        }
    }
    add_text("f1", "image/webp", "RIFF");
    assert_form_refused(ERR_REFUSED, "a picture is for");
    add_text("f1", "video/mp4", "RIFF");
    assert_form_refused(ERR_REFUSED, "its type is none of");
}

/* To the node as it is: only that knows the columns. */
static void rows_go_as_they_are(void **state) {
    (void)state;
    static const char row[] = "age,height\r\n41,1.7\r\n";
    for (uint32_t k = 0; k < COUNT; k++) {
        portion_question *q;
        add_text(all[k].name, "text/csv;header=present", row);
        assert_int_equal(ask_form(&q), ERR_OK);
        question asked = portion_question_get(q);
        assert_int_equal(asked.portions[k].format, FEWBIT__PORTION_FORMAT__FORMAT_CSV);
        assert_int_equal(asked.portions[k].length, strlen(row));
        assert_memory_equal(asked.portions[k].bytes, row, strlen(row));
        portion_question_free(q);
        clear_form(NULL);
    }
    add_text("f1", "text/csv", " \r\n");
    assert_form_refused(ERR_INPUT, "the row is empty");
    add("f1", "text/csv", "1,\0002", 4);
    assert_form_refused(ERR_INPUT, "a zero byte");
}

static void every_portion_is_named_and_comes_once(void **state) {
    (void)state;
    portion_question *q;
    uint8_t bytes[SIZE * sizeof(float)];
    add_text("u4", NULL, "");
    assert_form_refused(ERR_INPUT, "no portion 'u4', only 'u1', 'u2', 'u3', 'f1', 'f2', 'f3', 'rgb'");
    add_text(NULL, NULL, "");
    assert_form_refused(ERR_INPUT, "no portion ''");
    for (uint32_t k = 0; k < COUNT; k++) {
        add(all[k].name, NULL, bytes, store(all[k].shape.type, bytes));
        add(all[k].name, NULL, bytes, store(all[k].shape.type, bytes));
        assert_form_refused(ERR_INPUT, "it is there twice");
    }
    for (uint32_t k = 0; k < COUNT - 1; k++) {
        add(all[k].name, NULL, bytes, store(all[k].shape.type, bytes));
    }
    assert_int_equal(ask_form(&q), ERR_OK);
    question asked = portion_question_get(q);
    assert_int_equal(question_portions(&asked, COUNT), (1 << (COUNT - 1)) - 1);
    portion_question_free(q);
}

/* JSON bodies. */

static err ask_json(const char *text, json_question *json, portion_question **q) {
    *q = NULL;
    err e = json_question_read(json, span_of(text));
    e = e ? e : portion_question_from_json(q, &list, json->portions);
    return e ? e : portion_question_fill(*q);
}

static void assert_json_refused(const char *text, const char *words) {
    json_question json;
    portion_question *q;
    assert_int_equal(ask_json(text, &json, &q), ERR_INPUT);
    if (!strstr(err_text(), words)) {
        fail_msg("'%s' is not in '%s'", words, err_text());
    }
    portion_question_free(q);
    json_question_free(&json);
}

static void portions_in_json_are_numbers_or_rows(void **state) {
    (void)state;
    json_question json;
    portion_question *q;
    assert_int_equal(ask_json("{\"portions\": {\"f2\": [[0,255,3],[4,128,6]]}}", &json, &q), ERR_OK);
    assert_values(q, 4);
    portion_question_free(q);
    json_question_free(&json);
    assert_int_equal(ask_json("{\"portions\": {\"u1\": [0,255,3,4,128,6], \"f1\": {\"age\": 41, \"say \\\"it\\\"\": "
                              "\"a,\\\"b\\\"\", \"gone\": null, \"third\": 0.1, \"e\": \"\"}, \"f2\": {\"x\": -7}}}",
                              &json, &q),
                     ERR_OK);
    question asked = portion_question_get(q);
    static const char first[] =
        "\"age\",\"say \"\"it\"\"\",\"gone\",\"third\",\"e\"\r\n41,\"a,\"\"b\"\"\",\"\",0.10000000000000001,\"\"\r\n";
    assert_int_equal(asked.portions[3].format, FEWBIT__PORTION_FORMAT__FORMAT_CSV);
    assert_int_equal(asked.portions[3].length, strlen(first));
    assert_memory_equal(asked.portions[3].bytes, first, strlen(first));
    assert_int_equal(asked.portions[4].length, strlen("\"x\"\r\n-7\r\n"));
    assert_memory_equal(asked.portions[4].bytes, "\"x\"\r\n-7\r\n", asked.portions[4].length);
    assert_int_equal(asked.portions[0].bytes[1], 255);
    assert_int_equal(question_portions(&asked, COUNT), 1 | 8 | 16);
    portion_question_free(q);
    json_question_free(&json);
}

static void json_bodies_that_say_anything_else_are_refused(void **state) {
    (void)state;
    assert_json_refused("", "no JSON");
    assert_json_refused("[1]", "no object with");
    assert_json_refused("{}", "no object with");
    assert_json_refused("{\"portion\": {}}", "no object with");
    assert_json_refused("{\"portions\": {}, \"samples\": [\"a\"]}", "no object with");
    assert_json_refused("{\"portions\": []}", "\"portions\" is no object");
    assert_json_refused("{\"portions\": {}}", "no portion is handed over");
    assert_json_refused("{\"portions\": {\"u4\": [1]}}", "no portion 'u4'");
    assert_json_refused("{\"portions\": {\"u1\": 5}}", "portion 'u1': it is no list");
    assert_json_refused("{\"portions\": {\"u1\": [1]}}", "portion 'u1'");
    assert_json_refused("{\"portions\": {\"f1\": {\"age\": [1]}}}", "portion 'f1': column 'age'");
    assert_json_refused("{\"portions\": {\"f1\": {\"age\": true}}}", "column 'age'");
    assert_json_refused("{\"portions\": {\"f1\": {}}}", "it names no column");
    assert_json_refused("{\"portions\": {\"u1\": [1], \"u1\": [2]}}", "duplicate");
}

static void assert_samples_refused(err code, const char *text, const char *words) {
    json_question q;
    assert_int_equal(json_question_read(&q, span_of(text)), code);
    if (!strstr(err_text(), words)) {
        fail_msg("'%s' is not in '%s'", words, err_text());
    }
    json_question_free(&q);
}

static void samples_are_a_list_of_ids(void **state) {
    (void)state;
    json_question q;
    assert_int_equal(json_question_read(&q, span_of("{\"samples\": [\"a\", \"\xc3\xa9 7\", \"a\"]}")), ERR_OK);
    assert_null(q.portions);
    assert_int_equal(q.samples, 3);
    assert_string_equal(json_question_sample(&q, 1), "\xc3\xa9 7");
    json_question_free(&q);
    assert_samples_refused(ERR_INPUT, "{\"samples\": []}", "no list with an id");
    assert_samples_refused(ERR_INPUT, "{\"samples\": \"a\"}", "no list with an id");
    assert_samples_refused(ERR_INPUT, "{\"samples\": [\"a\", 7]}", "sample 1 of the list");
    assert_samples_refused(ERR_INPUT, "{\"samples\": [\"\"]}", "sample 0 of the list");
    assert_samples_refused(ERR_INPUT, "{\"samples\": [\"a\\nb\"]}", "sample 0 of the list");
    dynbuf many = dynbuf_make(1 << 16);
    for (int count = 0; count <= JSON_QUESTION_SAMPLES_MAX; count++) {
        dynbuf_printf(&many, "%s\"%d\"", count ? "," : "{\"samples\": [", count);
        if (count + 1 == JSON_QUESTION_SAMPLES_MAX) {
            size_t length = many.length;
            dynbuf_add_text(&many, "]}");
            assert_int_equal(json_question_read(&q, span_of(many.bytes)), ERR_OK);
            assert_int_equal(q.samples, JSON_QUESTION_SAMPLES_MAX);
            json_question_free(&q);
            many.length = length;
        }
    }
    dynbuf_add_text(&many, "]}");
    assert_samples_refused(ERR_FULL, many.bytes, "at most 1000 samples");
    dynbuf_free(&many);
}

/* `text`, and blanks up to `length`. */
static char *padded(const char *text, size_t length) {
    char *to = malloc(length + 1);
    assert_non_null(to);
    memset(to, ' ', length);
    memcpy(to, text, strlen(text));
    to[length] = '\0';
    return to;
}

static void json_has_a_length_that_is_read_soon(void **state) {
    (void)state;
    json_question json;
    portion_question *q;
    char *most = padded("{\"portions\": {\"u1\": [0, 255, 3, 4, 128, 6]}}", PORTION_INPUT_JSON_MAX);
    char *more = padded("{\"portions\": {\"u1\": [0, 255, 3, 4, 128, 6]}}", PORTION_INPUT_JSON_MAX + 1);
    assert_int_equal(ask_json(most, &json, &q), ERR_OK);
    portion_question_free(q);
    json_question_free(&json);
    assert_samples_refused(ERR_FULL, more, "at most 256 KiB of JSON");
    free(most);
    free(more);
}

/* It is the length of all parts together. */
static void json_of_parts_has_that_length_too(void **state) {
    char *half = padded("[0, 255, 3, 4, 128, 6]", PORTION_INPUT_JSON_MAX / 2);
    for (size_t extra = 0; extra < 2; extra++) {
        portion_question *q;
        clear_form(state);
        add_text("u1", "application/json", half);
        add("f1", "application/json", half, PORTION_INPUT_JSON_MAX / 2 - 100);
        add("f2", "application/json", half, 100 + extra);
        err e = portion_question_from_parts(&q, &list, form.body, form.parts, form.count);
        assert_int_equal(e, extra ? ERR_FULL : ERR_OK);
        if (e) {
            assert_non_null(strstr(err_text(), "portion 'f2': a request has at most 256 KiB of JSON"));
        } else {
            portion_question_free(q);
        }
    }
    free(half);
}

#define TEST(f) cmocka_unit_test_setup(f, clear_form)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(raw_values_are_taken_with_their_type_or_none),
        TEST(raw_values_of_another_length_are_refused),
        TEST(floats_that_are_not_finite_are_refused),
        TEST(json_is_taken_flat_and_nested),
        TEST(json_of_other_sizes_or_values_is_refused_by_place),
        cmocka_unit_test_setup_teardown(arrays_of_numpy_are_taken_by_magic_and_by_type, make_folder, remove_folder),
        TEST(pictures_are_for_portions_that_are_pictures),
        TEST(rows_go_as_they_are),
        TEST(every_portion_is_named_and_comes_once),
        TEST(portions_in_json_are_numbers_or_rows),
        TEST(json_bodies_that_say_anything_else_are_refused),
        TEST(samples_are_a_list_of_ids),
        TEST(json_has_a_length_that_is_read_soon),
        TEST(json_of_parts_has_that_length_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
