/* A node that streams while nobody else does: its few bits a sample become lines at a bounded pace. */
#include "tests/lib/engine_fixture.h"

static stats_table streamed_of(table *t) {
    return stats_of(t)->streamed;
}

static void pass(table *t, uint64_t *now_ns, uint64_t for_ns) {
    for (uint64_t until_ns = *now_ns + for_ns; *now_ns < until_ns; *now_ns += 10000000) {
        while (engine_poll(t->engine, *now_ns) == 0) {
        }
    }
}

/* Portion k streams where bit k is set; the others never do. */
static void join_with_streams(table *t, unsigned which) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        engine_joined(t->engine, k);
        say_ready_in(t, k, STEP, which >> k & 1 ? FEWBIT__STREAM__STREAM_NEW : FEWBIT__STREAM__STREAM_NONE, 0, 0);
    }
}

/* Half a byte a sample becomes a line: so many a second, the rest waits, and nothing is lost. */
static void what_one_node_streams_alone_comes_slowly(void **state) {
    table *t = *state;
    enum { SAMPLES = 160000, BURST = 131072, A_SECOND = 1000 };
    uint64_t now_ns = deadline_ns;
    join_with_streams(t, 1 << 2);
    stream_codes(t, 2, 0, SAMPLES, now_ns);
    for (uint64_t second = 1; second <= 20; second++) {
        pass(t, &now_ns, 1000000000);
        stats_table r = streamed_of(t);
        assert_true(r.expired + r.waiting <= BURST + (second + 1) * A_SECOND);
        assert_true(r.expired + r.waiting >= BURST + (second - 1) * A_SECOND);
    }
    pass(t, &now_ns, 20 * (uint64_t)1000000000);
    assert_int_equal(streamed_of(t).expired, SAMPLES);
    assert_false(t->is_held[2]);
    stream_codes(t, 2, SAMPLES, 1000, now_ns); /* at its pace it goes on */
    pass(t, &now_ns, 2 * deadline_ns);
    assert_int_equal(streamed_of(t).expired, SAMPLES + 1000);
}

static void what_others_stream_too_comes_at_once(void **state) {
    table *t = *state;
    enum { SAMPLES = 20000 };
    uint64_t now_ns = deadline_ns;
    join_with_streams(t, 1 << 0 | 1 << 3);
    for (uint64_t first = 0; first < SAMPLES; first += 500) {
        stream_codes(t, 0, first, 500, now_ns);
        stream_codes(t, 3, first, 500, now_ns);
    }
    pass(t, &now_ns, 2 * deadline_ns);
    assert_int_equal(streamed_of(t).expired, SAMPLES);
}

/* The last one to end brings what the others' samples lack: it is alone, and they are not. */
static void the_last_portion_of_samples_comes_at_once(void **state) {
    table *t = *state;
    enum { SAMPLES = 16000 };
    uint64_t now_ns = deadline_ns;
    join_all(t);
    for (uint64_t first = 0; first < SAMPLES; first += 500) {
        for (uint32_t k = 0; k < PORTIONS; k++) {
            if (k > 0 || first < SAMPLES / 2) {
                stream_codes(t, k, first, 500, now_ns);
            }
        }
    }
    engine_poll(t->engine, now_ns);
    for (uint32_t k = 1; k < PORTIONS; k++) {
        end_stream(t, k);
    }
    stream_codes(t, 0, SAMPLES / 2, SAMPLES / 2, now_ns);
    while (engine_poll(t->engine, now_ns) == 0) {
    }
    assert_int_equal(streamed_of(t).complete, SAMPLES);
}

/* Codes of nodes that have ended, or gone, may still wait at the server: no sample lacks what lies there. */
static void what_waits_of_nodes_that_are_gone_comes_at_once(void **state) {
    table *t = *state;
    enum { SAMPLES = 400000, FRAME = 1000, BEHIND = 2 };
    for (int has_left = 0; has_left < 2; has_left++) {
        uint64_t now_ns = deadline_ns, before = streamed_of(t).complete, first = has_left ? SAMPLES : 0;
        for (uint32_t k = 0; k < PORTIONS && !has_left; k++) {
            engine_joined(t->engine, k);
        }
        for (uint32_t k = 0; k < PORTIONS; k++) {
            say_ready_in(t, k, STEP, FEWBIT__STREAM__STREAM_NEW, 0, 0);
        }
        for (uint32_t turn = 0; turn < PORTIONS; turn++) { /* all the others are far ahead of one */
            uint32_t k = (BEHIND + 1 + turn) % PORTIONS;
            for (uint64_t done = 0; done < SAMPLES; done += FRAME) {
                stream_codes(t, k, first + done, FRAME, now_ns);
            }
            end_stream(t, k);
            if (has_left) {
                engine_left(t->engine, k, now_ns);
            }
        }
        while (engine_poll(t->engine, now_ns) == 0) {
        }
        assert_int_equal(streamed_of(t).complete - before, SAMPLES);
        for (uint32_t k = 0; k < PORTIONS && !has_left; k++) { /* other processes come in their place */
            engine_left(t->engine, k, now_ns);
        }
        for (uint32_t k = 0; k < PORTIONS && !has_left; k++) {
            engine_joined(t->engine, k);
        }
    }
}

#define AT_TABLE(test) cmocka_unit_test_setup_teardown(test, set_table, clear_table)

int main(void) {
    const struct CMUnitTest tests[] = {
        AT_TABLE(what_one_node_streams_alone_comes_slowly),
        AT_TABLE(what_others_stream_too_comes_at_once),
        AT_TABLE(the_last_portion_of_samples_comes_at_once),
        AT_TABLE(what_waits_of_nodes_that_are_gone_comes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
