/* The ways to ask: with portions left out, with a row of text, by a sample's id; and what nodes say that they cannot
 * answer. */
#include "tests/lib/engine_fixture.h"

#include "decoder_server/core/question.h"

enum { ALL = (1 << PORTIONS) - 1 };

static const char row[] = "age,height\n41,1.7\n";

/* A question with the raw portions of mask `raw` and rows of text in those of `rows`. */
static void ask_with(table *t, uint64_t request, unsigned raw, unsigned rows) {
    static uint8_t values[ELEMENTS];
    question_portion portions[PORTIONS] = {{0}};
    for (uint32_t k = 0; k < PORTIONS; k++) {
        memset(values, 7, sizeof values);
        if (raw >> k & 1) {
            portions[k] = (question_portion){values, sizeof values, FEWBIT__PORTION_FORMAT__FORMAT_RAW};
        } else if (rows >> k & 1) {
            portions[k] = (question_portion){(const uint8_t *)row, strlen(row), FEWBIT__PORTION_FORMAT__FORMAT_CSV};
        }
    }
    engine_classify(t->engine, request, &(question){.portions = portions}, 0);
}

static void say_error_of(table *t, uint32_t portion, uint64_t id, Fewbit__RequestProblem problem, const char *text) {
    Fewbit__RequestError error = FEWBIT__REQUEST_ERROR__INIT;
    error.id = id;
    error.problem = problem;
    error.text = (char *)(uintptr_t)text;
    const message m = {MESSAGE_REQUEST_ERROR, {.request_error = &error}};
    engine_receive(t->engine, portion, &m, 0);
}

static void say_unknown(table *t, uint32_t portion, uint64_t id) {
    say_error_of(t, portion, id, FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE, "there is no sample 'x'");
}

static void assert_last(const table *t, uint32_t answers, classification_outcome outcome) {
    assert_int_equal(t->answers, answers);
    assert_int_equal(t->last.outcome, outcome);
}

/* Those that are left out are not asked, and missing in the answer: every subset. */
static void portions_left_out_are_missing(void **state) {
    table *t = *state;
    join_all(t);
    for (unsigned given = 1; given <= ALL; given++) {
        size_t before = t->tell_count;
        ask_with(t, given, given, 0);
        assert_int_equal(t->tell_count - before, __builtin_popcount(given));
        for (uint32_t k = 0; k < PORTIONS; k++) {
            if (given >> k & 1) {
                reply(t, k, last_told(t, 0)->number, 5, 0);
            }
        }
        engine_poll(t->engine, 0);
        assert_last(t, given, CLASSIFICATION_DONE);
        assert_int_equal(t->last.have, given);
        assert_int_equal(t->last.degraded, given != ALL);
    }
}

static void without_a_node_of_what_is_given_nobody_is_asked(void **state) {
    table *t = *state;
    join(t, 0);
    join(t, 1);
    size_t before = t->tell_count;
    ask_with(t, 1, 12, 0);
    assert_last(t, 1, CLASSIFICATION_NO_NODES);
    ask_with(t, 2, 0, 0); /* nothing at all */
    assert_last(t, 2, CLASSIFICATION_NO_NODES);
    assert_int_equal(t->tell_count, before);
}

static void a_row_goes_to_its_node_as_it_is(void **state) {
    table *t = *state;
    join_all(t);
    ask_with(t, 1, 13, 2);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const told *one = last_told(t, PORTIONS - 1 - k);
        assert_int_equal(one->portion, k);
        assert_int_equal(one->type, MESSAGE_REQUEST);
        assert_int_equal(one->format, k == 1);
        assert_string_equal(one->sample, "");
        assert_int_equal(one->length, k == 1 ? strlen(row) : ELEMENTS);
    }
    assert_memory_equal(last_told(t, 2)->bytes, row, strlen(row));
}

static uint64_t ask_by_id(table *t, uint64_t request, const char *id) {
    engine_classify(t->engine, request, &(question){.sample = id}, 0);
    return last_told(t, 0)->number;
}

static void an_id_goes_to_every_node_and_nothing_else(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t id = ask_by_id(t, 1, "patient-17");
    size_t sent = 0, received = 0;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const told *one = last_told(t, PORTIONS - 1 - k);
        assert_int_equal(one->portion, k);
        assert_string_equal(one->sample, "patient-17");
        assert_int_equal(one->length, 0);
        sent += one->frame_bytes;
        reply(t, k, id, 5, 0);
        received += FRAME_HEADER + 7; /* model (2 bytes), id 0 left out, bits */
    }
    engine_poll(t->engine, 0);
    assert_last(t, 1, CLASSIFICATION_DONE);
    assert_int_equal(t->last.have, ALL);
    assert_int_equal(t->last.frame_bytes[TRAFFIC_OUT], sent);
    assert_in_range(t->last.frame_bytes[TRAFFIC_IN], 1, received);
}

/* Every subset of nodes does not have it, in both orders. */
static void who_does_not_have_a_sample_is_missing(void **state) {
    table *t = *state;
    uint32_t answers = 0;
    join_all(t);
    for (unsigned absent = 0; absent <= ALL; absent++) {
        for (int backwards = 0; backwards < 2; backwards++) {
            uint64_t id = ask_by_id(t, answers, "x");
            for (uint32_t i = 0; i < PORTIONS; i++) {
                uint32_t k = backwards ? PORTIONS - 1 - i : i;
                assert_int_equal(t->answers, answers);
                if (absent >> k & 1) {
                    say_unknown(t, k, id);
                } else {
                    reply(t, k, id, 5, 0);
                }
            }
            engine_poll(t->engine, 0);
            assert_last(t, ++answers, absent == ALL ? CLASSIFICATION_UNKNOWN_SAMPLE : CLASSIFICATION_DONE);
            if (absent != ALL) {
                assert_int_equal(t->last.have, ALL & ~absent);
            }
        }
    }
    assert_int_equal(t->drops, 0);
    assert_int_equal(engine_poll(t->engine, 0), -1);
}

