/* Nothing is allocated once warm: in a training step, for a served request, for pushed codes, on a link. */
#include "tests/lib/memory.h"

#include "loop/compute_pool.h"
#include "tests/lib/in_memory.h"
#include "tests/lib/predictor_with_all.h"
#include "tests/lib/whole_sample.h"
#include "wire/listener.h"

#include <cblas.h>

enum { WARM_STEPS = 20, COUNTED_STEPS = 50, WARM_REQUESTS = 20, COUNTED_REQUESTS = 500, WARM_ROUNDS = 40 };

static fleet f;

static void nothing_in_training_steps(preset_binarize decision) {
    open_fleet(&f, decision, 2);
    start_training(&f);
    while (f.steps < WARM_STEPS) {
        run_round(&f);
    }
    memory_count_start();
    while (f.steps < WARM_STEPS + COUNTED_STEPS) {
        run_round(&f);
    }
    memory_count_stop();
    assert_true(f.steps < TRAIN_SAMPLES / BATCH); /* it was all within the epoch */
    assert_allocated_nothing("training steps");
    train_to_the_end(&f);
    close_fleet(&f);
}

static void a_training_step_allocates_nothing(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    nothing_in_training_steps(PRESET_AFTER_TRAINING);
}

static void a_straight_through_step_allocates_nothing(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    nothing_in_training_steps(PRESET_STRAIGHT_THROUGH);
}

static void ask(uint64_t request) {
    static uint8_t sample[PIXELS];
    memset(sample, (int)request, sizeof sample);
    uint64_t before = f.answers;
    classify_whole(f.engine, request, &(partition){PARTITION_SLICES, NODES, 1, 28, 28}, sample, f.now_ns);
    run_round(&f);
    engine_poll(f.engine, f.now_ns);
    f.now_ns += 1000;
    assert_int_equal(f.answers, before + 1);
    assert_int_equal(f.last.outcome, CLASSIFICATION_DONE);
    assert_int_equal(f.last.have, 15);
}

static void serve_trained(predictor_options with) {
    open_fleet(&f, PRESET_STRAIGHT_THROUGH, 1);
    start_training(&f);
    train_to_the_end(&f);
    start_serving(&f, with);
}

static void a_served_request_allocates_nothing(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    serve_trained(predictor_with_all);
    for (uint64_t i = 0; i < WARM_REQUESTS; i++) {
        ask(i);
    }
    memory_count_start();
    for (uint64_t i = WARM_REQUESTS; i < WARM_REQUESTS + COUNTED_REQUESTS; i++) {
        ask(i);
    }
    memory_count_stop();
    assert_allocated_nothing("served requests");
    close_fleet(&f);
}

static void push_all(uint32_t count) {
    for (uint32_t k = 0; k < NODES; k++) {
        assert_true(node_serve_may_stream(node_protocol_serve(f.nodes[k].protocol)));
        node_serve_stream(node_protocol_serve(f.nodes[k].protocol), portion_sample(f.nodes[k].data, DATASET_TEST, 0),
                          count);
    }
    run_round(&f);
    int64_t sleep_us = 0;
    for (int turn = 0; turn < 3 && sleep_us == 0; turn++) { /* a batch that takes long leaves a row free */
        sleep_us = engine_poll(f.engine, f.now_ns);
    }
    assert_int_equal(sleep_us, -1); /* everything is in and classified */
    f.now_ns += 1000;
}

static void nothing_for_pushed_codes(predictor_options with) {
    memory_skip_if_sanitized();
    serve_trained(with);
    push_all(TEST_SAMPLES);
    push_all(1);
    memory_count_start();
    for (uint64_t i = 0; i < 20; i++) {
        push_all(TEST_SAMPLES);
        push_all(1);
    }
    memory_count_stop();
    assert_allocated_nothing("pushed codes");
    close_fleet(&f);
}

