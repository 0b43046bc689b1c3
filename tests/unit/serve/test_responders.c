/* Every answer that is owed has a time: who is left out of serving, how it comes back, who is dropped, and that nobody
 * is blamed for what the server itself did not do in time. */
#include "decoder_server/core/pending_replies.h"
#include "tests/lib/engine_fixture.h"

static const uint64_t second_ns = 1000000000, timeout_ns = 5000000000, tick_ns = 100000000;

static int set_timed_table(void **state) {
    const engine_options options = {
        .deadline_ns = deadline_ns, .answer_timeout_ns = timeout_ns, .predictor = predictor_with_all};
    return set_table_with(state, &options);
}

static int set_refining_table(void **state) {
    const engine_options options = {
        .deadline_ns = deadline_ns, .answer_timeout_ns = timeout_ns, .predictor = predictor_with_all, .confidence = 1};
    return set_table_with(state, &options);
}

/* Time passes as for a server that does its work. */
static void pass(table *t, uint64_t *now_ns, uint64_t for_ns) {
    for (uint64_t until_ns = *now_ns + for_ns; *now_ns < until_ns;) {
        *now_ns += tick_ns;
        engine_poll(t->engine, *now_ns);
    }
}

static const stats_node *node_of(table *t, uint32_t portion) {
    const stats *s = stats_of(t);
    assert_int_equal(s->ready, t->ready);
    return &s->nodes[portion];
}

static void reply_but(table *t, uint32_t silent, uint64_t id, uint64_t now_ns) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        if (k != silent) {
            reply(t, k, id, 3, now_ns);
        }
    }
    engine_poll(t->engine, now_ns);
}

/* One node says nothing: the first request waits for it, no other does, until it answers a probe in time. */
static void a_silent_node_is_waited_for_once(void **state) {
    table *t = *state;
    uint64_t now_ns = second_ns;
    for (uint32_t silent = 0; silent < PORTIONS; silent++) {
        for (uint32_t k = 0; k < PORTIONS && silent > 0; k++) {
            engine_left(t->engine, k, now_ns);
        }
        join_all(t);
        uint32_t answers = t->answers;
        reply_but(t, silent, ask(t, 10 * silent, now_ns), now_ns);
        assert_int_equal(t->answers, answers);
        assert_false(node_of(t, silent)->is_silent);
        pass(t, &now_ns, deadline_ns);
        assert_int_equal(t->answers, answers + 1);
        assert_true(t->last.degraded);
        assert_int_equal(t->ready, PORTIONS - 1);
        assert_true(node_of(t, silent)->is_silent);
        assert_false(node_of(t, silent)->is_ready);
        assert_string_equal(node_of(t, silent)->owes, "Answer");
        assert_int_equal(node_of(t, silent)->timeouts, 1);
        for (uint64_t more = 1; more < 9; more++) {
            reply_but(t, silent, ask(t, 10 * silent + more, now_ns), now_ns);
            assert_int_equal(t->answers, answers + 1 + more); /* at once */
            assert_int_equal(t->last.have, 15 & ~(1u << silent));
            assert_true(t->last.degraded);
        }
        size_t told_before = t->tell_count;
        pass(t, &now_ns, deadline_ns); /* a probe for each deadline, no more */
        assert_int_equal(t->tell_count, told_before + 1);
        assert_int_equal(last_told(t, 0)->portion, silent);
        assert_int_equal(answer_probes(t, now_ns), 1);
        assert_int_equal(t->ready, PORTIONS);
        assert_true(node_of(t, silent)->is_ready);
        assert_true(node_of(t, silent)->answered_seconds >= 0);
        uint64_t id = ask(t, 10 * silent + 9, now_ns);
        for (uint32_t k = 0; k < PORTIONS; k++) {
            reply(t, k, id, 3, now_ns);
        }
        engine_poll(t->engine, now_ns);
        assert_false(t->last.degraded);
    }
    assert_int_equal(t->drops, 0);
}

/* One node answers probes alone, or comes with a new connection in place of that: what it costs the others, for ten
 * minutes in which they ask whenever they may. How many requests waited for it. */
static uint32_t count_slow_requests(table *t, uint32_t bad, bool joins_again, uint64_t *now_ns) {
    uint32_t slow = 0;
    for (uint64_t until_ns = *now_ns + 600 * second_ns, number = 0; *now_ns < until_ns; number++) {
        uint32_t answers = t->answers;
        reply_but(t, bad, ask(t, number, *now_ns), *now_ns);
        if (t->answers == answers) {
            pass(t, now_ns, deadline_ns);
            assert_int_equal(t->answers, answers + 1);
            slow++;
        }
        pass(t, now_ns, tick_ns);
        if (joins_again) {
            engine_left(t->engine, bad, *now_ns);
            engine_joined(t->engine, bad);
            say_ready(t, bad, STEP);
        }
        answer_probes(t, *now_ns);
    }
    return slow;
}

