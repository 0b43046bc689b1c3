/* Who may speak for which portion: every Hello that does not fit is refused with its reason. Frames go in and out
 * as from the node listener, but no socket is there. */
#include "base/log.h"
#include "base/utf8.h"
#include "decoder_server/core/node_registry.h"
#include "experiment/load.h"
#include "experiment/serialize.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

enum { REPLIES_MAX = 32, HEARTBEAT = 700 };

static const char experiment_text[] =
    "name: tiny\n"
    "dataset: {name: mnist, partition: slices, portions: 4}\n"
    "encoder: {net: simple-1d, hidden: 4, bits: 4, batch_norm: false, activation: sigmoid,\n"
    "          binarize: after-training}\n"
    "decoder: {net: linear}\n"
    "classifier: {net: mnist, hidden: 8}\n"
    "loss: {quantization: 0}\n"
    "optimiser: {kind: adam, learning_rate: 0.001}\n"
    "training: {epochs: 1, batch_size: 10, seed: 1}\n";
static char digests[4][SHA256_HEX] = {"aa", "bb", "cc", "dd"};
static const run_identity known_data = {
    .samples = {2000, 500}, .portions = 4, .portion = {{"0", "aa"}, {"1", "bb"}, {"2", "cc"}, {"3", "dd"}}};

enum { SENT = 1, ADMITTED, CLOSED, PAUSED, RESUMED };

/* What the registry told the node listener. */
typedef struct reply {
    int kind;
    uint64_t connection;
    uint32_t heartbeat;
    size_t length;
    uint8_t bytes[4096];
} reply;

typedef struct hall {
    experiment experiment;
    node_registry *node_registry;
    bool refuses_pins;
    char pinned[4][SHA256_HEX];
    uint64_t allowed;                       /* what the next frames may speak for */
    uint64_t closed[REPLIES_MAX], n_closed; /* connections */
    traffic_counters present;               /* what has passed every connection there is */
    arena unpacked;
    reply replies[REPLIES_MAX];
    size_t reply_count;
    uint32_t joined[4], left[4], messages; /* joined, left: times */
    char name[64];
    message_type last_type;
} hall;

static void on_joined(void *context, uint32_t portion, const char *name) {
    hall *h = context;
    h->joined[portion]++;
    snprintf(h->name, sizeof h->name, "%s", name);
}

static void on_left(void *context, uint32_t portion) {
    ((hall *)context)->left[portion]++;
}

static void on_message(void *context, uint32_t portion, const message *m) {
    hall *h = context;
    (void)portion;
    h->messages++;
    h->last_type = m->type;
}

static reply *note(hall *h, int kind, uint64_t connection) {
    reply *to = &h->replies[h->reply_count++ % REPLIES_MAX];
    *to = (reply){.kind = kind, .connection = connection};
    return to;
}

static void on_send(void *context, uint64_t connection, message_type type, const ProtobufCMessage *body) {
    reply *to = note(context, SENT, connection);
    to->length = message_frame_size(body);
    assert_true(to->length <= sizeof to->bytes);
    message_pack_frame(type, body, to->bytes);
}

static bool may_speak(void *context, uint64_t connection, const char *portion) {
    (void)connection;
    return ((hall *)context)->allowed >> strtoul(portion, NULL, 10) & 1;
}

static err pin(void *context, uint32_t portion, const portion_info *claimed) {
    hall *h = context;
    if (h->refuses_pins) {
        return err_fail(ERR_IO, "nothing is taken down");
    }
    snprintf(h->pinned[portion], sizeof h->pinned[portion], "%s", claimed->digest);
    return ERR_OK;
}

static void on_admit(void *context, uint64_t connection, uint32_t heartbeat_ms) {
    note(context, ADMITTED, connection)->heartbeat = heartbeat_ms;
}

static void on_close(void *context, uint64_t connection, const char *reason) {
    hall *h = context;
    assert_true(strlen(reason) > 0);
    note(h, CLOSED, connection);
    h->closed[h->n_closed++ % REPLIES_MAX] = connection;
}

