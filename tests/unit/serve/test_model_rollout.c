/* How the engine changes from one model to another under codes and requests, and how it stops. */
#include "experiment/derive.h"
#include "tests/lib/engine_fixture.h"

enum { NEXT = STEP + 5 };

/* Another model: the same experiment (with other bits, where asked for), another net. */
static served_model *make_model(table *t, const char *name, uint64_t step, uint64_t seed, uint32_t bits,
                                nn_net **head) {
    experiment e = t->run.experiment;
    run_dir r;
    nn_spec spec;
    char path[FILE_PATH_MAX];
    served_model *m;
    e.encoder.bits = bits;
    e.refinement.bits[1] = bits - e.refinement.bits[0];
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    assert_int_equal(file_path(path, sizeof path, "%s/%s", t->folder, name), ERR_OK);
    assert_int_equal(run_dir_create(&r, path, &e, some_labels(&e), NULL), ERR_OK);
    experiment_describe_head(&e, 10, &spec);
    nn_net_options options = {.max_rows = 1};
    assert_int_equal(nn_net_new(head, &spec, &options), ERR_OK);
    nn_net_init(*head, seed, 1);
    manifest_commit commit = {.position = {.step = step}};
    for (uint8_t k = 0; k < PORTIONS; k++) {
        memset(commit.encoders[k], 64 + k, SHA256_BYTES);
    }
    assert_int_equal(run_dir_save_head(&r, step, *head, NULL, commit.head), ERR_OK);
    assert_int_equal(run_dir_commit(&r, &commit, false), ERR_OK);
    run_dir_close(&r);
    assert_int_equal(served_model_open(&m, path, NULL, &predictor_with_all), ERR_OK);
    return m;
}

static void change(table *t, const char *name, uint64_t step) {
    nn_net *head;
    engine_swap_model(t->engine, make_model(t, name, step, 7, BITS, &head), 0);
    nn_net_free(head);
}

static void say_prepared(table *t, uint32_t portion, uint32_t number, uint64_t next, const char *error) {
    Fewbit__Prepared prepared = FEWBIT__PREPARED__INIT;
    prepared.model = number;
    prepared.next = next;
    prepared.error = (char *)(uintptr_t)error;
    const message m = {MESSAGE_PREPARED, {.prepared = &prepared}};
    engine_receive(t->engine, portion, &m, 0);
}

static void all_prepared(table *t, uint32_t number) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        say_prepared(t, k, number, 0, "");
    }
}

/* The last words to all nodes are this Switch. */
static void assert_switched(const table *t, uint32_t number, uint64_t from) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const told *last = last_told(t, PORTIONS - 1 - k);
        assert_int_equal(last->type, MESSAGE_SWITCH);
        assert_int_equal(last->portion, k);
        assert_int_equal(last->number, number);
        assert_int_equal(last->from, from);
    }
}

static void assert_result(table *t, const json_t *lines, size_t at, uint64_t id, nn_net *head, const uint8_t *codes) {
    nn_net *usual = t->head;
    const json_t *line = json_array_get(lines, at);
    assert_int_equal(json_integer_value(json_object_get(line, "id")), id);
    t->head = head;
    assert_written(t, line, "stream", codes, 15);
    t->head = usual;
}

/* The last words to all nodes are a Prepare, each with its own digest. */
static void assert_asked(const table *t) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const told *prepare = last_told(t, PORTIONS - 1 - k);
        uint8_t digest[SHA256_BYTES];
        memset(digest, (int)(64 + k), sizeof digest);
        assert_int_equal(prepare->type, MESSAGE_PREPARE);
        assert_int_equal(prepare->number, NEXT);
        assert_memory_equal(prepare->bytes, digest, SHA256_BYTES);
    }
}

