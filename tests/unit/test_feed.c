/* The feed: what finds no room is counted, nothing overtakes it, and one hand-over is under way at a time. */
#include "decoder_server/feed.h"
#include "decoder_server/mail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { BATCHES_MAX = 8, LARGE = 6000, FIT = FEED_BYTES / (LARGE + 24) };

typedef struct batch {
    uint64_t dropped;
    size_t length, events;
    char bytes[FEED_BYTES + 1];
} batch;

/* The worker's thread runs `script` once; the loop collects what is handed over. */
typedef struct scene {
    uv_loop_t loop;
    worker *worker;
    feed *feed;
    void (*script)(feed *f);
    batch batches[BATCHES_MAX];
    size_t count;
} scene;

static void on_receive(void *role, const mail *m) {
    (void)m;
    scene *s = role;
    s->script(s->feed);
}

static int64_t on_idle(void *role) {
    (void)role;
    return -1;
}

static void on_deliver(void *context, const mail *m) {
    scene *s = context;
    assert_int_equal(m->kind, MAIL_EVENTS);
    assert_true(s->count < BATCHES_MAX && m->length <= FEED_BYTES);
    batch *b = &s->batches[s->count++];
    b->dropped = m->about;
    b->length = m->length;
    memcpy(b->bytes, m->bytes, m->length);
    for (size_t i = 1; i < m->length; i++) {
        b->events += m->bytes[i - 1] == '\n' && m->bytes[i] == '\n';
    }
}

static scene stage;

static scene *play(void (*script)(feed *f)) {
    static const worker_role role = {.receive = on_receive, .idle = on_idle, .deliver = on_deliver};
    scene *s = &stage;
    *s = (scene){.script = script};
    uv_loop_init(&s->loop);
    assert_int_equal(feed_new(&s->feed, &s->worker), ERR_OK);
    assert_int_equal(worker_new(&s->worker, &s->loop, &role, s, s), ERR_OK);
    assert_int_equal(worker_post(s->worker, MAIL_EVENTS_TAKEN, 0, NULL, 0), ERR_OK);
    worker_free(s->worker); /* after the record that is in */
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    feed_free(s->feed);
    return s;
}

static void put_large(feed *f) {
    static char data[LARGE];
    memset(data, 'x', sizeof data);
    feed_put(f, "result", data, sizeof data);
}

static void two_events(feed *f) {
    feed_put(f, "result", "{}", 2);
    feed_put(f, "end", "1", 1);
    feed_flush(f);
    feed_flush(f); /* nothing new */
}

static void test_the_form(void **state) {
    (void)state;
    const scene *s = play(two_events);
    static const char wanted[] = "event: result\ndata: {}\n\nevent: end\ndata: 1\n\n";
    assert_int_equal(s->count, 1);
    assert_int_equal(s->batches[0].dropped, 0);
    assert_int_equal(s->batches[0].length, sizeof wanted - 1);
    assert_memory_equal(s->batches[0].bytes, wanted, sizeof wanted - 1);
}

static void more_than_fits(feed *f) {
    for (int i = 0; i < FIT; i++) {
        put_large(f);
        assert_false(feed_is_full(f));
    }
    put_large(f);
    assert_true(feed_is_full(f));
    feed_put(f, "end", "1", 1); /* would fit, but must not overtake */
    feed_drop(f);
    feed_flush(f);
    assert_false(feed_is_full(f));
    feed_put(f, "end", "2", 1);
    feed_flush(f); /* waits: the first is under way */
    feed_taken(f);
}

static void test_no_room(void **state) {
    (void)state;
    const scene *s = play(more_than_fits);
    assert_int_equal(s->count, 2);
    assert_int_equal(s->batches[0].events, FIT);
    assert_int_equal(s->batches[0].dropped, 3);
    assert_int_equal(s->batches[1].dropped, 0);
    assert_string_equal(s->batches[1].bytes, "event: end\ndata: 2\n\n");
}

static void too_large(feed *f) {
    static const char data[FEED_EVENT_MAX];
    feed_put(f, "result", data, sizeof data);
    assert_false(feed_is_full(f)); /* no other event is in its way */
    feed_put(f, "end", "1", 1);
    feed_flush(f);
}

static void test_too_large(void **state) {
    (void)state;
    const scene *s = play(too_large);
    assert_int_equal(s->count, 1);
    assert_int_equal(s->batches[0].dropped, 1);
    assert_string_equal(s->batches[0].bytes, "event: end\ndata: 1\n\n");
}

static void under_way(feed *f) {
    feed_put(f, "end", "1", 1);
    feed_flush(f);
    for (int i = 0; i < 3 * FIT; i++) {
        put_large(f);
        feed_flush(f);
    }
    feed_taken(f);
    feed_taken(f);
}

static void test_one_at_a_time(void **state) {
    (void)state;
    const scene *s = play(under_way);
    assert_int_equal(s->count, 2);
    assert_int_equal(s->batches[1].events, FIT);
    assert_int_equal(s->batches[1].dropped, 2 * FIT);
}

static void test_wanted(void **state) {
    (void)state;
    feed *f;
    worker *none = NULL;
    assert_int_equal(feed_new(&f, &none), ERR_OK);
    assert_false(feed_is_wanted(NULL));
    assert_false(feed_is_wanted(f));
    feed_set_wanted(f, true);
    assert_true(feed_is_wanted(f));
    feed_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_form),      cmocka_unit_test(test_no_room), cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_one_at_a_time), cmocka_unit_test(test_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
