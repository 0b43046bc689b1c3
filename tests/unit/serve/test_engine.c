/* The engine: what serving does with nodes, codes and requests. */
#include "tests/lib/engine_fixture.h"

/* Nodes. */

static void a_node_is_told_its_checkpoint(void **state) {
    table *t = *state;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        engine_joined(t->engine, k);
        uint8_t digest[SHA256_BYTES];
        memset(digest, (int)(16 + k), sizeof digest);
        assert_int_equal(last_told(t, 0)->type, MESSAGE_RESTORE);
        assert_int_equal(last_told(t, 0)->portion, k);
        assert_int_equal(last_told(t, 0)->number, STEP);
        assert_int_equal(last_told(t, 0)->length, SHA256_BYTES);
        assert_memory_equal(last_told(t, 0)->bytes, digest, SHA256_BYTES);
    }
    assert_int_equal(t->tell_count, PORTIONS);
    assert_int_equal(t->ready, 0);
}

static void streaming_begins_once_all_are_ready(void **state) {
    table *t = *state;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_int_equal(t->tell_count, k); /* a Restore for each, no Begin */
        join(t, k);
        assert_int_equal(t->ready, k + 1);
    }
    assert_int_equal(t->tell_count, 2 * PORTIONS);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_int_equal(last_told(t, PORTIONS - 1 - k)->type, MESSAGE_BEGIN);
        assert_int_equal(last_told(t, PORTIONS - 1 - k)->portion, k);
    }
    engine_left(t->engine, 2, 0);
    assert_int_equal(t->ready, 3);
    come_back(t, 2, 0); /* it alone begins */
    assert_int_equal(t->ready, 4);
    assert_int_equal(t->tell_count, 2 * PORTIONS + 2);
    assert_int_equal(last_told(t, 0)->type, MESSAGE_BEGIN);
    assert_int_equal(last_told(t, 0)->portion, 2);
    assert_int_equal(t->drops, 0);
}

static void assert_dropped(table *t, uint32_t portion, Fewbit__Reason reason, uint32_t drops) {
    assert_int_equal(t->drops, drops);
    assert_int_equal(t->dropped_portion, portion);
    assert_int_equal(t->dropped_reason, reason);
}

static void what_is_out_of_turn_is_dropped(void **state) {
    table *t = *state;
    engine_joined(t->engine, 1);
    say_ready(t, 1, STEP - 1);
    assert_dropped(t, 1, FEWBIT__REASON__REASON_PROTOCOL, 1);
    stream_codes(t, 1, 0, 1, 0); /* before Ready */
    assert_dropped(t, 1, FEWBIT__REASON__REASON_PROTOCOL, 2);
    reply(t, 1, 0, 1, 0);
    assert_dropped(t, 1, FEWBIT__REASON__REASON_PROTOCOL, 3);
    join_all(t);
    say_ready(t, 3, STEP); /* a second time */
    assert_dropped(t, 3, FEWBIT__REASON__REASON_PROTOCOL, 4);
    assert_int_equal(t->ready, PORTIONS);
    static const message_type wrong[] = {MESSAGE_HELLO,       MESSAGE_WELCOME,   MESSAGE_RESTORE, MESSAGE_BATCH,
                                         MESSAGE_ACTIVATIONS, MESSAGE_GRADIENTS, MESSAGE_SAVE,    MESSAGE_SAVED,
                                         MESSAGE_COMMITTED,   MESSAGE_REQUEST,   MESSAGE_BEGIN};
    for (uint32_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const message m = {wrong[i], {.any = NULL}}; /* its body must not be looked at */
        engine_receive(t->engine, 2, &m, 0);
        assert_dropped(t, 2, FEWBIT__REASON__REASON_PROTOCOL, 5 + i);
    }
    assert_int_equal(engine_poll(t->engine, 0), -1); /* nothing waits */
}

