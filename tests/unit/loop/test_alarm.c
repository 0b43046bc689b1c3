/* The alarm of a loop: it rings at the earliest time that was set, to the microsecond, whatever else there is to do. */
#include "base/clock.h"
#include "loop/alarm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { HANG_SECONDS = 100 };

typedef struct woken {
    uv_loop_t loop;
    alarm_clock alarm;
    uv_check_t check;
    uint64_t until_ns, woke_ns; /* when the alarm is wanted; when it has rung */
} woken;

static void on_check(uv_check_t *check) {
    woken *w = check->data;
    w->woke_ns = clock_now_ns();
    if (w->alarm.set_ns == UINT64_MAX) {
        uv_stop(&w->loop);
    }
}

static void open_woken(woken *w) {
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(alarm_open(&w->alarm, &w->loop), ERR_OK);
    uv_check_init(&w->loop, &w->check);
    w->check.data = w;
    uv_check_start(&w->check, on_check);
}

static void close_woken(woken *w) {
    alarm_close(&w->alarm);
    alarm_close(&w->alarm); /* once is enough, twice does no harm */
    uv_close((uv_handle_t *)&w->check, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
}

/* Woken no earlier than asked for, and less than a millisecond late at least once in many. */
static void alarm_wakes_to_the_microsecond(void **state) {
    (void)state;
    woken w;
    uint64_t least_ns = UINT64_MAX;
    open_woken(&w);
    for (int i = 0; i < 50; i++) {
        w.until_ns = clock_now_ns() + 300000;
        alarm_set(&w.alarm, w.until_ns);
        uv_run(&w.loop, UV_RUN_DEFAULT);
        assert_true(w.woke_ns >= w.until_ns);
        least_ns = w.woke_ns - w.until_ns < least_ns ? w.woke_ns - w.until_ns : least_ns;
    }
    assert_true(least_ns < 500000);
    close_woken(&w);
}

static void alarm_rings_at_the_earliest_time_that_was_set(void **state) {
    (void)state;
    woken w;
    open_woken(&w);
    uint64_t now_ns = clock_now_ns();
    alarm_set(&w.alarm, now_ns + 3600 * (uint64_t)1000000000);
    w.until_ns = now_ns + 2000000;
    alarm_set(&w.alarm, w.until_ns);
    alarm_set(&w.alarm, now_ns + 3600 * (uint64_t)1000000000);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_true(w.woke_ns >= w.until_ns);
    w.until_ns = clock_now_ns() + 1000000; /* and again, once it has rung */
    alarm_set(&w.alarm, w.until_ns);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_true(w.woke_ns >= w.until_ns);
    w.until_ns = clock_now_ns(); /* one that is past rings at once */
    alarm_set(&w.alarm, w.until_ns - 1000000);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    close_woken(&w);
}

/* Whatever comes makes the next thing come, as from a peer that is never slower than we are. */
typedef struct flood {
    uv_pipe_t in;
    int out;
    uint64_t reads;
} flood;

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *room) {
    static char bytes[64];
    (void)handle, (void)wanted;
    *room = uv_buf_init(bytes, sizeof bytes);
}

static void on_flood(uv_stream_t *stream, ssize_t length, const uv_buf_t *room) {
    flood *f = stream->data;
    (void)room;
    f->reads += length > 0;
    assert_true(length <= 0 || write(f->out, "x", 1) == 1);
}

static void alarm_rings_though_there_is_always_something_to_read(void **state) {
    (void)state;
    woken w;
    flood f = {0};
    int ends[2];
    open_woken(&w);
    assert_int_equal(pipe(ends), 0);
    f.out = ends[1];
    uv_pipe_init(&w.loop, &f.in, 0);
    assert_int_equal(uv_pipe_open(&f.in, ends[0]), 0);
    f.in.data = &f;
    uv_read_start((uv_stream_t *)&f.in, on_room, on_flood);
    assert_int_equal(write(f.out, "x", 1), 1);
    w.until_ns = clock_now_ns() + 5000000;
    alarm_set(&w.alarm, w.until_ns);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    assert_true(w.woke_ns >= w.until_ns);
    assert_true(f.reads > 10);
    uv_close((uv_handle_t *)&f.in, NULL);
    close(f.out);
    close_woken(&w);
}

int main(void) {
    alarm(HANG_SECONDS); /* an alarm that does not ring must not hold up everything else */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alarm_wakes_to_the_microsecond),
        cmocka_unit_test(alarm_rings_at_the_earliest_time_that_was_set),
        cmocka_unit_test(alarm_rings_though_there_is_always_something_to_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
