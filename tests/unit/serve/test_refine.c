/* The engine where bits come in stages: what is told to whom when a node has gone between them. */
#include "decoder_server/serve/refine.h"
#include "tests/lib/engine_fixture.h"
#include "tests/lib/uneven_codes.h"
#include "wire/id_set.h"

enum { SECOND = 1000000000 };

/* Asks for everything: no answer is as sure as that. */
static int set_refining_table(void **state) {
    const engine_options options = {.deadline_ns = deadline_ns, .predictor = predictor_with_all, .confidence = 1};
    return set_table_with(state, &options);
}

/* The first stages, a bit each, of 8 samples. */
static void stream_eight(table *t, uint32_t portion, uint64_t first, uint64_t now_ns) {
    const uint8_t bits = 0x5a;
    send(t, portion, (sent_codes){MESSAGE_CODES, STEP, first, 7, 1, &bits}, now_ns);
    assert_int_equal(t->drops, 0);
}

static void stream_eight_of_others(table *t, uint64_t first, uint64_t now_ns) {
    for (uint32_t k = 1; k < PORTIONS; k++) {
        stream_eight(t, k, first, now_ns);
    }
}

static void poll_all(table *t, uint64_t now_ns) {
    while (engine_poll(t->engine, now_ns) == 0) {
    }
}

/* Every sample is past its deadline, and what is to be told is. */
static void let_pass(table *t, uint64_t *now_ns) {
    *now_ns += deadline_ns;
    poll_all(t, *now_ns);
    *now_ns += SECOND;
    poll_all(t, *now_ns);
}

static void assert_acked(const table *t, uint64_t of_first, uint64_t of_others) {
    assert_int_equal(t->acked[0], of_first);
    for (uint32_t k = 1; k < PORTIONS; k++) {
        assert_int_equal(t->acked[k], of_others);
    }
}

static void leave_and_come_back(table *t, uint32_t portion, uint64_t next, uint64_t now_ns) {
    engine_left(t->engine, portion, now_ns);
    come_back(t, portion, next);
}

static void each_sample_is_acked_once(void **state) {
    table *t = *state;
    uint64_t now_ns = 0;
    join_all(t);
    stream_eight(t, 0, 0, now_ns);
    stream_eight_of_others(t, 0, now_ns);
    stream_eight(t, 0, 8, now_ns); /* the others never come */
    let_pass(t, &now_ns);
    assert_acked(t, 16, 8);
    stream_eight_of_others(t, 8, now_ns); /* too late: acked as it comes */
    let_pass(t, &now_ns);
    assert_acked(t, 16, 16);
}

/* Word of what a node streamed before is none for the connection of now: it would let it end, or run ahead, too early.
 */
static void a_node_is_not_told_of_what_it_streamed_before_it_went(void **state) {
    table *t = *state;
    uint64_t now_ns = 0;
    join_all(t);
    stream_eight_of_others(t, 0, now_ns);
    stream_eight(t, 0, 0, now_ns); /* is due, */
    stream_eight(t, 0, 8, now_ns); /* waits for the others, */
    leave_and_come_back(t, 0, 16, now_ns);
    stream_eight(t, 0, 16, now_ns);
    stream_eight_of_others(t, 8, now_ns);
    let_pass(t, &now_ns);
    assert_acked(t, 8, 16);
    stream_eight_of_others(t, 16, now_ns);
    let_pass(t, &now_ns);
    assert_acked(t, 8, 24);
}

/* Asked for more when it went: what it had sent is acked, but not for the connection that comes next. */
static void a_node_that_goes_between_the_stages_is_not_told(void **state) {
    table *t = *state;
    uint64_t now_ns = 0;
    join_all(t);
    stream_eight(t, 0, 0, now_ns);
    stream_eight_of_others(t, 0, now_ns);
    engine_poll(t->engine, now_ns); /* asked for more */
    leave_and_come_back(t, 0, 8, now_ns);
    stream_eight(t, 0, 8, now_ns);
    stream_eight_of_others(t, 8, now_ns);
    let_pass(t, &now_ns);
    assert_acked(t, 8, 16);
}

/* Nobody sends the second stage: the answer has taken one, and comes from the first stage's table. */
static void a_stage_that_nobody_sends_is_not_taken(void **state) {
    table *t = *state;
    const uint8_t bit = 1;
    stats r;
    join_all(t);
    uint8_t sample[PORTIONS * ELEMENTS] = {0};
    classify_whole(t->engine, 3, &tiny_partition, sample, 0);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        send(t, k, (sent_codes){MESSAGE_ANSWER, STEP, 0, 0, 1, &bit}, 0);
    }
    engine_poll(t->engine, 0);
    assert_int_equal(t->answers, 0);
    engine_poll(t->engine, deadline_ns);
    assert_int_equal(t->answers, 1);
    assert_true(t->last.degraded);
    assert_int_equal(t->last.stages, 1);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_int_equal(t->last.bits[k], 1);
    }
    memset(&r, 0, sizeof r);
    engine_stats(t->engine, &r);
    assert_int_equal(r.refinement.answered[0], 1);
    assert_int_equal(r.refinement.answered[1], 0);
    assert_int_equal(r.refinement.incomplete, 1);
    predictor_counters counters;
    engine_count_predictions(t->engine, &counters);
    assert_int_equal(counters.from_table, 2); /* when it was not sure enough, and in the end */
}