static void codes_that_do_not_fit_are_dropped(void **state) {
    table *t = *state;
    static const uint8_t bits[8] = {0x21, 0x43, 0x05, 0};
    static const sent_codes cases[] = {
        {MESSAGE_CODES, STEP, 0, 4, 2, bits},          /* a byte short */
        {MESSAGE_CODES, STEP, 0, 4, 4, bits},          /* a byte long */
        {MESSAGE_CODES, STEP, 0, 0, 0, bits},          /* none */
        {MESSAGE_CODES, STEP, 0, 2, 2, bits},          /* a bit behind the last code */
        {MESSAGE_CODES, STEP, 0, UINT32_MAX, 8, bits}, /* a count that lies */
        {MESSAGE_CODES, STEP, 0, UINT32_MAX, 0, bits},
        {MESSAGE_CODES, STEP, UINT64_MAX, 0, 1, bits + 3}, /* ids beyond the last one */
        {MESSAGE_CODES, STEP, UINT64_MAX - 1, 3, 2, bits},
        {MESSAGE_ANSWER, STEP, 0, 1, 1, bits}, /* an answer is one code */
        {MESSAGE_ANSWER, STEP, 0, 0, 2, bits},
        {MESSAGE_ANSWER, STEP, 0, 0, 1, bits}, /* 5 bits */
        {MESSAGE_ANSWER, STEP, 0, 0, 0, bits},
    };
    join_all(t);
    for (uint32_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        send(t, i % PORTIONS, cases[i], 0);
        assert_dropped(t, i % PORTIONS, FEWBIT__REASON__REASON_PROTOCOL, i + 1);
    }
    assert_int_equal(engine_poll(t->engine, 0), -1);
}

static void codes_of_another_model_are_dropped(void **state) {
    table *t = *state;
    static const uint8_t bits[1] = {0};
    join_all(t);
    uint64_t id = ask(t, 1, 0);
    for (uint32_t k = 0; k < PORTIONS - 1; k++) {
        stream_codes(t, k, 0, 1, 0);
        reply(t, k, id, 0, 0);
    }
    send(t, 3, (sent_codes){MESSAGE_CODES, STEP - 1, 0, 0, 1, bits}, 0);
    assert_dropped(t, 3, FEWBIT__REASON__REASON_MODEL, 1);
    send(t, 3, (sent_codes){MESSAGE_ANSWER, 0, id, 0, 1, bits}, 0);
    assert_dropped(t, 3, FEWBIT__REASON__REASON_MODEL, 2);
    engine_poll(t->engine, 1);
    assert_int_equal(t->answers, 0); /* the samples still wait for codes of this model */
    engine_left(t->engine, 3, 1);
    engine_poll(t->engine, 1); /* the on-demand sample waits for nobody else; the streamed one until its deadline */
    assert_int_equal(t->answers, 1);
    assert_int_equal(t->last.have, 7);
    engine_poll(t->engine, deadline_ns);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 2);
    const uint8_t codes[] = {code_of(0, 0), code_of(0, 1), code_of(0, 2), 0};
    assert_written(t, json_array_get(lines, 1), "stream", codes, 7);
    json_decref(lines);
}

/* Streamed samples. */

static void streamed_samples_become_results(void **state) {
    table *t = *state;
    join_all(t);
    stream_codes(t, 2, 0, 3, 0);
    stream_codes(t, 0, 0, 2, 0);
    stream_codes(t, 3, 0, 3, 0);
    stream_codes(t, 1, 0, 3, 3000000);
    stream_codes(t, 0, 2, 1, 3000000);
    assert_int_equal(engine_poll(t->engine, 5000000), -1);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 3);
    for (size_t i = 0; i < 3; i++) {
        json_t *line = json_array_get(lines, i);
        uint8_t codes[PORTIONS];
        for (uint32_t k = 0; k < PORTIONS; k++) {
            codes[k] = code_of(i, k);
        }
        assert_int_equal(json_integer_value(json_object_get(line, "id")), i);
        assert_written(t, line, "stream", codes, 15);
        assert_true(fabs(json_number_value(json_object_get(line, "ms")) - 5) < 1e-9);
    }
    json_decref(lines);
    assert_int_equal(t->answers, 0);
}

