/* What a node answers: in training, in serving, and to a server that keeps to no order. */
#include "encoder_node/node_protocol.h"

#include "base/log.h"
#include "experiment/serialize.h"
#include "tests/lib/small_portion.h"

enum { ELEMENTS = SMALL_ELEMENTS, BITS = SMALL_BITS, HIDDEN = SMALL_HIDDEN, BATCH = 10, SENT_MAX = 512 };

/* What the node has sent: its type, and of codes their first id and their bits, of a refusal the reason. */
typedef struct sent {
    message_type type;
    uint64_t first;
    uint32_t more;
    uint8_t bits;
    Fewbit__Reason reason;
    Fewbit__RequestProblem problem;
} sent;

static struct {
    portion *data;
    node_protocol *protocol;
    node_serve *serve;
    sent sent[SENT_MAX];
    size_t count, seen;
} t;

static void note(void *context, message_type type, const ProtobufCMessage *body) {
    (void)context;
    assert_true(t.count < SENT_MAX);
    sent *s = &t.sent[t.count++];
    *s = (sent){.type = type};
    if (type == MESSAGE_CODES || type == MESSAGE_ANSWER) {
        const Fewbit__Codes *codes = (const void *)body;
        s->first = codes->first;
        s->more = codes->more;
        s->bits = codes->bits.data[0];
    }
    if (type == MESSAGE_READY) {
        s->more = (uint32_t)((const Fewbit__Ready *)(const void *)body)->n_samples;
    }
    if (type == MESSAGE_REQUEST_ERROR) {
        const Fewbit__RequestError *error = (const void *)body;
        s->first = error->id;
        s->problem = error->problem;
        assert_true(error->text[0]);
    }
    if (type == MESSAGE_REFUSAL) {
        s->reason = ((const Fewbit__Refusal *)(const void *)body)->reason;
    }
}

/* The next message that the node has sent. */
static const sent *next_sent(message_type type) {
    assert_true(t.seen < t.count);
    assert_int_equal(t.sent[t.seen].type, type);
    return &t.sent[t.seen++];
}

static void assert_silent(void) {
    assert_int_equal(t.seen, t.count);
}

static node_protocol_verdict give(message_type type, const ProtobufCMessage *body) {
    message m = {.type = type, .body = {.any = body}};
    return node_protocol_receive(t.protocol, &m);
}

static void give_well(message_type type, const ProtobufCMessage *body) {
    assert_int_equal(give(type, body), NODE_PROTOCOL_GO_ON);
}

static int open_node(void **state) {
    make_folder(state);
    log_choose_level("none");
    t.data = open_small_portion();
    static char state_folder[FILE_PATH_MAX];
    snprintf(state_folder, sizeof state_folder, "%s", in_folder("state"));
    node_protocol_config config = {.name = "tested", .data = t.data, .state = state_folder, .streams = true};
    assert_int_equal(node_protocol_new(&t.protocol, &config, &(node_host){note, NULL}), ERR_OK);
    t.serve = node_protocol_serve(t.protocol);
    t.count = t.seen = 0;
    return 0;
}

static int close_node(void **state) {
    node_protocol_free(t.protocol);
    portion_close(t.data);
    return remove_folder(state);
}

static void join(Fewbit__Mode mode) {
    char text[EXPERIMENT_TEXT_MAX + 1];
    size_t length;
    assert_int_equal(experiment_serialize(&small_system, text, &length), ERR_OK);
    text[length] = '\0';
    node_protocol_connected(t.protocol);
    next_sent(MESSAGE_HELLO);
    Fewbit__Welcome welcome = FEWBIT__WELCOME__INIT;
    welcome.protocol = MESSAGE_PROTOCOL;
    welcome.run = 7;
    welcome.mode = mode;
    welcome.experiment = text;
    welcome.heartbeat_ms = 2000;
    give_well(MESSAGE_WELCOME, &welcome.base);
    assert_int_equal(node_protocol_heartbeat_ms(t.protocol), 2000);
}

static void restore(uint64_t step, bool fresh) {
    Fewbit__Restore r = FEWBIT__RESTORE__INIT;
    r.step = step;
    r.fresh = fresh;
    give_well(MESSAGE_RESTORE, &r.base);
    next_sent(MESSAGE_READY);
}