static void codes_from_the_table_allocate_nothing(void **state) {
    (void)state;
    nothing_for_pushed_codes(predictor_with_all);
}

static void codes_from_the_cache_allocate_nothing(void **state) {
    (void)state;
    nothing_for_pushed_codes((predictor_options){.cache_bytes = 1 << 20});
}

static void codes_through_the_nets_allocate_nothing(void **state) {
    (void)state;
    nothing_for_pushed_codes((predictor_options){0});
}

/* Links. libuv's own allocations go through functions of ours, so that they are told from the links'. */

static atomic_ulong libuv_calls;

static void *uv_side_malloc(size_t size) {
    libuv_calls++;
    return malloc(size);
}

static void *uv_side_calloc(size_t count, size_t size) {
    libuv_calls++;
    return calloc(count, size);
}

static void *uv_side_realloc(void *old, size_t size) {
    libuv_calls++;
    return realloc(old, size);
}

static void uv_side_free(void *block) {
    free(block);
}

static struct {
    uv_loop_t loop;
    listener *listener;
    wire_link *client, *server;
    uint64_t sent, server_frames, client_frames;
    bool is_up;
    int downs;
    char reason[160]; /* of the last one that went down */
} ends;

static void on_up(void *context, wire_link *l) {
    (void)context;
    link_set_limit(l, FRAME_PAYLOAD_MAX);
    ends.is_up = true;
}

static void on_down(void *context, wire_link *l, const char *reason) {
    (void)context, (void)l;
    snprintf(ends.reason, sizeof ends.reason, "%s", reason);
    ends.downs++;
}

/* The server sends every frame back, once it has them all; the client counts them. So what waits in a buffer does not
 * depend on who is faster. */
static void on_server_frame(void *context, wire_link *l, const frame *got) {
    (void)context;
    link_set_limit(l, FRAME_PAYLOAD_MAX);
    assert_int_equal(link_send(l, got->payload - FRAME_HEADER, FRAME_HEADER + got->length), ERR_OK);
    if (++ends.server_frames == ends.sent) {
        link_flush(l);
    }
}

static void on_client_frame(void *context, wire_link *l, const frame *got) {
    (void)context, (void)l, (void)got;
    ends.client_frames++;
}

static void on_accepted(void *context, wire_link *l) {
    static const link_events events = {on_up, on_server_frame, on_down};
    (void)context;
    ends.server = l;
    link_attach(l, &events, NULL);
}

/* Runs the loop until both ends are up and the client has so many frames. The links' own deadline ends a wait in vain:
 * they go down after ten seconds of silence. */
static void await_frames(uint64_t count) {
    while (!ends.is_up || !ends.server || ends.client_frames < count) {
        if (ends.downs > 0) {
            fail_msg("%d links are down: %s", ends.downs, ends.reason);
        }
        uv_run(&ends.loop, UV_RUN_ONCE);
    }
}

static void open_ends(void) {
    static const link_events events = {on_up, on_client_frame, on_down};
    assert_int_equal(uv_loop_init(&ends.loop), 0);
    assert_int_equal(listener_new(&ends.listener, &ends.loop, "127.0.0.1", 0, NULL, 4, on_accepted, NULL), ERR_OK);
    assert_int_equal(
        link_connect(&ends.loop, "127.0.0.1", listener_port(ends.listener), NULL, &events, NULL, &ends.client), ERR_OK);
    await_frames(0);
}

static void close_ends(void) {
    link_close(ends.client, "done");
    link_close(ends.server, "done");
    listener_close(ends.listener);
    uv_run(&ends.loop, UV_RUN_DEFAULT);
    assert_int_equal(ends.downs, 2);
    assert_int_equal(uv_loop_close(&ends.loop), 0);
}

/* `count` frames of `length` at once, and all of them back. */
static void exchange(uint32_t count, size_t length) {
    static uint8_t bytes[FRAME_HEADER + (1 << 20)];
    frame_put_header(bytes, MESSAGE_CODES, length);
    ends.sent += count;
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(link_send(ends.client, bytes, FRAME_HEADER + length), ERR_OK);
    }
    link_flush(ends.client);
    await_frames(ends.sent);
}