/* The queue of what was asked, alone. */

typedef struct asked {
    Fewbit__RefineRequest requests[8]; /* the last ones */
    size_t count, taken, gone;
    uint64_t ids[64], bits[64];
} asked;

static void note_request(void *context, uint32_t portion, const Fewbit__RefineRequest *request) {
    asked *a = context;
    (void)portion;
    a->requests[a->count++ % 8] = *request;
}

static void note_stage(void *context, uint32_t portion, const refine_note *note, bool gone, uint64_t bits,
                       uint64_t now_ns) {
    asked *a = context;
    (void)portion, (void)now_ns;
    a->ids[a->taken] = note->id;
    a->bits[a->taken++] = gone ? UINT64_MAX : bits;
    a->gone += gone;
}

static err answer(refine *r, uint64_t first, size_t length, const uint8_t *bits, const uint32_t *gone, size_t count) {
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    reply.stage = 1;
    reply.first = first;
    reply.bits = (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)bits};
    reply.gone = (uint32_t *)(uintptr_t)gone;
    reply.n_gone = count;
    return refine_receive(r, 0, &reply, 0);
}

static void answers_are_taken_in_the_order_of_the_asking(void **state) {
    (void)state;
    static const uint32_t gone[] = {1}, beyond[] = {3};
    static const uint8_t three[] = {0xab, 0x01}, two[] = {0x35}, one[] = {0x07};
    codeword layout = codeword_empty();
    codeword_append(&layout, &(refinement){2, {1, 4}});
    asked a = {.count = 0};
    const refine_host host = {note_request, note_stage, &a};
    refine *r;
    assert_int_equal(refine_new(&r, &layout, &host), ERR_OK);
    const refine_sample samples[] = {
        {5, 1, 1, false}, {7, 1, 1, true}, {8, 1, 1, false}, {9, 0, 1, false}, {11, 1, 1, false}};
    refine_send(r, samples, 5, 1, 600);
    assert_int_equal(a.count, 2); /* streamed samples together, a request alone; nothing of what others have */
    assert_int_equal(a.requests[0].first, 5);
    assert_false(a.requests[0].on_demand);
    assert_int_equal(a.requests[1].first, 7);
    assert_true(a.requests[1].on_demand);
    assert_int_equal(a.requests[1].model, 600);
    assert_int_equal(answer(r, 7, 1, one, NULL, 0), ERR_INPUT); /* not its turn */
    assert_int_equal(answer(r, 5, 1, two, NULL, 0), ERR_INPUT); /* too few bits */
    assert_int_equal(answer(r, 5, 1, two, beyond, 1), ERR_INPUT);
    assert_int_equal(a.taken, 0);
    assert_int_equal(answer(r, 5, 1, two, gone, 1), ERR_OK);
    const uint64_t ids[] = {5, 8, 11}, bits[] = {5 << 1, UINT64_MAX, 6 << 1};
    assert_memory_equal(a.ids, ids, sizeof ids);
    assert_memory_equal(a.bits, bits, sizeof bits);
    assert_true(refine_is_awaited(r, 0));
    assert_int_equal(answer(r, 7, 1, one, NULL, 0), ERR_OK);
    assert_false(refine_is_awaited(r, 0));
    assert_int_equal(answer(r, 7, 1, one, NULL, 0), ERR_INPUT);
    refine_send(r, samples, 5, 1, 600);
    refine_left(r, 0);
    assert_false(refine_is_awaited(r, 0));
    assert_int_equal(answer(r, 5, 2, three, NULL, 0), ERR_INPUT);
    refine_free(r);
}

static void a_node_is_not_asked_for_more_than_there_is_room_for(void **state) {
    (void)state;
    static refine_sample samples[REFINE_ROWS];
    codeword layout = codeword_empty();
    codeword_append(&layout, &(refinement){2, {1, 4}});
    asked a = {.count = 0};
    const refine_host host = {note_request, note_stage, &a};
    refine *r;
    assert_int_equal(refine_new(&r, &layout, &host), ERR_OK);
    for (uint32_t i = 0; i < REFINE_ROWS; i++) {
        samples[i] = (refine_sample){i, 1, 1, false};
    }
    size_t batches = 0;
    for (; refine_has_room(r, 0); batches++) {
        refine_send(r, samples, REFINE_ROWS, 0, 600);
    }
    assert_int_equal(batches, 65); /* 65,536 samples at most, in whole batches */
    refine_left(r, 0);
    assert_true(refine_has_room(r, 0));
    refine_free(r);
}