static Fewbit__Batch batch_of(uint64_t step, Fewbit__Phase phase) {
    Fewbit__Batch b = FEWBIT__BATCH__INIT;
    b.step = step;
    b.phase = phase;
    b.count = BATCH;
    return b;
}

/* One step from fresh weights, saved. */
static void train_a_step(void) {
    static float gradients[BATCH * BITS];
    Fewbit__Batch batch = batch_of(0, FEWBIT__PHASE__PHASE_TRAIN);
    Fewbit__Gradients g = FEWBIT__GRADIENTS__INIT;
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    g.count = BATCH;
    g.values = (ProtobufCBinaryData){sizeof gradients, (uint8_t *)gradients};
    save.step = 1;
    join(FEWBIT__MODE__MODE_TRAIN);
    restore(0, true);
    give_well(MESSAGE_BATCH, &batch.base);
    next_sent(MESSAGE_ACTIVATIONS);
    give_well(MESSAGE_GRADIENTS, &g.base);
    assert_silent();
    give_well(MESSAGE_SAVE, &save.base);
    next_sent(MESSAGE_SAVED);
}

static void serve_it(void) {
    train_a_step();
    node_protocol_disconnected(t.protocol);
    join(FEWBIT__MODE__MODE_SERVE);
    restore(1, false);
}

static void request(uint64_t id, uint32_t sample) {
    Fewbit__Request r = FEWBIT__REQUEST__INIT;
    r.id = id;
    r.portion = (ProtobufCBinaryData){ELEMENTS, (uint8_t *)(uintptr_t)portion_sample(t.data, DATASET_TEST, sample)};
    give_well(MESSAGE_REQUEST, &r.base);
}

static void requests_wait_for_each_other_and_for_nothing_else(void **state) {
    (void)state;
    serve_it();
    for (uint32_t i = 0; i < 3; i++) {
        request(40 + i, i);
    }
    assert_silent();
    node_serve_flush(t.serve);
    uint8_t together[3];
    for (uint32_t i = 0; i < 3; i++) {
        const sent *answer = next_sent(MESSAGE_ANSWER);
        assert_int_equal(answer->first, 40 + i);
        together[i] = answer->bits;
    }
    for (uint32_t i = 0; i < 3; i++) { /* alone they get the same bits */
        request(50 + i, i);
        node_serve_flush(t.serve);
        assert_int_equal(next_sent(MESSAGE_ANSWER)->bits, together[i]);
    }
    request(60, 0);
    Fewbit__Ack ack = FEWBIT__ACK__INIT;
    give_well(MESSAGE_ACK, &ack.base); /* nothing overtakes a request */
    assert_int_equal(next_sent(MESSAGE_ANSWER)->first, 60);
    for (uint32_t i = 0; i < NODE_SERVE_REQUESTS; i++) {
        assert_silent();
        request(i, i);
    }
    for (uint32_t i = 0; i < NODE_SERVE_REQUESTS; i++) { /* as many as go through the net at once */
        assert_int_equal(next_sent(MESSAGE_ANSWER)->first, i);
    }
}

static void what_waits_is_forgotten_with_its_connection(void **state) {
    (void)state;
    serve_it();
    request(1, 1);
    node_protocol_disconnected(t.protocol);
    assert_int_equal(node_protocol_heartbeat_ms(t.protocol), 0);
    node_serve_flush(t.serve);
    assert_silent();
}

static void a_stream_goes_on_where_it_was(void **state) {
    (void)state;
    serve_it();
    const uint8_t *portions = portion_sample(t.data, DATASET_TEST, 0);
    Fewbit__Begin begin = FEWBIT__BEGIN__INIT;
    Fewbit__StreamHold hold = FEWBIT__STREAM_HOLD__INIT;
    begin.session = 3;
    begin.first = 1000;
    hold.held = true;
    assert_false(node_serve_may_stream(t.serve));
    give_well(MESSAGE_BEGIN, &begin.base);
    assert_true(node_serve_may_stream(t.serve));
    node_serve_stream(t.serve, portions, 20);
    const sent *codes = next_sent(MESSAGE_CODES);
    assert_int_equal(codes->first, 1000);
    assert_int_equal(codes->more, 19);
    give_well(MESSAGE_STREAM_HOLD, &hold.base);
    assert_false(node_serve_may_stream(t.serve));
    node_protocol_disconnected(t.protocol);
    join(FEWBIT__MODE__MODE_SERVE);
    restore(1, false);
    begin.first = 1020;
    give_well(MESSAGE_BEGIN, &begin.base);
    node_serve_stream(t.serve, portions, 1);
    assert_int_equal(next_sent(MESSAGE_CODES)->first, 1020);
    node_serve_end_stream(t.serve);
    next_sent(MESSAGE_STREAM_END);
    node_serve_end_stream(t.serve); /* said once */
    assert_false(node_serve_may_stream(t.serve));
    assert_silent();
}

