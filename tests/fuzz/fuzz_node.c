/* A node whose server attacks it: the frames of the input go to a real node with a real portion.
 *
 * Input: records. Control bit 0: the connection is lost before the frame and comes back. Bit 1: the node
 * streams its test portion behind the frame, where it may. */
#define FUZZ_HAS_RECORDS
#define FUZZ_MUTATIONS 500
#define FUZZ_REFUSES_MORE /* an experiment may ask for more memory than there is: the node then refuses it */
#include "tests/lib/fuzz/replay.h"

#include "encoder_node/node_protocol.h"
#include "tests/lib/portion_info.h"

#include <cblas.h>

enum { ELEMENTS = 196, TRAIN = 6, TEST = 4, LOST = 1, STREAM = 2 };

static portion *data_of_node;
static arena unpacked, sent;
static uint64_t frames_sent, unanswered;

static void start(void) {
    openblas_set_num_threads(1);
    static uint8_t train[TRAIN * ELEMENTS], test[TEST * ELEMENTS];
    for (size_t i = 0; i < sizeof train; i++) {
        train[i] = (uint8_t)(i * 7);
    }
    portion_info info = info_of_portion((partition){PARTITION_SLICES, 4, 1, 28, 28}, 1, TRAIN, TEST);
    err e = portion_write(fuzz_path("portion"), &info, &(portion_contents){.values = {train, test}});
    e = e ? e : portion_open(&data_of_node, fuzz_path("portion"));
    e = e ? e : arena_init(&unpacked, message_arena_size(1 << 16));
    e = e ? e : arena_init(&sent, message_arena_size(FRAME_PAYLOAD_MAX));
    FUZZ_CHECK(e == ERR_OK, "%s", err_text());
}

/* What a node says is a message that the server can take. */
static void check_sent(void *context, message_type type, const ProtobufCMessage *body) {
    (void)context;
    size_t length = message_frame_size(body);
    uint8_t *frame = malloc(length);
    FUZZ_CHECK(frame, "no memory");
    message_pack_frame(type, body, frame);
    message got;
    FUZZ_CHECK(length <= FRAME_HEADER + (type == MESSAGE_HELLO ? (size_t)FRAME_FIRST_MAX : (size_t)FRAME_PAYLOAD_MAX),
               "a %s of %zu bytes", message_name((uint8_t)type), length);
    FUZZ_CHECK(message_unpack(frame[3], frame + FRAME_HEADER, length - FRAME_HEADER, &sent, &got) == ERR_OK, "%s",
               err_text());
    FUZZ_CHECK(got.type != MESSAGE_REFUSAL || got.body.refusal->text[0], "a refusal without a text");
    FUZZ_CHECK(got.type != MESSAGE_SAVED || (got.body.saved->digest.len > 0) != (got.body.saved->error[0] != '\0'),
               "saved and failed at once, or neither");
    frames_sent++;
    free(frame);
}

/* False once the node would stop for good. */
static bool receive(node_protocol *e, const fuzz_record *record) {
    message m;
    node_protocol_verdict verdict = NODE_PROTOCOL_RECONNECT;
    if (!message_unpack(record->type, record->payload, record->payload_length, &unpacked, &m)) {
        uint64_t before = frames_sent;
        verdict = node_protocol_receive(e, &m);
        if (record->payload_length % 2 == 0) {
            node_serve_flush(node_protocol_serve(e));
        }
        uint64_t sent = frames_sent - before;
        FUZZ_CHECK(sent <= ++unanswered, "%llu answers to %llu messages", (unsigned long long)sent,
                   (unsigned long long)unanswered);
        unanswered = record->type == MESSAGE_REQUEST ? unanswered - sent : 0;
    }
    FUZZ_CHECK(verdict == NODE_PROTOCOL_GO_ON || err_text()[0], "verdict %d has no line", (int)verdict);
    uint32_t heartbeat = node_protocol_heartbeat_ms(e);
    FUZZ_CHECK(heartbeat == 0 || (heartbeat >= 100 && heartbeat <= 60000), "a heartbeat of %u ms", heartbeat);
    if (verdict == NODE_PROTOCOL_RECONNECT) {
        unanswered = 0;
        node_protocol_disconnected(e);
        node_protocol_connected(e);
    }
    return verdict == NODE_PROTOCOL_GO_ON || verdict == NODE_PROTOCOL_RECONNECT;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!data_of_node) {
        start();
    }
    const char *state = fuzz_path("state");
    node_protocol_config config = {.name = "fuzzed", .data = data_of_node, .state = state, .streams = true};
    node_host host = {check_sent, NULL};
    node_protocol *e;
    FUZZ_CHECK(node_protocol_new(&e, &config, &host) == ERR_OK, "%s", err_text());
    node_protocol_connected(e);
    fuzz_record record;
    for (size_t at = 0; fuzz_next_record(data, size, &at, &record);) {
        if (record.control & LOST) {
            node_protocol_disconnected(e);
            FUZZ_CHECK(!node_serve_may_stream(node_protocol_serve(e)), "streams without a connection");
            node_protocol_connected(e);
        }
        if (!receive(e, &record)) {
            break;
        }
        if ((record.control & STREAM) && node_serve_may_stream(node_protocol_serve(e))) {
            node_serve_stream(node_protocol_serve(e), portion_sample(data_of_node, DATASET_TEST, 0), TEST);
        }
    }
    node_protocol_free(e);
    temporary_remove(state);
    return 0;
}