/* Portions that differ: their stages are cut out of their codes and put back bit by bit. */

enum { MANY = 200 };

typedef struct uneven {
    codeword layout;
    refine *refine;
    struct sent {
        uint32_t stage, count;
        uint64_t first;
    } sent[UNEVEN_PORTIONS]; /* the last request to each portion */
    uint32_t taken[UNEVEN_PORTIONS];
} uneven;

static void note_uneven_request(void *context, uint32_t portion, const Fewbit__RefineRequest *request) {
    uneven *u = context;
    uint64_t ids[ID_SET_MAX];
    size_t count;
    assert_int_equal(id_set_take(request, ids, &count), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ids[i], request->first + i);
    }
    u->sent[portion].stage = request->stage;
    u->sent[portion].count = (uint32_t)count;
    u->sent[portion].first = request->first;
}

static bool is_gone_there(uint64_t id, uint32_t portion) {
    return (id + portion) % 5 == 0;
}

static void check_uneven_stage(void *context, uint32_t portion, const refine_note *note, bool gone, uint64_t bits,
                               uint64_t now_ns) {
    uneven *u = context;
    (void)now_ns;
    const uint32_t *upto = u->layout.portion[portion].upto;
    assert_int_equal(gone, is_gone_there(note->id, portion));
    uint64_t code = gone ? 0 : uneven_code(&u->layout, note->id, portion);
    assert_true(bits == uneven_cut(code, upto[note->stage - 1], upto[note->stage]));
    u->taken[portion]++;
}

/* The answer of a portion, as a node that has stages of those widths gives it. */
static err answer_uneven(uneven *u, uint32_t portion, const refinement *stages) {
    static uint8_t stream[MANY * 8];
    uint32_t gone[MANY], stage = u->sent[portion].stage;
    size_t bits = 0, gone_count = 0;
    memset(stream, 0, sizeof stream);
    for (uint32_t i = 0; i < u->sent[portion].count; i++) {
        uint64_t id = u->sent[portion].first + i;
        if (is_gone_there(id, portion)) {
            gone[gone_count++] = i;
        } else {
            uneven_put(stream, &bits, uneven_code(&u->layout, id, portion), stages->upto[stage - 1],
                       stages->upto[stage]);
        }
    }
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    reply.stage = stage;
    reply.first = u->sent[portion].first;
    reply.bits = (ProtobufCBinaryData){pack_bytes(bits), stream};
    reply.gone = gone;
    reply.n_gone = gone_count;
    return refine_receive(u->refine, portion, &reply, 0);
}

static void each_portion_has_stages_of_its_own(void **state) {
    (void)state;
    uneven u = {.layout = uneven_staged()};
    const refine_host host = {note_uneven_request, check_uneven_stage, &u};
    refine_sample samples[MANY];
    assert_int_equal(refine_new(&u.refine, &u.layout, &host), ERR_OK);
    for (uint8_t stage = 1; stage < u.layout.stages; stage++) {
        for (uint32_t i = 0; i < MANY; i++) {
            samples[i] = (refine_sample){1000 + i, 15, stage, false};
        }
        refine_send(u.refine, samples, MANY, 0, 600);
        for (uint32_t k = 0; k < UNEVEN_PORTIONS; k++) {
            assert_int_equal(u.sent[k].stage, stage);
            assert_int_equal(u.sent[k].count, MANY);
            for (uint32_t other = 0; other < UNEVEN_PORTIONS; other++) {
                const refinement *theirs = &u.layout.portion[other];
                if (refinement_width(theirs, stage) != refinement_width(&u.layout.portion[k], stage)) {
                    assert_int_equal(answer_uneven(&u, k, theirs), ERR_INPUT);
                }
            }
            assert_int_equal(u.taken[k], (stage - 1u) * MANY);
            assert_int_equal(answer_uneven(&u, k, &u.layout.portion[k]), ERR_OK);
            assert_int_equal(u.taken[k], stage * MANY);
        }
    }
    refine_free(u.refine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_taken_in_the_order_of_the_asking),
        cmocka_unit_test(a_node_is_not_asked_for_more_than_there_is_room_for),
        cmocka_unit_test(each_portion_has_stages_of_its_own),
        cmocka_unit_test_setup_teardown(each_sample_is_acked_once, set_refining_table, clear_table),
        cmocka_unit_test_setup_teardown(a_node_is_not_told_of_what_it_streamed_before_it_went, set_refining_table,
                                        clear_table),
        cmocka_unit_test_setup_teardown(a_node_that_goes_between_the_stages_is_not_told, set_refining_table,
                                        clear_table),
        cmocka_unit_test_setup_teardown(a_stage_that_nobody_sends_is_not_taken, set_refining_table, clear_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
