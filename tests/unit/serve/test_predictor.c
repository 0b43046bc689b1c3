/* The paths an answer can take (table, cache, nets; folded or not), and when a batch starts. */
#include "tests/lib/engine_fixture.h"

enum { CODEWORDS = 1 << CODE_BITS, PIECE = PREDICTOR_ROWS, BATCH_WAIT_NS = 500000 };

/* Paths. */

typedef struct batch {
    uint64_t codes[PIECE][PORTIONS];
    assembler_sample samples[PIECE];
} batch;

/* `count` codewords from `first` on; have 0: each sample misses other portions, and some none. */
static void fill_batch(batch *b, uint32_t first, uint32_t count, uint64_t have) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t here = have ? have : (first + i) * 7 % 15 + 1;
        for (uint32_t k = 0; k < PORTIONS; k++) {
            b->codes[i][k] = here >> k & 1 ? (first + i) >> (k * BITS) & 15 : 0;
        }
        b->samples[i] = (assembler_sample){.have = here, .codes = b->codes[i]};
    }
}

/* Every codeword, whole or in part, is what the plain nets say. */
static void assert_agrees(predictor *c, predictor *plain, uint64_t have) {
    static batch b;
    for (uint32_t first = 0; first < CODEWORDS; first += PIECE) {
        uint32_t count = CODEWORDS - first < PIECE ? CODEWORDS - first : PIECE;
        fill_batch(&b, first, count, have);
        const prediction *got = predictor_run(c, b.samples, count);
        const prediction *wanted = predictor_run(plain, b.samples, count);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(got[i].class, wanted[i].class);
            for (uint32_t k = 0; k < CLASSES; k++) {
                assert_true(fabsf(got[i].probabilities[k] - wanted[i].probabilities[k]) < 1e-5f);
            }
        }
    }
}

static void the_table_says_what_the_nets_say(void **state) {
    table *t = *state;
    predictor *c = make_predictor(t, (predictor_options){.table_bytes = 64 << 20});
    predictor *plain = make_predictor(t, (predictor_options){.plain = true});
    assert_true(predictor_knows_all(c));
    assert_false(predictor_knows_all(plain));
    assert_agrees(c, plain, 15);
    assert_int_equal(counters_of(c).from_table, CODEWORDS);
    assert_int_equal(counters_of(c).from_nets, 0);
    assert_int_equal(counters_of(c).table_known, CODEWORDS);
    assert_int_equal(counters_of(plain).from_nets, CODEWORDS);
    assert_agrees(c, plain, 0); /* what misses a portion is in no table */
    assert_int_equal(counters_of(c).from_table + counters_of(c).from_nets, 2 * CODEWORDS);
    assert_in_range(counters_of(c).from_nets, CODEWORDS / 2, CODEWORDS);
    predictor_free(c);
    predictor_free(plain);
}

static void a_table_over_its_limit_is_left_out(void **state) {
    table *t = *state;
    size_t bytes = (size_t)CODEWORDS * (1 + CLASSES * sizeof(float));
    predictor *c = make_predictor(t, (predictor_options){.table_bytes = bytes});
    assert_int_equal(counters_of(c).table_bytes, bytes);
    predictor_free(c);
    c = make_predictor(t, (predictor_options){.table_bytes = bytes - 1});
    assert_int_equal(counters_of(c).table_bytes, 0);
    predictor_free(c);
}

static void the_cache_says_what_the_nets_say(void **state) {
    table *t = *state;
    predictor *c = make_predictor(t, (predictor_options){.cache_bytes = 64 << 20});
    predictor *plain = make_predictor(t, (predictor_options){.plain = true});
    for (int round = 0; round < 2; round++) {
        assert_agrees(c, plain, 15);
        assert_agrees(c, plain, 0);
    }
    predictor_counters counters = counters_of(c);
    assert_int_equal(counters.from_nets, counters.cache.misses);
    assert_int_equal(counters.from_cache, counters.cache.hits);
    assert_int_equal(counters.from_nets + counters.from_cache, 4 * CODEWORDS);
    assert_true(counters.from_cache > 2 * CODEWORDS); /* and nearly all of the second round */
    predictor_free(c);
    predictor_free(plain);
}

