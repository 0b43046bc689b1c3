/* What a request asks: the parts of a body by portion, or JSON. Input: a byte that says how (0 JSON, else parts), and
 * the body; of parts with the boundary "gap". */
#include "decoder_server/http/json_question.h"
#include "decoder_server/http/portion_question.h"

#include "tests/lib/fuzz/replay.h"

#include <math.h>

enum { COUNT = 4, PARTS = 8 };

static const experiment_portion portions[COUNT] = {
    {.name = "row", .shape = {PORTION_F32, 1, {3}}},
    {.name = "wave", .shape = {PORTION_F32, 2, {2, 3}}},
    {.name = "eye", .shape = {PORTION_U8, 3, {1, 2, 3}}},
    {.name = "bytes", .shape = {PORTION_U8, 1, {4}}},
};
static const portion_list list = {portions, COUNT};

static void check_values(uint32_t k, const question_portion *p) {
    const portion_shape *s = &portions[k].shape;
    FUZZ_CHECK(p->length == portion_shape_bytes(s), "portion %u has %zu bytes", k, p->length);
    for (size_t i = 0; s->type == PORTION_F32 && i < portion_shape_elements(s); i++) {
        float value;
        memcpy(&value, p->bytes + i * sizeof value, sizeof value);
        FUZZ_CHECK(isfinite(value), "value %zu of portion %u is not finite", i, k);
    }
}

/* Whatever may go to the nodes fits, is finite, or is text. */
static void fill(portion_question *q) {
    err e = portion_question_fill(q);
    fuzz_check_told(e);
    question asked = portion_question_get(q);
    for (uint32_t k = 0; k < COUNT && !e; k++) {
        const question_portion *p = &asked.portions[k];
        if (p->length > 0 && p->format == FEWBIT__PORTION_FORMAT__FORMAT_RAW) {
            check_values(k, p);
        } else if (p->length > 0) {
            FUZZ_CHECK(!memchr(p->bytes, 0, p->length), "a row has a zero byte");
        }
    }
    for (uint32_t i = 0; i < portion_question_pictures(q) && !e; i++) {
        const portion_picture *p = portion_question_picture(q, i);
        image_shape shape = portion_input_picture(&portions[p->portion].shape);
        fuzz_check_told(image_read(p->type, p->bytes, p->length, &shape, portion_question_picture_values(q, i)));
    }
}

static void ask_in_json(const uint8_t *body, size_t length) {
    json_question json;
    portion_question *q = NULL;
    err e = json_question_read(&json, (span){(const char *)body, length});
    fuzz_check_told(e);
    for (uint32_t i = 0; i < json.samples && !e; i++) {
        FUZZ_CHECK(strlen(json_question_sample(&json, i)) > 0, "sample %u has no id", i);
    }
    if (!e && json.portions && !(e = portion_question_from_json(&q, &list, json.portions))) {
        fill(q);
    }
    fuzz_check_told(e);
    portion_question_free(q);
    json_question_free(&json);
}

static void ask_in_parts(const uint8_t *body, size_t length) {
    multipart_part parts[PARTS];
    portion_question *q = NULL;
    uint32_t count;
    if (multipart_read(body, length, "gap", parts, PARTS, &count)) {
        return;
    }
    err e = portion_question_from_parts(&q, &list, body, parts, count);
    fuzz_check_told(e);
    if (!e) {
        fill(q);
    }
    portion_question_free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] == 0) {
        ask_in_json(data + 1, size - 1);
    } else if (size > 0) {
        ask_in_parts(data + 1, size - 1);
    }
    return 0;
}