/* Who has said so is not silent; who said nothing is. */
static void an_error_is_an_answer_in_time(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t id = ask_by_id(t, 1, "x");
    say_unknown(t, 0, id);
    say_unknown(t, 1, id);
    say_unknown(t, 2, id);
    engine_poll(t->engine, deadline_ns);
    assert_last(t, 1, CLASSIFICATION_TIMEOUT);
    assert_int_equal(t->ready, PORTIONS - 1);
    assert_false(stats_of(t)->nodes[0].is_silent);
    assert_true(stats_of(t)->nodes[3].is_silent);
}

/* At once, once, whatever the others say and when. */
static void what_a_node_cannot_read_is_refused_in_its_words(void **state) {
    table *t = *state;
    join_all(t);
    ask_with(t, 1, 13, 2);
    uint64_t id = last_told(t, 0)->number;
    reply(t, 0, id, 5, 0);
    say_error_of(t, 1, id, FEWBIT__REQUEST_PROBLEM__PROBLEM_ROW, "column 'age': 'old' is no number");
    assert_last(t, 1, CLASSIFICATION_REFUSED);
    assert_string_equal(t->last.text, "column 'age': 'old' is no number");
    say_error_of(t, 2, id, FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH, "short");
    reply(t, 3, id, 5, 0);
    engine_poll(t->engine, deadline_ns);
    assert_int_equal(t->answers, 1);
    assert_int_equal(t->ready, PORTIONS);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 0);
    json_decref(lines);
    uint64_t next = ask(t, 2, deadline_ns);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        reply(t, k, next, 5, deadline_ns);
    }
    engine_poll(t->engine, deadline_ns);
    assert_last(t, 2, CLASSIFICATION_DONE);
}

static void a_long_text_is_cut(void **state) {
    table *t = *state;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    join_all(t);
    say_error_of(t, 0, ask(t, 1, 0), FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH, text);
    assert_last(t, 1, CLASSIFICATION_REFUSED);
    assert_int_equal(strlen(t->last.text), CLASSIFICATION_TEXT_MAX - 1);
}

static void an_error_after_the_answer_changes_nothing(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t id = ask(t, 1, 0);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        reply(t, k, id, 5, 0);
        say_error_of(t, k, id, FEWBIT__REQUEST_PROBLEM__PROBLEM_ROW, "no");
        say_unknown(t, k, id);
    }
    engine_poll(t->engine, 0);
    assert_last(t, 1, CLASSIFICATION_DONE);
    assert_int_equal(t->last.have, ALL);
}

static void errors_that_nobody_is_owed_are_as_answers(void **state) {
    table *t = *state;
    join_all(t);
    for (uint32_t i = 0; i < 64; i++) {
        say_unknown(t, 2, i % 2 ? i : 1u << 22);
    }
    assert_int_equal(t->drops, 0);
    say_unknown(t, 2, 1);
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->dropped_portion, 2);
}

/* What is packed is the same once it is unpacked, one after the other. */
static void questions_wait_packed(void **state) {
    (void)state;
    static const uint8_t values[] = {1, 2, 3, 4, 5, 6, 7};
    enum { THREE = 3 };
    const question_portion given[THREE] = {{values, 7, FEWBIT__PORTION_FORMAT__FORMAT_RAW},
                                           {NULL, 0, FEWBIT__PORTION_FORMAT__FORMAT_RAW},
                                           {values + 2, 3, FEWBIT__PORTION_FORMAT__FORMAT_CSV}};
    const question asked[] = {{.portions = given}, {.sample = "patient-17"}, {.portions = given}};
    dynbuf packed = dynbuf_make(4096);
    for (size_t i = 0; i < THREE; i++) {
        question_pack(&packed, &asked[i], THREE);
    }
    assert_int_equal(dynbuf_check(&packed, "it"), ERR_OK);
    const uint8_t *at = (const uint8_t *)packed.bytes;
    for (size_t i = 0; i < THREE; i++) {
        question_portion taken[PARTITION_PORTIONS_MAX];
        question q;
        at = question_unpack(at, THREE, &q, taken);
        assert_int_equal(question_portions(&q, THREE), i == 1 ? 7 : 5);
        if (i == 1) {
            assert_string_equal(q.sample, "patient-17");
            continue;
        }
        assert_null(q.sample);
        for (uint32_t k = 0; k < THREE; k++) {
            assert_int_equal(q.portions[k].length, given[k].length);
            assert_int_equal(q.portions[k].format, given[k].format);
            assert_true(given[k].length == 0 || memcmp(q.portions[k].bytes, given[k].bytes, given[k].length) == 0);
        }
    }
    assert_ptr_equal(at, packed.bytes + packed.length);
    dynbuf_free(&packed);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_table, clear_table)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(portions_left_out_are_missing),
        TEST(without_a_node_of_what_is_given_nobody_is_asked),
        TEST(a_row_goes_to_its_node_as_it_is),
        TEST(an_id_goes_to_every_node_and_nothing_else),
        TEST(who_does_not_have_a_sample_is_missing),
        TEST(an_error_is_an_answer_in_time),
        TEST(what_a_node_cannot_read_is_refused_in_its_words),
        TEST(a_long_text_is_cut),
        TEST(an_error_after_the_answer_changes_nothing),
        TEST(errors_that_nobody_is_owed_are_as_answers),
        cmocka_unit_test(questions_wait_packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