static void who_goes_silent_again_is_left_out_for_longer(void **state) {
    for (uint32_t bad = 0; bad < PORTIONS; bad++) {
        for (int joins_again = 0; joins_again < 2; joins_again++) {
            assert_int_equal(set_timed_table(state), 0);
            table *t = *state;
            uint64_t now_ns = second_ns;
            join_all(t);
            uint32_t slow = count_slow_requests(t, bad, joins_again, &now_ns);
            assert_in_range(slow, 2, 6 + 600 * second_ns / (deadline_ns << 5));
            pass(t, &now_ns, deadline_ns << 7); /* and is forgiven in the end */
            answer_probes(t, now_ns);
            assert_int_equal(t->ready, PORTIONS);
            assert_int_equal(clear_table(state), 0);
        }
    }
}

static void a_probe_answered_too_late_does_not_count(void **state) {
    table *t = *state;
    uint64_t now_ns = second_ns;
    join_all(t);
    uint64_t first = ask(t, 0, now_ns);
    reply_but(t, 2, first, now_ns);
    pass(t, &now_ns, deadline_ns);
    const told probe = *last_told(t, 0);
    assert_int_equal(probe.portion, 2);
    reply(t, 2, first, 3, now_ns); /* late itself */
    assert_int_equal(t->ready, PORTIONS - 1);
    pass(t, &now_ns, deadline_ns + tick_ns);
    reply(t, 2, probe.number, 3, now_ns);
    assert_int_equal(t->ready, PORTIONS - 1);
    engine_poll(t->engine, now_ns);
    pass(t, &now_ns, deadline_ns / 2);
    assert_true(last_told(t, 0)->number > probe.number); /* the next one */
    reply(t, 2, last_told(t, 0)->number, 3, now_ns);
    assert_int_equal(t->ready, PORTIONS);
    assert_int_equal(t->drops, 0);
}

static void where_all_are_silent_it_is_said_at_once(void **state) {
    table *t = *state;
    uint64_t now_ns = second_ns;
    join_all(t);
    ask(t, 0, now_ns);
    pass(t, &now_ns, deadline_ns);
    assert_int_equal(t->last.outcome, CLASSIFICATION_TIMEOUT);
    ask(t, 1, now_ns);
    assert_int_equal(t->answered[1], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_NO_NODES);
    assert_int_equal(t->ready, 0);
}

/* The server stood still for a while: the answers lie unread. */
static void nobody_is_blamed_for_the_servers_own_pause(void **state) {
    table *t = *state;
    uint64_t now_ns = second_ns;
    join_all(t);
    ask(t, 0, now_ns);
    now_ns += 20 * timeout_ns;
    engine_poll(t->engine, now_ns);
    assert_int_equal(t->answered[0], 1);
    assert_int_equal(t->ready, PORTIONS);
    assert_int_equal(t->drops, 0);
}

/* What is owed, and how it comes to that. */
typedef struct debt {
    const char *answer;
    void (*begin)(table *t, uint32_t portion, uint64_t now_ns);
} debt;

static void owe_ready(table *t, uint32_t portion, uint64_t now_ns) {
    engine_left(t->engine, portion, now_ns);
    engine_joined(t->engine, portion);
}

static void owe_answer(table *t, uint32_t portion, uint64_t now_ns) {
    reply_but(t, portion, ask(t, 1, now_ns), now_ns);
}

static void owe_refinement(table *t, uint32_t portion, uint64_t now_ns) {
    const uint8_t bit = 1;
    uint64_t id = ask(t, 1, now_ns);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        send(t, k, (sent_codes){MESSAGE_ANSWER, STEP, id, 0, 1, &bit}, now_ns);
    }
    engine_poll(t->engine, now_ns);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const uint8_t bits = 5;
        Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
        reply.stage = 1;
        reply.first = id;
        reply.bits = (ProtobufCBinaryData){1, (uint8_t *)(uintptr_t)&bits};
        const message m = {MESSAGE_REFINEMENT, {.refinement = &reply}};
        if (k != portion) {
            engine_receive(t->engine, k, &m, now_ns);
        }
    }
    assert_int_equal(t->answers, 0);
}

static void each_is_dropped_once_it_is_due(table *t, const debt *d, uint32_t portion) {
    uint64_t now_ns = second_ns;
    join_all(t);
    engine_poll(t->engine, now_ns);
    d->begin(t, portion, now_ns);
    pass(t, &now_ns, timeout_ns - tick_ns);
    assert_int_equal(t->drops, 0);
    assert_string_equal(node_of(t, portion)->owes, d->answer);
    assert_true(fabs(node_of(t, portion)->owed_seconds - (double)(timeout_ns - tick_ns) * 1e-9) < 0.2);
    pass(t, &now_ns, 2 * tick_ns);
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->dropped_portion, portion);
    assert_int_equal(t->dropped_reason, FEWBIT__REASON__REASON_PROTOCOL);
    assert_null(node_of(t, portion)->owes);
    engine_left(t->engine, portion, now_ns);
    pass(t, &now_ns, 3 * timeout_ns); /* nobody else */
    assert_int_equal(t->drops, 1);
    join(t, portion);
    assert_int_equal(t->ready, PORTIONS);
    pass(t, &now_ns, 3 * timeout_ns);
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->ready, PORTIONS);
}