static void on_pause(void *context, uint64_t connection, bool paused) {
    note(context, paused ? PAUSED : RESUMED, connection);
}

static void add_traffic(void *context, uint64_t connection, traffic_counters *sum) {
    (void)connection;
    traffic_counters_add(sum, &((hall *)context)->present);
}

static bool is_closed(const hall *h, uint64_t connection) {
    for (size_t i = 0; i < REPLIES_MAX; i++) {
        if (h->closed[i] == connection) {
            return true;
        }
    }
    return false;
}

static void open_hall(hall *h, const run_identity *data) {
    static node_registry_config config;
    const node_registry_host host = {on_send, may_speak, on_admit, on_close, on_pause, add_traffic, h};
    const node_registry_events events = {on_joined, on_left, on_message, h};
    log_choose_level("none");
    memset(h, 0, sizeof *h);
    h->allowed = UINT64_MAX;
    assert_int_equal(experiment_parse("the test", experiment_text, strlen(experiment_text), &h->experiment), ERR_OK);
    config = (node_registry_config){&h->experiment, 0x1234, 0x5678,     FEWBIT__MODE__MODE_SERVE,
                                    HEARTBEAT,      data,   .pin = pin, .context = h};
    assert_int_equal(arena_init(&h->unpacked, message_arena_size(FRAME_PAYLOAD_MAX)), ERR_OK);
    assert_int_equal(node_registry_new(&h->node_registry, &config, &host, &events), ERR_OK);
}

static void close_hall(hall *h) {
    node_registry_free(h->node_registry);
    arena_free(&h->unpacked);
}

static hall here;

static int set_up(void **state) {
    *state = &here;
    open_hall(&here, NULL);
    return 0;
}

static int set_up_with_labels(void **state) {
    *state = &here;
    open_hall(&here, &known_data);
    return 0;
}

static int tear_down(void **state) {
    close_hall(*state);
    return 0;
}

/* A frame from a link, which delivers none of a connection that is being closed. */
static void post(hall *h, uint64_t connection, const uint8_t *bytes, size_t length) {
    const frame f = {bytes[3], bytes + FRAME_HEADER, length - FRAME_HEADER};
    if (!is_closed(h, connection)) {
        node_registry_take(h->node_registry, connection, &f);
    }
}

static void post_frame(hall *h, uint64_t connection, message_type type, const ProtobufCMessage *body) {
    uint8_t bytes[1024];
    assert_true(message_frame_size(body) <= sizeof bytes);
    message_pack_frame(type, body, bytes);
    post(h, connection, bytes, message_frame_size(body));
}

static void post_raw(hall *h, uint64_t connection, uint8_t type, const void *payload, size_t length) {
    uint8_t bytes[64];
    frame_put_header(bytes, type, length);
    memcpy(bytes + FRAME_HEADER, payload, length);
    post(h, connection, bytes, FRAME_HEADER + length);
}

static uint32_t good_shape[] = {1, 7, 28};

static Fewbit__Hello good_hello(uint32_t portion) {
    static char names[][2] = {"0", "1", "2", "3", "4"};
    Fewbit__Hello hello = FEWBIT__HELLO__INIT;
    hello.protocol = 2;
    hello.name = (char *)(uintptr_t) "carol";
    hello.portion = names[portion];
    hello.dataset = (char *)(uintptr_t) "mnist";
    hello.type = (char *)(uintptr_t) "u8";
    hello.n_shape = 3;
    hello.shape = good_shape;
    hello.train_samples = 2000;
    hello.test_samples = 500;
    hello.digest = digests[portion % 4];
    return hello;
}

static void greet(hall *h, uint64_t connection, const Fewbit__Hello *hello) {
    h->reply_count = 0;
    post_frame(h, connection, MESSAGE_HELLO, &hello->base);
}