/* Far too small: nearly every codeword pushes another one out, within a batch too. */
static void a_small_cache_says_what_the_nets_say(void **state) {
    table *t = *state;
    predictor *c = make_predictor(t, (predictor_options){.cache_bytes = 40000});
    predictor *plain = make_predictor(t, (predictor_options){.plain = true});
    static batch b, again;
    for (uint32_t round = 0; round < 50; round++) {
        fill_batch(&b, round * 11, PIECE, round % 2 ? 15 : 0);
        memcpy(again.codes, b.codes, sizeof b.codes);
        for (uint32_t i = 0; i < PIECE; i++) { /* some that were seen, between others that push them out */
            again.samples[i] = b.samples[i % 3 ? i : i / 100];
        }
        const prediction *got = predictor_run(c, again.samples, PIECE);
        const prediction *wanted = predictor_run(plain, again.samples, PIECE);
        for (uint32_t i = 0; i < PIECE; i++) {
            assert_int_equal(got[i].class, wanted[i].class);
            for (uint32_t k = 0; k < CLASSES; k++) {
                assert_true(fabsf(got[i].probabilities[k] - wanted[i].probabilities[k]) < 1e-5f);
            }
        }
    }
    assert_true(counters_of(c).from_cache > 100 && counters_of(c).cache.evictions > 1000);
    predictor_free(c);
    predictor_free(plain);
}

/* Batches. */

static int set_without_table(void **state) {
    const engine_options options = {.deadline_ns = deadline_ns, .max_batch_delay_ns = BATCH_WAIT_NS};
    return set_table_with(state, &options);
}

static int set_with_table(void **state) {
    const engine_options options = {
        .deadline_ns = deadline_ns, .max_batch_delay_ns = BATCH_WAIT_NS, .predictor = predictor_with_all};
    return set_table_with(state, &options);
}

static void reply_all(table *t, uint64_t id, uint64_t now_ns) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        reply(t, k, id, 3, now_ns);
    }
}

static void a_batch_waits_for_company(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t first = ask(t, 1, 0), second = ask(t, 2, 0), third = ask(t, 3, 0);
    reply_all(t, first, 1000000);
    assert_int_equal(engine_poll(t->engine, 1000000), 501);
    reply_all(t, second, 1200000);
    assert_int_equal(engine_poll(t->engine, 1200000), 301); /* the first one's wait counts */
    assert_int_equal(t->answers, 0);
    engine_poll(t->engine, 1500000);
    assert_int_equal(t->answers, 2);
    assert_int_equal(t->answered[3], 0);
    reply_all(t, third, 1600000);
    assert_int_equal(engine_poll(t->engine, 1600000), -1); /* nothing else is on its way */
    assert_int_equal(t->answered[3], 1);
}

static void a_batch_does_not_wait_beyond_a_deadline(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t first = ask(t, 1, 0);
    ask(t, 2, deadline_ns / 2);
    reply_all(t, first, deadline_ns - 100000);
    assert_int_equal(engine_poll(t->engine, deadline_ns - 100000), 101);
    engine_poll(t->engine, deadline_ns);
    assert_int_equal(t->answered[1], 1);
    stream_codes(t, 0, 7, 1, deadline_ns);
    assert_int_equal(engine_poll(t->engine, deadline_ns + deadline_ns / 2), deadline_ns / 2 / 1000 + 1);
    assert_int_equal(t->answered[2], 1); /* expired: answered at once, though the streamed sample is on its way */
    assert_int_equal(t->last.outcome, CLASSIFICATION_TIMEOUT);
}

static void a_full_batch_does_not_wait(void **state) {
    table *t = *state;
    join_all(t);
    ask(t, 1, 0);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        stream_codes(t, k, 0, PREDICTOR_ROWS + 10, 0);
    }
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), PREDICTOR_ROWS);
    json_decref(lines);
    assert_int_equal(engine_poll(t->engine, 0), 501);
    engine_poll(t->engine, BATCH_WAIT_NS);
    lines = written(t);
    assert_int_equal(json_array_size(lines), PREDICTOR_ROWS + 10);
    json_decref(lines);
}

static void a_table_makes_nobody_wait(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t first = ask(t, 1, 0);
    ask(t, 2, 0);
    reply_all(t, first, 1000000);
    engine_poll(t->engine, 1000000);
    assert_int_equal(t->answered[1], 1);
}

/* What whoever watches is told. */
static void the_engine_counts(void **state) {
    table *t = *state;
    predictor_counters c;
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        stream_codes(t, k, 0, k < 3 ? 20 : 10, 0);
    }
    uint64_t id = ask(t, 1, 0);
    reply_all(t, id, 0);
    engine_poll(t->engine, 0);
    ask(t, 2, 0);
    engine_left(t->engine, 3, 0);
    engine_count_predictions(t->engine, &c);
    assert_int_equal(stats_of(t)->ready, 3);
    assert_int_equal(stats_of(t)->streamed.complete, 10);
    assert_int_equal(stats_of(t)->streamed.waiting, 10);
    assert_int_equal(stats_of(t)->on_demand.complete, 1);
    assert_int_equal(stats_of(t)->on_demand.waiting, 1);
    assert_int_equal(c.from_table, 11);
    assert_int_equal(c.table_size, CODEWORDS);
    engine_poll(t->engine, deadline_ns);
    engine_count_predictions(t->engine, &c);
    assert_int_equal(stats_of(t)->streamed.expired, 10);
    assert_int_equal(stats_of(t)->on_demand.expired, 1);
    assert_int_equal(c.from_table, 11);
    assert_int_equal(c.from_nets + c.from_cache, 10);
}