static void a_missing_portion_degrades_at_the_deadline(void **state) {
    table *t = *state;
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        if (k != 1) {
            stream_codes(t, k, 0, 1, 5000000);
        }
    }
    assert_int_equal(engine_poll(t->engine, 5000000), 1000001);
    assert_int_equal(engine_poll(t->engine, deadline_ns + 4999999), 1);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 0);
    json_decref(lines);
    assert_int_equal(engine_poll(t->engine, deadline_ns + 5000000), -1);
    stream_codes(t, 1, 0, 1, deadline_ns + 6000000); /* late */
    stream_codes(t, 0, 0, 1, deadline_ns + 6000000); /* not the next */
    assert_int_equal(t->drops, 1);
    assert_string_equal(t->dropped_text, "codes from sample 0 on, where 1 was due");
    assert_int_equal(engine_poll(t->engine, 3 * deadline_ns), -1);
    lines = written(t);
    assert_int_equal(json_array_size(lines), 1);
    const uint8_t codes[] = {code_of(0, 0), 0, code_of(0, 2), code_of(0, 3)};
    assert_written(t, json_array_get(lines, 0), "stream", codes, 13);
    json_decref(lines);
}

/* 1,000 is what one frame holds and what is classified at once: nothing may be kept back. */
static void any_number_of_results_is_written_at_once(void **state) {
    table *t = *state;
    static const uint32_t counts[] = {1, 999, 1000, 1001, 2000};
    size_t sum = 0;
    join_all(t);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        for (uint32_t k = 0; k < PORTIONS; k++) {
            stream_codes(t, k, sum, counts[i], 0);
        }
        while (engine_poll(t->engine, 0) == 0) {
        }
        assert_int_equal(engine_poll(t->engine, 0), -1);
        sum += counts[i];
        json_t *lines = written(t);
        if (json_array_size(lines) != sum) {
            fail_msg("%zu of %zu results are written after %u more", json_array_size(lines), sum, counts[i]);
        }
        json_decref(lines);
    }
}

/* A node that is far ahead is asked to hold, and to go on once the others have come near. (Of small frames, where the
 * heads of what is in the backlog weigh most.) */
static void a_node_ahead_of_the_others_is_held(void **state) {
    table *t = *state;
    uint64_t sent = 0;
    join_all(t);
    for (; !t->is_held[2]; sent++) {
        stream_codes(t, 2, sent, 1, 0);
        engine_poll(t->engine, 0);
        assert_true(sent < 1 << 16);
    }
    stream_codes(t, 2, sent, 1000, 0); /* what was under way already */
    sent += 1000;
    engine_poll(t->engine, 0);
    assert_int_equal(t->holds[true], 1);
    for (uint64_t first = 0; first < sent; first++) {
        for (uint32_t k = 0; k < PORTIONS; k++) {
            if (k != 2) {
                stream_codes(t, k, first, 1, 0);
            }
            engine_poll(t->engine, 0);
        }
        assert_false(t->is_held[0] || t->is_held[1] || t->is_held[3]);
    }
    assert_int_equal(t->holds[false], 1);
    assert_int_equal(t->pauses[true], 0);
    assert_int_equal(t->drops, 0);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), sent);
    json_decref(lines);
}

/* One that does not hold is not read from, before what it sends fills the memory. */
static void a_node_that_does_not_hold_is_paused(void **state) {
    table *t = *state;
    uint64_t sent = 0;
    join_all(t);
    for (; t->pauses[true] == 0; sent++) {
        stream_codes(t, 2, sent, 1, 0);
        assert_true(sent < 4 << 20);
    }
    assert_true(t->is_held[2]);
    assert_int_equal(t->paused_portion, 2);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        if (k != 2) {
            stream_codes(t, k, 0, (uint32_t)sent, 0);
        }
    }
    while (engine_poll(t->engine, 0) == 0) {
    }
    assert_int_equal(t->pauses[false], t->pauses[true]);
    assert_int_equal(t->holds[false], t->holds[true]);
    const stats *s = stats_of(t);
    assert_int_equal(s->streamed.complete, sent);
    assert_int_equal(s->streamed.late + s->streamed.expired, 0);
}