static void assert_out_of_turn(message_type type, const ProtobufCMessage *body) {
    assert_int_equal(give(type, body), NODE_PROTOCOL_RECONNECT);
    assert_int_equal(next_sent(MESSAGE_REFUSAL)->reason, FEWBIT__REASON__REASON_PROTOCOL);
    assert_non_null(strstr(err_text(), "out of turn"));
}

static void what_comes_out_of_turn_is_refused(void **state) {
    (void)state;
    Fewbit__Batch batch = batch_of(1, FEWBIT__PHASE__PHASE_TRAIN), late = batch_of(0, FEWBIT__PHASE__PHASE_TRAIN);
    Fewbit__Gradients g = FEWBIT__GRADIENTS__INIT;
    Fewbit__Save save = FEWBIT__SAVE__INIT;
    Fewbit__Request r = FEWBIT__REQUEST__INIT;
    Fewbit__Prepare prepare = FEWBIT__PREPARE__INIT;
    Fewbit__Switch to = FEWBIT__SWITCH__INIT;
    Fewbit__RefineRequest refine = FEWBIT__REFINE_REQUEST__INIT;
    to.model = 99;
    assert_out_of_turn(MESSAGE_BATCH, &batch.base); /* before any Welcome */
    train_a_step();
    assert_out_of_turn(MESSAGE_BATCH, &late.base);
    assert_out_of_turn(MESSAGE_GRADIENTS, &g.base);
    assert_out_of_turn(MESSAGE_SAVE, &save.base);
    assert_out_of_turn(MESSAGE_REQUEST, &r.base);
    assert_out_of_turn(MESSAGE_PREPARE, &prepare.base);
    assert_out_of_turn(MESSAGE_REFINE_REQUEST, &refine.base);
    node_protocol_disconnected(t.protocol);
    join(FEWBIT__MODE__MODE_SERVE);
    assert_out_of_turn(MESSAGE_REQUEST, &r.base); /* before Restore */
    restore(1, false);
    assert_out_of_turn(MESSAGE_BATCH, &batch.base);
    assert_out_of_turn(MESSAGE_SWITCH, &to.base);
    assert_silent();
}

/* Ids that are counted are told in serving alone, so many at most. */
static void samples_are_offered_in_serving(void **state) {
    (void)state;
    join(FEWBIT__MODE__MODE_TRAIN);
    Fewbit__Restore fresh = FEWBIT__RESTORE__INIT, of_step = FEWBIT__RESTORE__INIT;
    fresh.fresh = true;
    give_well(MESSAGE_RESTORE, &fresh.base);
    assert_int_equal(next_sent(MESSAGE_READY)->more, 0);
    node_protocol_disconnected(t.protocol);
    train_a_step();
    node_protocol_disconnected(t.protocol);
    join(FEWBIT__MODE__MODE_SERVE);
    of_step.step = 1;
    give_well(MESSAGE_RESTORE, &of_step.base);
    assert_int_equal(next_sent(MESSAGE_READY)->more, SMALL_SAMPLES);
}