/* A link sends from two buffers in turn, and which of them gets much to hold is a matter of chance: so often, both do.
 */
static void warm_link(void) {
    for (int i = 0; i < WARM_ROUNDS; i++) {
        exchange(5, 1 << 20);
        for (int more = 0; more < i % 3; more++) {
            exchange(1, 100);
        }
    }
}

static void a_link_allocates_nothing(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    open_ends();
    exchange(1, 100); /* from here on the server takes long frames */
    warm_link();
    libuv_calls = 0;
    memory_count_start();
    for (int i = 0; i < 20; i++) {
        exchange(1, 100);
        exchange(4, 1 << 20); /* more than the kernel takes at once: uv_write, not only uv_try_write */
        exchange(200, 1000);
        link_set_heartbeat(ends.client, 30000);
    }
    memory_count_stop();
    assert_int_equal(libuv_calls, 0);
    assert_allocated_nothing("frames over a link");
    close_ends();
}

/* Jobs of a compute pool, there and back. */

static struct {
    uv_loop_t loop;
    compute_pool *pool;
    uint32_t worked, done;
} trip;

static void count_worked(void *context) {
    (void)context;
    trip.worked++;
}

static void count_done(void *context) {
    (void)context;
    trip.done++;
}

static void lend(uint32_t times) {
    for (uint32_t i = 0; i < times; i++) {
        assert_int_equal(compute_pool_run(trip.pool, count_worked, count_done, NULL), ERR_OK);
        while (compute_pool_is_busy(trip.pool)) {
            uv_run(&trip.loop, UV_RUN_ONCE);
        }
    }
}

static void a_compute_pool_allocates_nothing(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    assert_int_equal(uv_loop_init(&trip.loop), 0);
    assert_int_equal(compute_pool_new(&trip.pool, &trip.loop), ERR_OK);
    lend(WARM_ROUNDS);
    libuv_calls = 0;
    memory_count_start();
    lend(500);
    memory_count_stop();
    assert_int_equal(libuv_calls, 0);
    assert_allocated_nothing("jobs of a compute pool");
    assert_int_equal(trip.worked, trip.done);
    compute_pool_free(trip.pool);
    uv_run(&trip.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&trip.loop), 0);
}

/* The counter itself: it sees this program's allocations, a library's, and tells them apart. */
static void the_counter_counts(void **state) {
    (void)state;
    memory_skip_if_sanitized();
    void *volatile block;
    memory_count_start();
    block = malloc(10);
    block = realloc(block, 100);
    free(block);
    block = aligned_alloc(64, 128);
    free(block);
    char *volatile text = NULL;
    assert_true(asprintf((char **)&text, "%s", "a text of the C library's") > 0);
    memory_count_stop();
    free(text);
    assert_int_equal(memory.calls[MEMORY_OURS], 3);
    assert_true(memory.calls[MEMORY_OF_LIBRARIES] >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_counter_counts),
        IN_FOLDER(a_training_step_allocates_nothing),
        IN_FOLDER(a_straight_through_step_allocates_nothing),
        IN_FOLDER(a_served_request_allocates_nothing),
        IN_FOLDER(codes_from_the_table_allocate_nothing),
        IN_FOLDER(codes_from_the_cache_allocate_nothing),
        IN_FOLDER(codes_through_the_nets_allocate_nothing),
        cmocka_unit_test(a_link_allocates_nothing),
        cmocka_unit_test(a_compute_pool_allocates_nothing),
    };
    openblas_set_num_threads(1);
    uv_replace_allocator(uv_side_malloc, uv_side_realloc, uv_side_calloc, uv_side_free);
    return cmocka_run_group_tests_name("allocations", tests, NULL, NULL);
}
