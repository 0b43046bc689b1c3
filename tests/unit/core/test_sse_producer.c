/* The producer of server-sent events: what finds no room is counted, nothing overtakes it, and one hand-over is under
 * way at a time. */
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

/* What is handed over is collected. */
typedef struct scene {
    sse_producer *sse;
    batch batches[BATCHES_MAX];
    size_t count;
} scene;

static void collect(void *context, uint64_t dropped, const char *bytes, size_t length) {
    scene *s = context;
    assert_true(s->count < BATCHES_MAX && length <= SSE_PRODUCER_BYTES);
    batch *b = &s->batches[s->count++];
    b->dropped = dropped;
    b->length = length;
    memcpy(b->bytes, bytes, length);
    for (size_t i = 1; i < length; i++) {
        b->events += bytes[i - 1] == '\n' && bytes[i] == '\n';
    }
}

static scene stage;

static scene *play(void (*script)(sse_producer *f)) {
    scene *s = &stage;
    *s = (scene){0};
    assert_int_equal(sse_producer_new(&s->sse, collect, s), ERR_OK);
    script(s->sse);
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

/* Whoever is handed events may take them at once. */
static void take_at_once(void *context, uint64_t dropped, const char *bytes, size_t length) {
    collect(context, dropped, bytes, length);
    sse_producer_taken(((scene *)context)->sse);
}

static void test_taken_at_once(void **state) {
    (void)state;
    scene *s = &stage;
    *s = (scene){0};
    assert_int_equal(sse_producer_new(&s->sse, take_at_once, s), ERR_OK);
    for (int i = 0; i < 2; i++) {
        sse_producer_put(s->sse, "end", "1", 1);
        sse_producer_flush(s->sse);
    }
    assert_int_equal(s->count, 2);
    assert_int_equal(s->batches[1].events, 1);
    sse_producer_free(s->sse);
}

static void test_wanted(void **state) {
    (void)state;
    sse_producer *f;
    assert_int_equal(sse_producer_new(&f, collect, &stage), ERR_OK);
    assert_false(sse_producer_is_wanted(NULL));
    assert_false(sse_producer_is_wanted(f));
    sse_producer_set_wanted(f, true);
    assert_true(sse_producer_is_wanted(f));
    sse_producer_free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_form),      cmocka_unit_test(test_no_room),       cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_one_at_a_time), cmocka_unit_test(test_taken_at_once), cmocka_unit_test(test_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