#define AT_TABLE(test, set) cmocka_unit_test_setup_teardown(test, set, clear_table)

/* Nets so large that a batch of them takes long: it waits for its turn, and the streams behind it. */
static int set_large_table(void **state) {
    const engine_options options = {.deadline_ns = deadline_ns};
    return set_table_of(state, EXPERIMENT_WITH(2000), &options);
}

static size_t count_written(table *t) {
    json_t *lines = written(t);
    size_t count = json_array_size(lines);
    json_decref(lines);
    return count;
}

/* Streamed samples leave a row of what takes long to a request. */
static void what_takes_long_waits_for_its_turn(void **state) {
    enum { ROWS = PREDICTOR_ROWS - 1, SAMPLES = 2 * ROWS + 10 };
    table *t = *state;
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_false(engine_has_long_work(t->engine, 0));
        stream_codes(t, k, 0, SAMPLES, 0);
    }
    for (size_t done = 0; done < 2 * ROWS; done += ROWS) {
        assert_int_equal(count_written(t), done);
        assert_true(engine_is_full(t->engine));
        assert_true(engine_has_long_work(t->engine, 0));
        assert_true(stats_of(t)->backlog_bytes > 0);
        assert_int_equal(engine_poll(t->engine, 0), 0); /* one batch */
    }
    assert_int_equal(count_written(t), 2 * ROWS);
    while (engine_poll(t->engine, 0) == 0) {
    }
    assert_int_equal(count_written(t), SAMPLES);
    assert_int_equal(stats_of(t)->backlog_bytes, 0);
    assert_int_equal(stats_of(t)->streamed.complete, SAMPLES);
    assert_false(engine_has_long_work(t->engine, 0));
}

static void an_answer_is_not_predicted_inside_the_call(void **state) {
    table *t = *state;
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        stream_codes(t, k, 0, 4 * PREDICTOR_ROWS, 0);
    }
    for (uint32_t request = 1; request <= 2; request++) { /* each poll fills the batch from the backlog */
        size_t before = count_written(t);
        reply_all(t, ask(t, request, 0), 0);
        assert_int_equal(count_written(t), before);
        assert_true(engine_is_full(t->engine));
        engine_poll(t->engine, 0);
        assert_int_equal(t->answered[request], 1);
        assert_int_equal(count_written(t), before + PREDICTOR_ROWS);
    }
}

static void a_request_alone_is_short(void **state) {
    table *t = *state;
    join_all(t);
    reply_all(t, ask(t, 1, 0), 0);
    assert_false(engine_has_long_work(t->engine, 0));
    engine_poll(t->engine, 0);
    assert_int_equal(t->answered[1], 1);
}

/* Many that pass their deadline at once are long, before they are looked at. */
static void what_is_due_at_once_takes_long(void **state) {
    table *t = *state;
    join_all(t);
    stream_codes(t, 0, 0, PREDICTOR_ROWS, 0);
    assert_false(engine_has_long_work(t->engine, deadline_ns - 1));
    assert_true(engine_has_long_work(t->engine, deadline_ns));
    while (engine_poll(t->engine, deadline_ns) == 0) {
    }
    assert_int_equal(count_written(t), PREDICTOR_ROWS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_takes_long_waits_for_its_turn, set_large_table, clear_table),
        cmocka_unit_test_setup_teardown(an_answer_is_not_predicted_inside_the_call, set_large_table, clear_table),
        cmocka_unit_test_setup_teardown(a_request_alone_is_short, set_large_table, clear_table),
        cmocka_unit_test_setup_teardown(what_is_due_at_once_takes_long, set_large_table, clear_table),
        AT_TABLE(the_table_says_what_the_nets_say, set_without_table),
        AT_TABLE(a_table_over_its_limit_is_left_out, set_without_table),
        AT_TABLE(the_cache_says_what_the_nets_say, set_without_table),
        AT_TABLE(a_small_cache_says_what_the_nets_say, set_without_table),
        AT_TABLE(a_batch_waits_for_company, set_without_table),
        AT_TABLE(a_batch_does_not_wait_beyond_a_deadline, set_without_table),
        AT_TABLE(a_full_batch_does_not_wait, set_without_table),
        AT_TABLE(a_table_makes_nobody_wait, set_with_table),
        AT_TABLE(the_engine_counts, set_table),
    };
    return cmocka_run_group_tests_name("paths", tests, NULL, NULL);
}