static void lose(hall *h, uint64_t connection) {
    const traffic_counters last = {.tcp_bytes = {100, 10}};
    h->reply_count = 0;
    node_registry_lost(h->node_registry, connection, &last);
}

/* The message in reply `index`, which must go to `connection`. */
static message sent(hall *h, size_t index, uint64_t connection) {
    message m;
    assert_true(index < h->reply_count);
    const reply *r = &h->replies[index];
    assert_int_equal(r->kind, SENT);
    assert_int_equal(r->connection, connection);
    assert_int_equal(r->length, FRAME_HEADER + (size_t)(r->bytes[0] | r->bytes[1] << 8 | r->bytes[2] << 16));
    assert_int_equal(message_unpack(r->bytes[3], r->bytes + FRAME_HEADER, r->length - FRAME_HEADER, &h->unpacked, &m),
                     ERR_OK);
    return m;
}

static void assert_welcome(hall *h, uint64_t connection) {
    assert_int_equal(h->reply_count, 2);
    assert_int_equal(h->replies[0].kind, ADMITTED);
    assert_int_equal(h->replies[0].connection, connection);
    assert_int_equal(sent(h, 1, connection).type, MESSAGE_WELCOME);
}

/* Told why in one line, and closed behind it. */
static void assert_refused(hall *h, uint64_t connection, Fewbit__Reason reason, const char *text) {
    assert_int_equal(h->reply_count, 2);
    message m = sent(h, 0, connection);
    assert_int_equal(m.type, MESSAGE_REFUSAL);
    assert_int_equal(m.body.refusal->reason, reason);
    if (!strstr(m.body.refusal->text, text)) {
        fail_msg("'%s' does not tell '%s'", m.body.refusal->text, text);
    }
    assert_int_equal(h->replies[1].kind, CLOSED);
    assert_int_equal(h->replies[1].connection, connection);
}

static bool is_here(const hall *h, uint32_t portion) {
    static stats s;
    node_registry_stats(h->node_registry, &s);
    return s.nodes[portion].connection != 0;
}

static void assert_nobody_joined(const hall *h) {
    for (uint32_t k = 0; k < 4; k++) {
        assert_int_equal(h->joined[k], 0);
    }
}

static void a_good_hello_is_welcome(void **state) {
    hall *h = *state;
    const Fewbit__Hello hello = good_hello(2);
    greet(h, 1026, &hello);
    assert_welcome(h, 1026);
    assert_int_equal(h->replies[0].heartbeat, HEARTBEAT);
    const Fewbit__Welcome *w = sent(h, 1, 1026).body.welcome;
    assert_int_equal(w->protocol, 2);
    assert_int_equal(w->run, 0x1234);
    assert_int_equal(w->training, 0x5678);
    assert_int_equal(w->mode, FEWBIT__MODE__MODE_SERVE);
    assert_int_equal(w->heartbeat_ms, HEARTBEAT);
    experiment e;
    bool is_same;
    assert_int_equal(experiment_parse("the welcome", w->experiment, strlen(w->experiment), &e), ERR_OK);
    assert_int_equal(experiment_compare(&e, &h->experiment, &is_same), ERR_OK);
    assert_true(is_same);
    assert_int_equal(h->joined[2], 1);
    assert_string_equal(h->name, "carol");
    assert_true(is_here(h, 2));
    assert_false(is_here(h, 1));
}

typedef struct hello_case {
    Fewbit__Hello hello;
    Fewbit__Reason reason;
    const char *text;
} hello_case;

static void refuse_all(hall *h, const hello_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        greet(h, 2000 + i, &cases[i].hello);
        assert_refused(h, 2000 + i, cases[i].reason, cases[i].text);
    }
    assert_nobody_joined(h);
}