static void every_sample_meets_its_own_model(void **state) {
    table *t = *state;
    nn_net *head;
    join_all(t);
    stream_codes(t, 0, 0, 6, 0);
    stream_codes(t, 1, 0, 4, 0);
    uint64_t held = ask(t, 1, 0);
    engine_swap_model(t->engine, make_model(t, "next", NEXT, 7, BITS, &head), 0);
    assert_asked(t);
    stream_codes(t, 2, 0, 5, 0); /* was under way */
    say_prepared(t, 0, NEXT, 6, "");
    say_prepared(t, 1, NEXT, 4, "");
    say_prepared(t, 2, NEXT, 5, "");
    assert_int_equal(t->changes, 0);
    say_prepared(t, 3, NEXT, 0, "");
    assert_switched(t, NEXT, 6);
    assert_int_equal(t->changes, 1);
    assert_int_equal(t->change_code, ERR_OK);
    assert_int_equal(t->served_step, NEXT);
    uint64_t fresh = ask(t, 2, 0);
    stream_codes(t, 1, 4, 2, 0);
    stream_codes(t, 2, 5, 1, 0);
    stream_codes(t, 3, 0, 6, 0); /* samples of both models are due at once */
    for (uint32_t k = 0; k < PORTIONS; k++) {
        stream_of(t, NEXT, k, 6, 2, 0);
        reply_of(t, NEXT, k, held, 1, 0); /* neither does this */
        reply_of(t, NEXT, k, fresh, 3, 0);
    }
    for (uint32_t k = 0; k < PORTIONS; k++) {
        reply(t, k, held, 2, 0);
    }
    size_t told_before = t->tell_count;
    engine_poll(t->engine, 0);
    assert_int_equal(t->answered[1], 1);
    assert_int_equal(t->answered[2], 1);
    assert_int_equal(t->last.codes[0], 2);
    assert_int_equal(t->tell_count - told_before, PORTIONS); /* the old model is over */
    assert_switched(t, NEXT, 0);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 10);
    size_t streamed = 0;
    for (size_t i = 0; i < 10; i++) {
        const json_t *line = json_array_get(lines, i);
        uint64_t id = (uint64_t)json_integer_value(json_object_get(line, "id"));
        const uint8_t codes[] = {code_of(id, 0), code_of(id, 1), code_of(id, 2), code_of(id, 3)};
        if (strcmp(json_string_value(json_object_get(line, "from")), "stream") == 0) {
            assert_result(t, lines, i, id, id < 6 ? t->head : head, codes);
            streamed++;
        }
    }
    assert_int_equal(streamed, 8);
    json_decref(lines);
    assert_int_equal(t->drops, 0);
    nn_net_free(head);
}

static void a_node_ahead_of_all_says_so(void **state) {
    table *t = *state;
    static const uint64_t next[] = {40, 50, 30, 7}; /* streamed to a server before this one */
    for (uint32_t k = 0; k < PORTIONS; k++) {
        engine_joined(t->engine, k);
        say_ready_in(t, k, STEP, FEWBIT__STREAM__STREAM_NEW, 9, next[k]);
    }
    assert_int_equal(t->begins, PORTIONS);
    change(t, "next", NEXT);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        say_prepared(t, k, NEXT, next[k], "");
    }
    assert_switched(t, NEXT, 50);
    stream_codes(t, 3, 7, 50 - 7, 0); /* what the server before had, or lost */
    size_t told_before = t->tell_count;
    engine_poll(t->engine, 0); /* nothing waits for the old model: it is over */
    assert_int_equal(t->tell_count, told_before + PORTIONS);
    assert_switched(t, NEXT, 0);
    change(t, "third", NEXT + 1);
    assert_int_equal(last_told(t, 0)->type, MESSAGE_PREPARE);
}

static void codes_of_no_model_in_use_are_told_apart(void **state) {
    table *t = *state;
    join_all(t);
    change(t, "next", NEXT);
    stream_of(t, NEXT, 0, 0, 1, 0); /* not yet */
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->dropped_reason, FEWBIT__REASON__REASON_MODEL);
    all_prepared(t, NEXT);
    engine_poll(t->engine, 0);
    stream_codes(t, 1, 0, 1, 0); /* too late: of no use, but no harm; counted */
    reply(t, 1, 0, 0, 0);
    assert_int_equal(stats_of(t)->streamed.late, 1);
    assert_int_equal(t->drops, 1);
    stream_of(t, 99, 1, 1, 1, 0);
    assert_int_equal(t->drops, 2);
    engine_poll(t->engine, 0);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 0);
    json_decref(lines);
}

