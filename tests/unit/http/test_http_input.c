/* The input of a connection: what was read is consumed in order, and room comes back. */
#include "decoder_server/http/http_input.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static http_input input;

static void add(const char *text) {
    size_t length = strlen(text);
    assert_true(length <= HTTP_INPUT_BYTES - input.to);
    memcpy(input.bytes + input.to, text, length);
    input.to += length;
}

static void a_pipeline_is_consumed_in_order(void **state) {
    (void)state;
    http_input_clear(&input);
    assert_true(http_input_is_empty(&input));
    add("HEAD1bodyHEAD2");
    http_input_take_head(&input, 5);
    span rest = http_input_rest(&input);
    assert_true(span_equals(rest, "bodyHEAD2"));
    http_input_leave(&input, (span){rest.at + 4, rest.length - 4});
    assert_true(span_equals(http_input_rest(&input), "HEAD2"));
    http_input_compact(&input);
    assert_int_equal(input.from, 0);
    assert_true(span_equals(http_input_rest(&input), "HEAD2"));
}

/* A body in pieces uses the room after its head again and again; a rest of one is kept. */
static void room_after_a_head_comes_back(void **state) {
    (void)state;
    http_input_clear(&input);
    add("HEAD");
    http_input_take_head(&input, 4);
    for (int i = 0; i < HTTP_INPUT_BYTES; i++) {
        add("piece");
        span rest = http_input_rest(&input);
        http_input_leave(&input, (span){rest.at + 5, 0});
        http_input_reuse(&input);
        assert_int_equal(input.to, 4);
    }
    add("piece");
    http_input_reuse(&input);
    assert_true(span_equals(http_input_rest(&input), "piece"));
    assert_memory_equal(input.bytes, "HEAD", 4);
}

static void a_head_far_back_is_cramped_with_a_body_only(void **state) {
    (void)state;
    request_head h = {.length = 100, .content_length = 784};
    http_input_clear(&input);
    assert_false(http_input_is_cramped(&input, &h));
    input.from = HTTP_INPUT_BYTES - HTTP_INPUT_BODY_ROOM - 100;
    assert_false(http_input_is_cramped(&input, &h));
    input.from++;
    assert_true(http_input_is_cramped(&input, &h));
    h.content_length = 0;
    assert_false(http_input_is_cramped(&input, &h));
    h.is_chunked = true;
    assert_true(http_input_is_cramped(&input, &h));
    input.from = 0;
    assert_false(http_input_is_cramped(&input, &h));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pipeline_is_consumed_in_order),
        cmocka_unit_test(room_after_a_head_comes_back),
        cmocka_unit_test(a_head_far_back_is_cramped_with_a_body_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