static void a_hello_that_does_not_fit_is_refused(void **state) {
    hello_case cases[32];
    size_t n = 0;
    static uint32_t row[] = {196}, high[] = {7, 28, 1}, small[] = {1, 7, 27}, none[] = {1, 0, 28},
                    many[] = {1, 1, 7, 28};
    static char long_name[65], long_digest[66];
    memset(long_name, 'x', 64);
    memset(long_digest, 'a', 65);
#define TEXT_OF(text) (char *)(uintptr_t)text
#define WITH(why, said, field, value)                                                                                  \
    cases[n] = (hello_case){good_hello(1), FEWBIT__REASON__REASON_##why, said};                                        \
    cases[n++].hello.field = value
    WITH(VERSION, "protocol 1 is not spoken here, only 2", protocol, 1);
    WITH(VERSION, "protocol 3 is not spoken here, only 2", protocol, 3);
    WITH(VERSION, "protocol 0 is not spoken here, only 2", protocol, 0);
    WITH(PORTION_UNKNOWN, "there is no portion 4, only 0, 1, 2, 3", portion, TEXT_OF("4"));
    WITH(PORTION_UNKNOWN, "there is no portion 01, only 0, 1, 2, 3", portion, TEXT_OF("01"));
    WITH(PORTION_UNKNOWN, "there is no portion guest", portion, TEXT_OF("guest"));
    WITH(PROTOCOL, "its portion has no name of 1 to 31 letters", portion, TEXT_OF(""));
    WITH(PROTOCOL, "its portion has no name of 1 to 31 letters", portion, TEXT_OF("a b"));
    WITH(PROTOCOL, "its portion has no name of 1 to 31 letters", portion, long_name);
    WITH(PROTOCOL, "the name must have 1 to 63 bytes", name, TEXT_OF(""));
    WITH(PROTOCOL, "the name must have 1 to 63 bytes", name, long_name);
    WITH(DATA, "portion 1 of fashion-mnist, u8 [1, 7, 28], does not fit: this run wants mnist, u8 [1, 7, 28]", dataset,
         TEXT_OF("fashion-mnist"));
    WITH(DATA, "portion 1 of mnist, f32 [1, 7, 28], does not fit", type, TEXT_OF("f32"));
    WITH(DATA, "portion 1 of mnist, u8 [7, 28, 1], does not fit", shape, high);
    WITH(DATA, "portion 1 of mnist, u8 [1, 7, 27], does not fit", shape, small);
    WITH(DATA, "portion 1 of mnist, u8 [196], does not fit", shape, row);
    cases[n - 1].hello.n_shape = 1;
    WITH(PROTOCOL, "portion 1: dimension 1 of a portion is 0", shape, none);
    WITH(PROTOCOL, "portion 1: a portion has 1 to 3 dimensions, not 4", shape, many);
    cases[n - 1].hello.n_shape = 4;
    WITH(PROTOCOL, "portion 1: a portion has 1 to 3 dimensions, not 0", n_shape, 0);
    WITH(PROTOCOL, "portion 1: ", type, TEXT_OF("f64"));
    WITH(PROTOCOL, "portion 1: ", type, TEXT_OF(""));
    WITH(PROTOCOL, "portion 1: its data set's name or a digest is too long", dataset, long_name);
    WITH(PROTOCOL, "portion 1: its data set's name or a digest is too long", digest, long_digest);
    WITH(PROTOCOL, "portion 1: its data set's name or a digest is too long", ids_digest, long_digest);
#undef TEXT_OF
#undef WITH
    refuse_all(*state, cases, n);
    const Fewbit__Hello hello = good_hello(1);
    greet(*state, 3000, &hello); /* and none of them left a trace */
    assert_welcome(*state, 3000);
}

/* Every control, at the beginning of a name, in it and at its end. */
static void a_name_with_controls_is_refused(void **state) {
    static const char *const rest[] = {"", "a", "ab"};
    uint64_t connection = 2000;
    for (uint32_t point = 1; point < 0x2100; point++) {
        for (size_t i = 0; i < 3 && utf8_is_control(point); i++) {
            char name[16], sequence[4] = {(char)point};
            if (point >= 0x800) {
                snprintf(sequence, sizeof sequence, "%c%c%c", (char)(0xe0 | point >> 12),
                         (char)(0x80 | (point >> 6 & 63)), (char)(0x80 | (point & 63)));
            } else if (point >= 0x80) {
                snprintf(sequence, sizeof sequence, "%c%c", (char)(0xc0 | point >> 6), (char)(0x80 | (point & 63)));
            }
            snprintf(name, sizeof name, "%s%s%s", rest[i], sequence, rest[2 - i]);
            Fewbit__Hello hello = good_hello(1);
            hello.name = name;
            greet(*state, ++connection, &hello);
            assert_refused(*state, connection, FEWBIT__REASON__REASON_PROTOCOL,
                           "the name must be UTF-8 without control characters");
        }
    }
    assert_int_equal(connection - 2000, 3 * (31 + 33 + 7 + 4));
    assert_nobody_joined(*state);
}

static void in_training_the_data_must_be_the_labels(void **state) {
    static char ids[] = "ee";
    hello_case cases[] = {
        {good_hello(3), FEWBIT__REASON__REASON_DATA,
         "portion 3 has 1999 training and 500 test samples, the labels 2000"},
        {good_hello(3), FEWBIT__REASON__REASON_DATA, "portion 3 has 2000 training and 0 test samples, the labels 2000"},
        {good_hello(3), FEWBIT__REASON__REASON_DATA, "the data of portion 3 is not what the labels were split from"},
        {good_hello(3), FEWBIT__REASON__REASON_DATA,
         "portion 3 has ids, the labels count theirs: pack both with ids, or both without"},
    };
    cases[0].hello.train_samples = 1999;
    cases[1].hello.test_samples = 0;
    cases[2].hello.digest = digests[2];
    cases[3].hello.ids_digest = ids;
    refuse_all(*state, cases, 4);
    const Fewbit__Hello hello = good_hello(3);
    greet(*state, 3000, &hello);
    assert_welcome(*state, 3000);
}

/* What the labels do not know is what the nodes say first; whoever takes that down may refuse it. */
static void data_that_nobody_knows_is_taken_down(void **state) {
    hall *h = *state;
    static run_identity nobody_knows;
    static char ids[] = "ee";
    nobody_knows = (run_identity){.samples = {2000, 500}, .portions = 4, .is_pinned = true, .ids = "ee"};
    close_hall(h);
    open_hall(h, &nobody_knows);
    Fewbit__Hello hello = good_hello(2);
    greet(h, 1024, &hello);
    assert_refused(h, 1024, FEWBIT__REASON__REASON_DATA, "portion 2 counts its samples, the labels have ids");
    hello.ids_digest = ids;
    h->refuses_pins = true;
    greet(h, 1025, &hello);
    assert_refused(h, 1025, FEWBIT__REASON__REASON_DATA, "nothing is taken down");
    assert_nobody_joined(h);
    h->refuses_pins = false;
    greet(h, 1026, &hello);
    assert_welcome(h, 1026);
    assert_string_equal(h->pinned[2], digests[2]);
    snprintf(nobody_knows.portion[1].digest, SHA256_HEX, "%s", "ab");
    Fewbit__Hello other = good_hello(1);
    other.ids_digest = ids;
    greet(h, 1027, &other);
    assert_refused(h, 1027, FEWBIT__REASON__REASON_DATA,
                   "the data of portion 1 is not what it was when this run began");
}

static void a_node_speaks_for_what_its_certificate_names(void **state) {
    hall *h = *state;
    static const char said[] = "its certificate does not name portion 2 (subjectAltName URI fewbit:portion:2)";
    const Fewbit__Hello two = good_hello(2), one = good_hello(1), four = good_hello(4);
    h->allowed = 1 << 1 | 1 << 3;
    greet(h, 1024, &two);
    assert_refused(h, 1024, FEWBIT__REASON__REASON_CERTIFICATE, said);
    h->allowed = 0;
    greet(h, 2048, &two); /* in the same place, and nothing is known of it */
    assert_refused(h, 2048, FEWBIT__REASON__REASON_CERTIFICATE, said);
    h->allowed = UINT64_MAX;
    greet(h, 1025, &four);
    assert_refused(h, 1025, FEWBIT__REASON__REASON_PORTION_UNKNOWN, "there is no portion 4, only 0, 1, 2, 3");
    assert_nobody_joined(h);
    h->allowed = 1 << 1 | 1 << 3;
    greet(h, 1026, &one);
    assert_welcome(h, 1026);
    h->allowed = 1 << 2;
    greet(h, 1027, &two);
    assert_welcome(h, 1027);
}

static void a_portion_has_one_node_at_a_time(void **state) {
    hall *h = *state;
    const Fewbit__Hello hello = good_hello(0);
    greet(h, 1024, &hello);
    assert_welcome(h, 1024);
    greet(h, 1025, &hello);
    assert_refused(h, 1025, FEWBIT__REASON__REASON_PORTION_TAKEN, "portion 0 is taken by carol");
    lose(h, 1025); /* the one that was refused: changes nothing */
    assert_int_equal(h->left[0], 0);
    assert_true(is_here(h, 0));
    lose(h, 1024);
    assert_int_equal(h->left[0], 1);
    assert_false(is_here(h, 0));
    greet(h, 2048, &hello);
    assert_welcome(h, 2048);
    assert_int_equal(h->joined[0], 2);
}

static void the_first_message_must_be_hello(void **state) {
    hall *h = *state;
    const Fewbit__Ready ready = FEWBIT__READY__INIT;
    h->reply_count = 0;
    post_frame(h, 1024, MESSAGE_READY, &ready.base);
    assert_refused(h, 1024, FEWBIT__REASON__REASON_PROTOCOL, "the first message must be Hello");
    char beyond[64];
    snprintf(beyond, sizeof beyond, "frame type %d is unknown", MESSAGE_TYPES);
    const struct {
        uint8_t type;
        const char *payload, *text;
    } cases[] = {
        {0, "", "frame type 0 is unknown"},
        {MESSAGE_TYPES, "", beyond},
        {255, "xx", "frame type 255 is unknown"},
        {MESSAGE_HELLO, "\x0a\x7f", "a Hello frame of 2 bytes is malformed"}, /* a length that lies */
        {MESSAGE_HELLO, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "malformed"},
        {MESSAGE_PING, "x", "a Ping frame carries a payload"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        h->reply_count = 0;
        post_raw(h, 1030 + i, cases[i].type, cases[i].payload, strlen(cases[i].payload));
        assert_refused(h, 1030 + i, FEWBIT__REASON__REASON_PROTOCOL, cases[i].text);
    }
    assert_nobody_joined(h);
}

static void an_admitted_node_is_heard(void **state) {
    hall *h = *state;
    const Fewbit__Hello hello = good_hello(1);
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    h->reply_count = 0;
    post_frame(h, 1024, MESSAGE_HELLO, &hello.base);
    post_frame(h, 1024, MESSAGE_READY, &ready.base);
    post_frame(h, 1024, MESSAGE_HELLO, &hello.base); /* out of turn; but that is for the role to say */
    assert_int_equal(h->messages, 2);
    assert_int_equal(h->last_type, MESSAGE_HELLO);
    assert_int_equal(h->joined[1], 1);
    h->reply_count = 0;
    post_raw(h, 1024, MESSAGE_CODES, "\x22\x7f", 2);
    assert_refused(h, 1024, FEWBIT__REASON__REASON_PROTOCOL, "a Codes frame of 2 bytes is malformed");
    assert_int_equal(h->messages, 2);
}

static void who_is_refused_stays_refused(void **state) {
    hall *h = *state;
    Fewbit__Hello wrong = good_hello(1);
    const Fewbit__Hello good = good_hello(1);
    wrong.protocol = 1;
    h->reply_count = 0;
    post_frame(h, 1024, MESSAGE_HELLO, &wrong.base);
    post_frame(h, 1024, MESSAGE_HELLO, &good.base); /* under way when the first one was refused */
    assert_nobody_joined(h);
    assert_false(is_here(h, 1));
}

static void who_was_dropped_is_not_heard(void **state) {
    hall *h = *state;
    const Fewbit__Hello hello = good_hello(1);
    const Fewbit__Ready ready = FEWBIT__READY__INIT;
    greet(h, 1024, &hello);
    h->reply_count = 0;
    node_registry_drop(h->node_registry, 1, FEWBIT__REASON__REASON_MODEL, "codes of another model");
    post_frame(h, 1024, MESSAGE_READY, &ready.base);
    assert_refused(h, 1024, FEWBIT__REASON__REASON_MODEL, "codes of another model");
    assert_int_equal(h->messages, 0);
    lose(h, 1024);
    assert_int_equal(h->left[1], 1);
}

static void replies_go_to_the_portions_connection(void **state) {
    hall *h = *state;
    const Fewbit__Hello hello = good_hello(3);
    const Fewbit__Begin begin = FEWBIT__BEGIN__INIT;
    greet(h, 1027, &hello);
    h->reply_count = 0;
    node_registry_send(h->node_registry, 3, MESSAGE_BEGIN, &begin.base);
    node_registry_send(h->node_registry, 2, MESSAGE_BEGIN, &begin.base); /* nobody there */
    node_registry_pause(h->node_registry, 3, true);
    node_registry_pause(h->node_registry, 2, true);
    node_registry_pause(h->node_registry, 3, false);
    node_registry_drop(h->node_registry, 2, FEWBIT__REASON__REASON_OVER, "over");
    assert_int_equal(h->reply_count, 3);
    assert_int_equal(sent(h, 0, 1027).type, MESSAGE_BEGIN);
    assert_int_equal(h->replies[1].kind, PAUSED);
    assert_int_equal(h->replies[2].kind, RESUMED);
    assert_int_equal(h->replies[2].connection, 1027);
}

/* What a portion cost is counted over all the connections it has had. */
static void the_traffic_of_all_connections_adds_up(void **state) {
    hall *h = *state;
    const Fewbit__Hello hello = good_hello(0);
    traffic_counters sum;
    greet(h, 1024, &hello);
    lose(h, 1024);
    greet(h, 2048, &hello);
    h->present = (traffic_counters){.tcp_bytes = {5, 6}};
    node_registry_traffic(h->node_registry, 0, &sum);
    assert_int_equal(sum.tcp_bytes[TRAFFIC_IN], 105);
    assert_int_equal(sum.tcp_bytes[TRAFFIC_OUT], 16);
    node_registry_traffic(h->node_registry, 1, &sum); /* there was none */
    assert_int_equal(sum.tcp_bytes[TRAFFIC_IN], 0);
}

#define IN_HALL(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_HALL(a_good_hello_is_welcome),
        IN_HALL(a_hello_that_does_not_fit_is_refused),
        IN_HALL(a_name_with_controls_is_refused),
        cmocka_unit_test_setup_teardown(in_training_the_data_must_be_the_labels, set_up_with_labels, tear_down),
        cmocka_unit_test_setup_teardown(a_node_speaks_for_what_its_certificate_names, set_up, tear_down),
        IN_HALL(data_that_nobody_knows_is_taken_down),
        IN_HALL(a_portion_has_one_node_at_a_time),
        IN_HALL(the_first_message_must_be_hello),
        IN_HALL(an_admitted_node_is_heard),
        IN_HALL(who_is_refused_stays_refused),
        IN_HALL(who_was_dropped_is_not_heard),
        IN_HALL(replies_go_to_the_portions_connection),
        IN_HALL(the_traffic_of_all_connections_adds_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