/* Each has been ahead when it was held: the one that all others wait for goes on at once. */
static void nodes_that_pass_each_other_do_not_stop(void **state) {
    table *t = *state;
    enum { AHEAD = 5000, FURTHER = 10000 };
    join_all(t);
    for (uint64_t i = 0; i < AHEAD; i++) {
        stream_codes(t, 0, i, 1, 0);
    }
    for (uint64_t i = 0; i < FURTHER; i++) {
        for (uint32_t k = 1; k < PORTIONS; k++) {
            stream_codes(t, k, i, 1, 0);
        }
    }
    assert_true(t->is_held[0] && t->is_held[1]);
    while (engine_poll(t->engine, 0) == 0) {
    }
    assert_false(t->is_held[0]);
    assert_true(t->is_held[1]);
    stream_codes(t, 0, AHEAD, FURTHER - AHEAD, 0);
    while (engine_poll(t->engine, 0) == 0) {
    }
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_false(t->is_held[k]);
    }
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), FURTHER);
    json_decref(lines);
}

/* More than may be ahead, before anybody could hold: it waits for room, and nothing is lost or kept back. */
static void codes_that_find_no_room_wait(void **state) {
    table *t = *state;
    enum { FRAMES = 140 };
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        for (uint64_t i = 0; i < FRAMES; i++) {
            stream_codes(t, k, i * 1000, 1000, 0);
        }
    }
    while (engine_poll(t->engine, 0) == 0) {
    }
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), FRAMES * 1000);
    for (size_t i = 0; i < FRAMES * 1000; i += 997) {
        const json_t *line = json_array_get(lines, i);
        uint64_t id = (uint64_t)json_integer_value(json_object_get(line, "id"));
        const uint8_t codes[] = {code_of(id, 0), code_of(id, 1), code_of(id, 2), code_of(id, 3)};
        assert_written(t, line, "stream", codes, 15);
    }
    json_decref(lines);
    assert_int_equal(t->holds[true], t->holds[false]);
    assert_int_equal(t->drops, 0);
}

/* Requests. */

static void a_request_goes_through_every_node(void **state) {
    table *t = *state;
    const uint8_t codes[PORTIONS] = {9, 2, 15, 4};
    join_all(t);
    uint64_t id = ask(t, 30, 1000000);
    size_t frame_bytes = 0;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const told *request = last_told(t, PORTIONS - 1 - k);
        assert_int_equal(request->type, MESSAGE_REQUEST);
        assert_int_equal(request->portion, k);
        assert_int_equal(request->number, id);
        assert_int_equal(request->length, ELEMENTS);
        for (size_t i = 0; i < ELEMENTS; i++) {
            assert_int_equal(request->bytes[i], (k * ELEMENTS + i + 30) % 251);
        }
        frame_bytes += request->frame_bytes + 4 + 3 + 3; /* an Answer: header, model, bits; id 0 is left out */
        reply(t, k, id, codes[k], 2000000);
    }
    assert_int_equal(t->answers, 0); /* in batches, when nothing else waits */
    assert_int_equal(engine_poll(t->engine, 4000000), -1);
    assert_int_equal(t->answered[30], 1);
    assert_int_equal(t->answers, 1);
    float probability;
    assert_int_equal(t->last.outcome, CLASSIFICATION_DONE);
    assert_int_equal(t->last.class, class_of(t, codes, 15, &probability));
    assert_true(fabsf(t->last.probabilities[t->last.class] - probability) < 1e-5f);
    assert_int_equal(t->last.classes, CLASSES);
    assert_int_equal(t->last.portions, PORTIONS);
    assert_int_equal(t->last.bits[0], BITS);
    assert_int_equal(t->last.have, 15);
    assert_false(t->last.degraded);
    assert_int_equal(t->last.asked_ns, 1000000);
    assert_int_equal(t->last.due_ns, 2000000);
    assert_int_equal(t->last.frame_bytes[TRAFFIC_IN] + t->last.frame_bytes[TRAFFIC_OUT], frame_bytes);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_int_equal(t->last.codes[k], codes[k]);
    }
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 1);
    assert_written(t, json_array_get(lines, 0), "http", codes, 15);
    json_decref(lines);
}