static void who_owes_for_too_long_is_dropped(void **state) {
    static const debt debts[] = {{"Ready", owe_ready}, {"Answer", owe_answer}};
    for (size_t i = 0; i < 2; i++) {
        for (uint32_t portion = 0; portion < PORTIONS; portion++) {
            assert_int_equal(set_timed_table(state), 0);
            each_is_dropped_once_it_is_due(*state, &debts[i], portion);
            assert_int_equal(clear_table(state), 0);
        }
    }
}

static void who_owes_a_stage_for_too_long_is_left_out_and_dropped(void **state) {
    for (uint32_t portion = 0; portion < PORTIONS; portion++) {
        assert_int_equal(set_refining_table(state), 0);
        table *t = *state;
        uint64_t now_ns = second_ns;
        join_all(t);
        engine_poll(t->engine, now_ns);
        owe_refinement(t, portion, now_ns);
        assert_int_equal(node_of(t, portion)->is_ready, true);
        assert_string_equal(node_of(t, portion)->owes, "Refinement");
        pass(t, &now_ns, deadline_ns + 2 * tick_ns);
        assert_int_equal(t->answers, 1);
        assert_true(node_of(t, portion)->is_silent);
        assert_int_equal(answer_probes(t, now_ns), 1); /* that alone is not enough */
        assert_int_equal(t->ready, PORTIONS - 1);
        pass(t, &now_ns, timeout_ns);
        assert_int_equal(t->drops, 1);
        assert_int_equal(t->dropped_portion, portion);
        assert_int_equal(clear_table(state), 0);
    }
}

static void nobody_answers_much_more_than_was_asked(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t id = ask(t, 0, 0);
    for (uint64_t i = 0; i < 1 + 64; i++) {
        reply(t, 1, id + i, 3, 0); /* a few are late, or a mistake */
    }
    assert_int_equal(t->drops, 0);
    reply(t, 1, id, 3, 0);
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->dropped_portion, 1);
    assert_int_equal(t->dropped_reason, FEWBIT__REASON__REASON_PROTOCOL);
}

/* The clock of what is owed: it passes as it is read, by at most a step, and not at all while nothing is owed. */
static void the_clock_runs_while_it_is_read(void **state) {
    (void)state;
    static pending_replies o;
    uint64_t ns, now_ns = 77 * second_ns;
    message_type answer;
    pending_replies_read_clock(&o, now_ns);
    assert_true(pending_replies_rests(&o, 2));
    pending_replies_read_clock(&o, now_ns += 1000 * second_ns);
    pending_replies_begin(&o, 1, MESSAGE_SAVED);
    assert_false(pending_replies_rests(&o, 2));
    assert_true(pending_replies_rests(&o, 1));
    pending_replies_rests(&o, 2);
    for (int i = 0; i < 10; i++) {
        pending_replies_read_clock(&o, now_ns += second_ns / 2);
    }
    assert_false(pending_replies_for_ns(&o, 0, &ns, &answer));
    assert_true(pending_replies_for_ns(&o, 1, &ns, &answer));
    assert_int_equal(ns, 5 * second_ns);
    assert_int_equal(answer, MESSAGE_SAVED);
    pending_replies_read_clock(&o, now_ns += 1000 * second_ns);
    assert_true(pending_replies_for_ns(&o, 1, &ns, &answer));
    assert_int_equal(ns, 6 * second_ns);
    pending_replies_read_clock(&o, now_ns - 1); /* backwards */
    pending_replies_begin(&o, 1, MESSAGE_READY);
    pending_replies_begin(&o, 1, MESSAGE_SAVED); /* was owed already */
    pending_replies_read_clock(&o, now_ns += second_ns);
    assert_true(pending_replies_for_ns(&o, 1, &ns, &answer));
    assert_int_equal(answer, MESSAGE_SAVED);
    pending_replies_answered(&o, 1, MESSAGE_SAVED, false);
    assert_true(pending_replies_for_ns(&o, 1, &ns, &answer));
    assert_int_equal(answer, MESSAGE_READY);
    pending_replies_forget(&o, 1);
    assert_true(pending_replies_rests(&o, 2));
}

#define TIMED(test) cmocka_unit_test_setup_teardown(test, set_timed_table, clear_table)

int main(void) {
    const struct CMUnitTest tests[] = {
        TIMED(a_silent_node_is_waited_for_once),
        cmocka_unit_test(who_goes_silent_again_is_left_out_for_longer),
        TIMED(a_probe_answered_too_late_does_not_count),
        TIMED(where_all_are_silent_it_is_said_at_once),
        TIMED(nobody_is_blamed_for_the_servers_own_pause),
        cmocka_unit_test(who_owes_for_too_long_is_dropped),
        cmocka_unit_test(who_owes_a_stage_for_too_long_is_left_out_and_dropped),
        TIMED(nobody_answers_much_more_than_was_asked),
        cmocka_unit_test(the_clock_runs_while_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