static void the_same_step_has_another_number(void **state) {
    table *t = *state;
    join_all(t);
    change(t, "next", STEP);
    assert_int_equal(last_told(t, 0)->number, STEP + 1);
    all_prepared(t, STEP + 1);
    engine_poll(t->engine, 0);
    change(t, "third", STEP);
    assert_int_equal(last_told(t, 0)->number, STEP + 2); /* the one before may still be on the way */
    engine_left(t->engine, 2, 0);
    engine_joined(t->engine, 2); /* while no other is in use: the model in use */
    assert_int_equal(last_told(t, 0)->type, MESSAGE_RESTORE);
    assert_int_equal(last_told(t, 0)->bytes[0], 64 + 2);
}

static void a_change_is_given_up(void **state) {
    table *t = *state;
    join_all(t);
    change(t, "next", NEXT);
    say_prepared(t, 2, NEXT, 0, "");
    say_prepared(t, 1, NEXT, 0, "no such file");
    assert_int_equal(t->changes, 1);
    assert_int_equal(t->change_code, ERR_REFUSED);
    assert_string_equal(t->change_text, "portion 1 cannot change: no such file");
    assert_switched(t, STEP, 0);
    say_prepared(t, 0, NEXT, 0, ""); /* came too late */
    say_prepared(t, 3, NEXT, 0, "nor here");
    assert_int_equal(t->drops, 0);
    say_prepared(t, 3, NEXT, 0, ""); /* was not asked for */
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->changes, 1);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        stream_codes(t, k, 0, 2, 0);
    }
    assert_int_equal(engine_poll(t->engine, 0), -1);
    change(t, "third", NEXT);
    say_prepared(t, 1, NEXT, 0, "");
    uint64_t seconds = ENGINE_PREPARE_SECONDS * (uint64_t)1000000000;
    assert_int_equal(engine_poll(t->engine, seconds - 1000), 2);
    engine_poll(t->engine, seconds);
    assert_int_equal(t->changes, 2);
    assert_int_equal(t->change_code, ERR_NETWORK);
    assert_string_equal(t->change_text, "3 of 4 nodes, the first of portion 0, are not prepared within 10 s");
    assert_switched(t, STEP, 0);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 2);
    json_decref(lines);
}

static void a_model_for_other_nodes_is_refused(void **state) {
    table *t = *state;
    nn_net *head;
    join_all(t);
    size_t told_before = t->tell_count;
    engine_swap_model(t->engine, make_model(t, "wide", NEXT, 7, BITS + 1, &head), 0);
    nn_net_free(head);
    assert_int_equal(t->changes, 1);
    assert_int_equal(t->change_code, ERR_INPUT);
    assert_non_null(strstr(t->change_text, "portion 0 has 5 bits; it has 4 in what is served here"));
    assert_int_equal(t->tell_count, told_before);
}

static void nobody_waits_for_who_is_not_there(void **state) {
    table *t = *state;
    change(t, "next", NEXT); /* no node at all */
    assert_int_equal(t->changes, 1);
    engine_poll(t->engine, 0);
    engine_joined(t->engine, 0);
    assert_int_equal(last_told(t, 0)->number, NEXT);
    say_ready(t, 0, NEXT);
    engine_joined(t->engine, 1);
    say_ready(t, 1, NEXT);
    change(t, "third", NEXT + 1);
    say_prepared(t, 1, NEXT + 1, 0, "");
    assert_int_equal(t->changes, 1);
    engine_joined(t->engine, 2); /* on its way to the model before: not waited for, and sent away */
    engine_left(t->engine, 0, 0);
    assert_int_equal(t->changes, 2);
    assert_int_equal(t->drops, 1);
    assert_int_equal(t->dropped_portion, 2);
    assert_int_equal(t->dropped_reason, FEWBIT__REASON__REASON_BUSY);
}

static void who_becomes_ready_meanwhile_is_prepared(void **state) {
    table *t = *state;
    join(t, 0);
    change(t, "next", NEXT);
    join(t, 1);
    assert_int_equal(last_told(t, 0)->type, MESSAGE_PREPARE);
    assert_int_equal(last_told(t, 0)->portion, 1);
    say_prepared(t, 0, NEXT, 0, "");
    assert_int_equal(t->changes, 0);
    say_prepared(t, 1, NEXT, 0, "");
    assert_int_equal(t->changes, 1);
}