static void a_request_asks_the_nodes_that_are_there(void **state) {
    table *t = *state;
    ask(t, 1, 0);
    assert_int_equal(t->answered[1], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_NO_NODES);
    engine_joined(t->engine, 0); /* not ready yet */
    ask(t, 2, 0);
    assert_int_equal(t->answered[2], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_NO_NODES);
    join(t, 1);
    join(t, 3);
    uint64_t id = ask(t, 3, 0);
    assert_int_equal(last_told(t, 1)->portion, 1);
    assert_int_equal(last_told(t, 0)->portion, 3);
    reply(t, 3, id, 5, 0);
    reply(t, 1, id, 6, 0);
    engine_poll(t->engine, 0); /* long before the deadline */
    assert_int_equal(t->answered[3], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_DONE);
    assert_int_equal(t->last.have, 10);
    assert_true(t->last.degraded);
    const uint8_t codes[PORTIONS] = {0, 6, 0, 5};
    json_t *lines = written(t);
    assert_written(t, json_array_get(lines, 0), "http", codes, 10);
    json_decref(lines);
}

static void a_node_lost_in_a_request_degrades_it(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t id = ask(t, 1, 0);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        if (k == 2) {
            engine_left(t->engine, k, 0);
        } else {
            reply(t, k, id, 3, 0);
        }
    }
    engine_poll(t->engine, 1000); /* at once */
    assert_int_equal(t->answered[1], 1);
    assert_int_equal(t->last.have, 11);
    assert_true(t->last.degraded);
    join(t, 2);
    reply(t, 2, id, 3, deadline_ns); /* from before it went: too late */
    assert_int_equal(engine_poll(t->engine, 3 * deadline_ns), -1);
    assert_int_equal(t->answers, 1);
    assert_int_equal(t->drops, 0);
}

static void all_nodes_lost_in_a_request_say_so(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t id = ask(t, 1, 0);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_int_equal(t->answered[1], 0);
        engine_left(t->engine, k, 0);
    }
    assert_int_equal(t->answered[1], 1); /* at once */
    assert_int_equal(t->last.outcome, CLASSIFICATION_TIMEOUT);
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        reply(t, k, id, 3, deadline_ns);
    }
    engine_poll(t->engine, 3 * deadline_ns);
    assert_int_equal(t->answers, 1);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 0);
    json_decref(lines);
}

static void requests_over_the_limit_are_told(void **state) {
    table *t = *state;
    enum { LIMIT = 8192 };
    join_all(t);
    for (uint64_t request = 0; request < LIMIT; request++) {
        ask(t, request, 0);
        assert_int_equal(t->answers, 0);
    }
    ask(t, LIMIT, 0);
    assert_int_equal(t->answered[LIMIT], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_BUSY);
    engine_poll(t->engine, deadline_ns);
    for (uint64_t request = 0; request <= LIMIT; request++) {
        assert_int_equal(t->answered[request], 1);
    }
    answer_probes(t, deadline_ns);
    uint64_t id = ask(t, LIMIT + 1, deadline_ns);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        reply(t, k, id, 1, deadline_ns);
    }
    engine_poll(t->engine, deadline_ns);
    assert_int_equal(t->answered[LIMIT + 1], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_DONE);
}

/* However many requests overtake one that waits, each gets its own answer, once. */
static void a_request_that_waits_is_not_mixed_up_with_others(void **state) {
    table *t = *state;
    enum { OTHERS = 10000 };
    join(t, 1);
    ask(t, 0, 0); /* waits for its deadline */
    for (uint64_t request = 1; request <= OTHERS; request++) {
        uint64_t id = ask(t, request, 1);
        reply(t, 1, id, (uint8_t)(request % 16), 1);
        engine_poll(t->engine, 1);
        assert_int_equal(t->answered[request], 1);
        assert_int_equal(t->last.codes[1], request % 16);
    }
    assert_int_equal(t->answered[0], 0);
    engine_poll(t->engine, deadline_ns);
    assert_int_equal(t->last.outcome, CLASSIFICATION_TIMEOUT);
    for (uint64_t request = 0; request <= OTHERS; request++) {
        if (t->answered[request] != 1) {
            fail_msg("request %llu was answered %u times", (unsigned long long)request, t->answered[request]);
        }
    }
}

