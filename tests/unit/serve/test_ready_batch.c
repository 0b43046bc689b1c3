/* The batch of samples that are ready, and the requests that wait for theirs. */
#include "decoder_server/serve/on_demand.h"
#include "decoder_server/serve/ready_batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { PORTIONS = 2, DELAY = 100, DEADLINE = 1000 };

static ready_batch batch;
static uint64_t codes[READY_BATCH_ROWS * PORTIONS];
static on_demand requests;

static int set_up(void **state) {
    (void)state;
    batch = (ready_batch){.portions = PORTIONS, .max_delay_ns = DELAY, .deadline_ns = DEADLINE, .codes = codes};
    requests = (on_demand){0};
    return 0;
}

static bool add(uint64_t id, uint64_t opened_ns, uint8_t model, uint64_t now_ns) {
    const uint64_t own[PORTIONS] = {id, 2 * id};
    const assembler_sample s = {.id = id, .have = 3, .to_ack = 3, .opened_ns = opened_ns, .model = model, .codes = own};
    return ready_batch_add(&batch, &s, id % 2, now_ns);
}

static void it_keeps_what_came(void **state) {
    (void)state;
    for (uint64_t id = 0; id < READY_BATCH_ROWS; id++) {
        assert_true(add(id, 0, 1, id));
    }
    assert_false(add(READY_BATCH_ROWS, 0, 1, 0));
    for (uint64_t id = 0; id < READY_BATCH_ROWS; id++) {
        assert_int_equal(batch.samples[id].id, id);
        assert_int_equal(batch.samples[id].codes[1], 2 * id);
        assert_int_equal(batch.is_on_demand[id], id % 2);
        assert_int_equal(batch.ready_ns[id], id);
    }
    ready_batch_drop_acks(&batch, 1);
    assert_int_equal(batch.samples[0].to_ack, 1);
    assert_int_equal(batch.samples[READY_BATCH_ROWS - 1].to_ack, 1);
}

static void it_is_of_one_model(void **state) {
    (void)state;
    assert_true(add(0, 0, 0, 0));
    assert_false(add(1, 0, 1, 0));
    batch.count = 0;
    assert_true(add(1, 0, 1, 0));
    assert_false(add(2, 0, 0, 0));
}

static void it_starts_when_its_first_has_waited(void **state) {
    (void)state;
    assert_int_equal(ready_batch_start_ns(&batch, true), UINT64_MAX);
    assert_int_equal(ready_batch_start_ns(&batch, false), UINT64_MAX);
    add(0, 5000, 0, 5500);
    add(1, 5000, 0, 5550);
    assert_int_equal(ready_batch_start_ns(&batch, true), 5500 + DELAY);
    assert_int_equal(ready_batch_start_ns(&batch, false), 0);
    add(2, 5560 - DEADLINE, 0, 5550); /* its deadline is near */
    assert_int_equal(ready_batch_start_ns(&batch, true), 5560);
    batch.count = 0;
    add(0, 600, 0, 700); /* as if nothing had been before */
    assert_int_equal(ready_batch_start_ns(&batch, true), 700 + DELAY);
    for (uint64_t id = 1; id < READY_BATCH_ROWS; id++) {
        add(id, 600, 0, 700);
    }
    assert_int_equal(ready_batch_start_ns(&batch, true), 0); /* full */
}

static void ids_pass_over_requests_that_wait(void **state) {
    (void)state;
    for (uint64_t i = 0; i < ON_DEMAND_CAPACITY; i++) {
        assert_int_equal(on_demand_next_id(&requests), i);
        on_demand_begin(&requests, i, 100 + i, 3);
    }
    uint64_t id = on_demand_next_id(&requests); /* all places are taken: the caller sees that the sample has none */
    assert_true(on_demand_find(&requests, id)->waits);
    on_demand_find(&requests, 5)->waits = false;
    id = on_demand_next_id(&requests);
    assert_int_equal(id % ON_DEMAND_CAPACITY, 5);
    assert_true(id > 5);
    on_demand_begin(&requests, id, 1, 3);
    assert_int_equal(on_demand_find(&requests, id)->request, 1);
}

static void ids_stay_short_and_frames_are_counted_for_their_own(void **state) {
    (void)state;
    requests.next = ON_DEMAND_IDS - 1;
    assert_int_equal(on_demand_next_id(&requests), ON_DEMAND_IDS - 1);
    on_demand_begin(&requests, ON_DEMAND_IDS - 1, 7, 3);
    assert_int_equal(on_demand_next_id(&requests), 0);
    on_demand_count_frame(&requests, ON_DEMAND_IDS - 1, TRAFFIC_OUT, 20);
    on_demand_count_frame(&requests, ON_DEMAND_IDS - 1, TRAFFIC_IN, 8);
    on_demand_count_frame(&requests, ON_DEMAND_IDS - 1 - ON_DEMAND_CAPACITY, TRAFFIC_IN, 99); /* of one before it */
    const on_demand_request *r = on_demand_find(&requests, ON_DEMAND_IDS - 1);
    assert_int_equal(r->frame_bytes[TRAFFIC_IN], 8);
    assert_int_equal(r->frame_bytes[TRAFFIC_OUT], 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_keeps_what_came, set_up),
        cmocka_unit_test_setup(it_is_of_one_model, set_up),
        cmocka_unit_test_setup(it_starts_when_its_first_has_waited, set_up),
        cmocka_unit_test_setup(ids_pass_over_requests_that_wait, set_up),
        cmocka_unit_test_setup(ids_stay_short_and_frames_are_counted_for_their_own, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