static void one_change_waits_for_the_other(void **state) {
    table *t = *state;
    join_all(t);
    stream_codes(t, 0, 0, 1, 0);
    change(t, "next", NEXT);
    all_prepared(t, NEXT);
    engine_poll(t->engine, 0);
    size_t told_before = t->tell_count;
    change(t, "third", NEXT + 1);
    engine_poll(t->engine, 0);
    assert_int_equal(t->tell_count, told_before); /* sample 0 waits for three portions of the first model */
    engine_poll(t->engine, deadline_ns);
    assert_int_equal(last_told(t, 0)->type, MESSAGE_PREPARE);
    assert_int_equal(last_told(t, 0)->number, NEXT + 1);
    all_prepared(t, NEXT + 1);
    assert_int_equal(t->changes, 2);
    assert_int_equal(t->served_step, NEXT + 1);
}

static size_t count_written(const table *t) {
    FILE *file = fopen(t->results_path, "r");
    size_t lines = 0;
    assert_non_null(file);
    for (int c; (c = getc(file)) != EOF;) {
        lines += c == '\n';
    }
    fclose(file);
    return lines;
}

/* A node that is slowed is not read from: it could never say that it is prepared. */
static void a_slowed_node_is_heard(void **state) {
    table *t = *state;
    join_all(t);
    uint64_t sent = 0;
    for (; t->pauses[true] == 0; sent++) {
        stream_codes(t, 2, sent, 1, 0);
    }
    change(t, "next", NEXT);
    assert_int_equal(t->pauses[false], 1);
    for (uint64_t end = sent + 40000; sent < end; sent += 1000) {
        stream_codes(t, 2, sent, 1000, 0); /* more than there is room for: into the backlog */
    }
    assert_int_equal(t->pauses[true], 1);
    all_prepared(t, NEXT);
    assert_switched(t, NEXT, sent);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        if (k != 2) {
            stream_codes(t, k, 0, (uint32_t)sent, 0);
        }
    }
    while (engine_poll(t->engine, 0) == 0) {
    }
    assert_int_equal(count_written(t), sent);
    assert_switched(t, NEXT, 0);
}

static void a_stop_answers_what_is_there(void **state) {
    table *t = *state;
    join_all(t);
    stream_codes(t, 0, 0, 2, 0);
    uint64_t id = ask(t, 1, 0);
    reply(t, 2, id, 5, 0);
    ask(t, 2, 0);
    engine_stop(t->engine, 0);
    ask(t, 3, 0);
    assert_int_equal(t->answered[3], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_STOPPING);
    assert_false(engine_is_idle(t->engine));
    for (uint32_t k = 1; k < PORTIONS; k++) {
        stream_codes(t, k, 0, 1, 0);
    }
    stream_codes(t, 0, 2, 1, 0); /* new: no more */
    engine_poll(t->engine, 0);
    json_t *lines = written(t);
    assert_int_equal(json_array_size(lines), 1);
    json_decref(lines);
    engine_finish(t->engine, 0);
    assert_true(engine_is_idle(t->engine));
    assert_int_equal(t->answered[1], 1);
    assert_int_equal(t->answered[2], 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_DONE); /* classified last: the request with one code */
    assert_int_equal(t->last.have, 4);
    lines = written(t);
    assert_int_equal(json_array_size(lines), 3);
    json_decref(lines);
    engine_dismiss(t->engine, "over");
    assert_int_equal(t->drops, PORTIONS);
}

#define AT_TABLE(test) cmocka_unit_test_setup_teardown(test, set_table, clear_table)

int main(void) {
    const struct CMUnitTest tests[] = {
        AT_TABLE(every_sample_meets_its_own_model),
        AT_TABLE(a_node_ahead_of_all_says_so),
        AT_TABLE(codes_of_no_model_in_use_are_told_apart),
        AT_TABLE(the_same_step_has_another_number),
        AT_TABLE(a_change_is_given_up),
        AT_TABLE(a_model_for_other_nodes_is_refused),
        AT_TABLE(nobody_waits_for_who_is_not_there),
        AT_TABLE(who_becomes_ready_meanwhile_is_prepared),
        AT_TABLE(one_change_waits_for_the_other),
        AT_TABLE(a_slowed_node_is_heard),
        AT_TABLE(a_stop_answers_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