static void late_codes_cost_no_other_request(void **state) {
    table *t = *state;
    enum { LIMIT = 8192 };
    join(t, 0);
    uint64_t late = ask(t, 0, 0);
    engine_poll(t->engine, deadline_ns);
    answer_probes(t, deadline_ns);
    for (uint64_t request = 1; request <= LIMIT; request++) {
        uint64_t id = ask(t, request, deadline_ns);
        if (request == LIMIT) {
            reply(t, 0, late, 1, deadline_ns);
        }
        size_t expected = last_told(t, 0)->frame_bytes + 4 + 3 + 3 + (id < 128 ? 2 : 3);
        reply(t, 0, id, 1, deadline_ns);
        engine_poll(t->engine, deadline_ns);
        assert_int_equal(t->last.frame_bytes[TRAFFIC_IN] + t->last.frame_bytes[TRAFFIC_OUT], expected);
    }
}

#define AT_TABLE(test) cmocka_unit_test_setup_teardown(test, set_table, clear_table)

/* Weights that are numbers, whose sums in the last layer are none. */
static void diverge(table *t) {
    manifest_commit commit = t->run.manifest.last;
    size_t last = nn_net_tensor_count(t->head) - 2;
    for (size_t i = 0; i <= last; i++) {
        const nn_tensor *all = nn_net_tensor(t->head, i);
        for (size_t at = 0; at < all->count; at++) {
            all->value[at] = i == last ? 3e38f : 1.0f;
        }
    }
    assert_int_equal(run_dir_save_head(&t->run, STEP, t->head, NULL, commit.head), ERR_OK);
    assert_int_equal(run_dir_commit(&t->run, &commit, false), ERR_OK);
}

static err make_engine(table *t, predictor_options predictor) {
    const engine_options options = {.deadline_ns = deadline_ns, .predictor = predictor};
    const engine_host host = {on_tell, on_drop, on_pause, on_answer, on_ready, on_serves, on_changed, t};
    return engine_new(&t->engine, &t->run, t->results, &options, &host);
}

static void what_is_no_number_is_no_class(void **state) {
    table *t = *state;
    engine_free(t->engine);
    t->engine = NULL;
    diverge(t);
    assert_int_equal(make_engine(t, predictor_with_all), ERR_INPUT); /* they are to fill a table */
    assert_int_equal(make_engine(t, (predictor_options){.cache_bytes = 1 << 20}), ERR_OK);
    join_all(t);
    for (uint32_t request = 1; request <= 2; request++) {
        uint64_t id = ask(t, request, 0);
        for (uint32_t k = 0; k < PORTIONS; k++) {
            reply(t, k, id, 7, 0);
            stream_codes(t, k, request - 1, 1, 0);
        }
        engine_poll(t->engine, 0);
        assert_int_equal(t->answered[request], 1);
        assert_int_equal(t->last.outcome, CLASSIFICATION_FAILED);
    }
    predictor_counters from;
    engine_count_predictions(t->engine, &from);
    assert_int_equal(from.from_cache, 0);
    assert_int_equal(stats_of(t)->results_lost, 2); /* the streamed ones */
    assert_int_equal(stats_of(t)->streamed.waiting + stats_of(t)->on_demand.waiting, 0);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 0);
    json_decref(lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        AT_TABLE(a_node_is_told_its_checkpoint),
        AT_TABLE(streaming_begins_once_all_are_ready),
        AT_TABLE(what_is_out_of_turn_is_dropped),
        AT_TABLE(codes_that_do_not_fit_are_dropped),
        AT_TABLE(codes_of_another_model_are_dropped),
        AT_TABLE(streamed_samples_become_results),
        AT_TABLE(a_missing_portion_degrades_at_the_deadline),
        AT_TABLE(any_number_of_results_is_written_at_once),
        AT_TABLE(a_node_ahead_of_the_others_is_held),
        AT_TABLE(a_node_that_does_not_hold_is_paused),
        AT_TABLE(nodes_that_pass_each_other_do_not_stop),
        AT_TABLE(codes_that_find_no_room_wait),
        AT_TABLE(a_request_goes_through_every_node),
        AT_TABLE(a_request_asks_the_nodes_that_are_there),
        AT_TABLE(a_node_lost_in_a_request_degrades_it),
        AT_TABLE(all_nodes_lost_in_a_request_say_so),
        AT_TABLE(requests_over_the_limit_are_told),
        AT_TABLE(a_request_that_waits_is_not_mixed_up_with_others),
        AT_TABLE(late_codes_cost_no_other_request),
        AT_TABLE(what_is_no_number_is_no_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