/* By its id a sample is encoded as if its values had been handed over; what there is none of is told at once. */
static void requests_by_id_are_of_the_nodes_own_samples(void **state) {
    (void)state;
    train_a_step();
    node_protocol_disconnected(t.protocol);
    join(FEWBIT__MODE__MODE_SERVE);
    restore(1, false);
    for (uint32_t i = 0; i < 2 * SMALL_SAMPLES; i++) {
        char id[16];
        enum dataset_split split = i < SMALL_SAMPLES ? DATASET_TRAIN : DATASET_TEST;
        Fewbit__Request handed = FEWBIT__REQUEST__INIT, named = FEWBIT__REQUEST__INIT;
        snprintf(id, sizeof id, "%u", i);
        handed.id = 2 * i;
        handed.portion.len = ELEMENTS;
        handed.portion.data = (uint8_t *)(uintptr_t)portion_sample(t.data, split, i % SMALL_SAMPLES);
        named.id = 2 * i + 1;
        named.sample = id;
        give_well(MESSAGE_REQUEST, &handed.base);
        give_well(MESSAGE_REQUEST, &named.base);
        node_serve_flush(t.serve);
        uint8_t bits = next_sent(MESSAGE_ANSWER)->bits;
        const sent *answer = next_sent(MESSAGE_ANSWER);
        assert_int_equal(answer->first, named.id);
        assert_int_equal(answer->bits, bits);
    }
    static const struct {
        char *id;
        size_t length;
        Fewbit__PortionFormat format;
        Fewbit__RequestProblem problem;
    } bad[] = {{"200", 0, 0, FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE},
               {"-1", 0, 0, FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE},
               {"a\nb", 0, 0, FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE},
               {"", 0, FEWBIT__PORTION_FORMAT__FORMAT_RAW, FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH},
               {"", ELEMENTS - 1, FEWBIT__PORTION_FORMAT__FORMAT_RAW, FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH},
               {"", ELEMENTS + 1, FEWBIT__PORTION_FORMAT__FORMAT_RAW, FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH},
               {"", ELEMENTS, FEWBIT__PORTION_FORMAT__FORMAT_CSV, FEWBIT__REQUEST_PROBLEM__PROBLEM_ROW}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        static uint8_t zeroes[ELEMENTS + 1];
        Fewbit__Request r = FEWBIT__REQUEST__INIT;
        r.id = 500 + i;
        r.sample = bad[i].id;
        r.format = bad[i].format;
        r.portion = (ProtobufCBinaryData){bad[i].length, zeroes};
        give_well(MESSAGE_REQUEST, &r.base);
        const sent *error = next_sent(MESSAGE_REQUEST_ERROR);
        assert_int_equal(error->first, r.id);
        assert_int_equal(error->problem, bad[i].problem);
    }
    node_serve_flush(t.serve);
    assert_silent();
}

static void files_and_large_nets_are_long(void **state) {
    (void)state;
    static const message_type files[] = {MESSAGE_WELCOME, MESSAGE_RESTORE, MESSAGE_SAVE, MESSAGE_PREPARE};
    Fewbit__Batch batch = batch_of(0, FEWBIT__PHASE__PHASE_SOFT);
    message m = {.type = MESSAGE_BATCH, .body = {.batch = &batch}};
    assert_false(node_protocol_is_long(t.protocol, &m)); /* it is refused */
    train_a_step();
    assert_false(node_protocol_is_long(t.protocol, &m));
    batch.count = UINT32_MAX;
    assert_true(node_protocol_is_long(t.protocol, &m));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        assert_true(node_protocol_is_long(t.protocol, &(message){.type = files[i]}));
    }
    assert_false(node_protocol_stream_is_long(t.protocol, 1));
    assert_true(node_protocol_stream_is_long(t.protocol, UINT32_MAX));
    assert_true(node_serve_stream_macs(t.serve, 3) == 3 * (ELEMENTS * HIDDEN + HIDDEN * BITS));
    node_protocol_disconnected(t.protocol);
    join(FEWBIT__MODE__MODE_SERVE);
    restore(1, false);
    assert_true(node_serve_flush_macs(t.serve) == 0);
    request(1, 1);
    assert_true(node_serve_flush_macs(t.serve) == ELEMENTS * HIDDEN + HIDDEN * BITS);
    assert_false(node_protocol_flush_is_long(t.protocol));
}

#define WITH_NODE(test) cmocka_unit_test_setup_teardown(test, open_node, close_node)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_NODE(requests_wait_for_each_other_and_for_nothing_else),
        WITH_NODE(what_waits_is_forgotten_with_its_connection),
        WITH_NODE(a_stream_goes_on_where_it_was),
        WITH_NODE(what_comes_out_of_turn_is_refused),
        WITH_NODE(samples_are_offered_in_serving),
        WITH_NODE(requests_by_id_are_of_the_nodes_own_samples),
        WITH_NODE(files_and_large_nets_are_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
