/* A link within the process: what is sent comes out, in order, and no more of it. */
#include "wire/inproc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static arena unpacked;

static size_t send_ready(inproc *q, uint64_t step) {
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.step = step;
    return inproc_send(q, MESSAGE_READY, &ready.base);
}

static void messages_come_in_order(void **state) {
    (void)state;
    inproc q = inproc_make();
    message m;
    size_t size;
    for (int again = 0; again < 2; again++) {
        assert_true(inproc_is_empty(&q));
        size_t first = send_ready(&q, 1), ping = inproc_send(&q, MESSAGE_PING, NULL), last = send_ready(&q, 1 << 20);
        assert_false(inproc_is_empty(&q));
        assert_int_equal(inproc_receive(&q, &unpacked, &m, &size), ERR_OK);
        assert_true(m.type == MESSAGE_READY && m.body.ready->step == 1 && size == first);
        assert_int_equal(inproc_receive(&q, &unpacked, &m, &size), ERR_OK);
        assert_true(m.type == MESSAGE_PING && size == ping && size == FRAME_HEADER);
        assert_int_equal(inproc_receive(&q, &unpacked, &m, &size), ERR_OK);
        assert_true(m.type == MESSAGE_READY && m.body.ready->step == 1 << 20 && size == last && last > first);
        assert_int_equal(inproc_receive(&q, &unpacked, &m, &size), ERR_OK);
        assert_int_equal(size, 0);
    }
    inproc_free(&q);
}

/* What finds no room is told by whoever receives, once; then the link is as new. */
static void what_finds_no_room_is_told(void **state) {
    (void)state;
    inproc q = {.frames = dynbuf_make(64)};
    message m;
    size_t size;
    for (int i = 0; i < 100; i++) {
        send_ready(&q, UINT64_MAX);
    }
    assert_int_equal(inproc_receive(&q, &unpacked, &m, &size), ERR_MEMORY);
    assert_int_equal(size, 0);
    assert_int_equal(inproc_receive(&q, &unpacked, &m, &size), ERR_OK);
    assert_true(size == 0 && inproc_is_empty(&q));
    inproc_free(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_in_order),
        cmocka_unit_test(what_finds_no_room_is_told),
    };
    if (arena_init(&unpacked, message_arena_size(FRAME_PAYLOAD_MAX))) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(&unpacked);
    return failed;
}
