/* The producer of server-sent events: what finds no room is counted, nothing overtakes it, and one hand-over is under
 * way at a time. */
#include "decoder_server/core/mail.h"
#include "decoder_server/core/sse_producer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { BATCHES_MAX = 8, LARGE = 6000, FIT = SSE_PRODUCER_BYTES / (LARGE + 24) };

typedef struct batch {
    uint64_t dropped;
    size_t length, events;
    char bytes[SSE_PRODUCER_BYTES + 1];
} batch;

/* The worker's thread runs `script` once; the loop collects what is handed over. */
typedef struct scene {
    uv_loop_t loop;
    worker *worker;
    sse_producer *sse;
    void (*script)(sse_producer *f);
    batch batches[BATCHES_MAX];
    size_t count;
} scene;

static void on_receive(void *role, const mail *m) {
    (void)m;
    scene *s = role;
    s->script(s->sse);
}

static int64_t on_idle(void *role) {
    (void)role;
    return -1;
}

static void on_deliver(void *context, const mail *m) {
    scene *s = context;
    assert_int_equal(m->kind, MAIL_EVENTS);
    assert_true(s->count < BATCHES_MAX && m->length <= SSE_PRODUCER_BYTES);
    batch *b = &s->batches[s->count++];
    b->dropped = m->about;
    b->length = m->length;
    memcpy(b->bytes, m->bytes, m->length);
    for (size_t i = 1; i < m->length; i++) {
        b->events += m->bytes[i - 1] == '\n' && m->bytes[i] == '\n';
    }
}

static scene stage;

static scene *play(void (*script)(sse_producer *f)) {
    static const worker_role role = {.receive = on_receive, .idle = on_idle, .deliver = on_deliver};
    scene *s = &stage;
    *s = (scene){.script = script};
    uv_loop_init(&s->loop);
    assert_int_equal(sse_producer_new(&s->sse, &s->worker), ERR_OK);
    assert_int_equal(worker_new(&s->worker, &s->loop, &role, s, s), ERR_OK);
    assert_int_equal(worker_post(s->worker, MAIL_EVENTS_TAKEN, 0, NULL, 0), ERR_OK);
    worker_free(s->worker); /* after the record that is in */
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0);
    sse_producer_free(s->sse);
    return s;
}

static void put_large(sse_producer *f) {
    static char data[LARGE];
    memset(data, 'x', sizeof data);
    sse_producer_put(f, "result", data, sizeof data);
}

static void two_events(sse_producer *f) {
    sse_producer_put(f, "result", "{}", 2);
    sse_producer_put(f, "end", "1", 1);
    sse_producer_flush(f);
    sse_producer_flush(f); /* nothing new */
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

static void more_than_fits(sse_producer *f) {
    for (int i = 0; i < FIT; i++) {
        put_large(f);
        assert_false(sse_producer_is_full(f));
    }
    put_large(f);
    assert_true(sse_producer_is_full(f));
    sse_producer_put(f, "end", "1", 1); /* would fit, but must not overtake */
    sse_producer_drop(f);
    sse_producer_flush(f);
    assert_false(sse_producer_is_full(f));
    sse_producer_put(f, "end", "2", 1);
    sse_producer_flush(f); /* waits: the first is under way */
    sse_producer_taken(f);
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

static void too_large(sse_producer *f) {
    static const char data[SSE_PRODUCER_EVENT_MAX];
    sse_producer_put(f, "result", data, sizeof data);
    assert_false(sse_producer_is_full(f)); /* no other event is in its way */
    sse_producer_put(f, "end", "1", 1);
    sse_producer_flush(f);
}

static void test_too_large(void **state) {
    (void)state;
    const scene *s = play(too_large);
    assert_int_equal(s->count, 1);
    assert_int_equal(s->batches[0].dropped, 1);
    assert_string_equal(s->batches[0].bytes, "event: end\ndata: 1\n\n");
}

static void under_way(sse_producer *f) {
    sse_producer_put(f, "end", "1", 1);
    sse_producer_flush(f);
    for (int i = 0; i < 3 * FIT; i++) {
        put_large(f);
        sse_producer_flush(f);
    }
    sse_producer_taken(f);
    sse_producer_taken(f);
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
    sse_producer *f;
    worker *none = NULL;
    assert_int_equal(sse_producer_new(&f, &none), ERR_OK);
    assert_false(sse_producer_is_wanted(NULL));
    assert_false(sse_producer_is_wanted(f));
    sse_producer_set_wanted(f, true);
    assert_true(sse_producer_is_wanted(f));
    sse_producer_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_form),      cmocka_unit_test(test_no_room), cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_one_at_a_time), cmocka_unit_test(test_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
