/* Samples being aligned while the other side attacks: a real node gets a server's frames, a real aligner those of two
 * nodes.
 *
 * Input: records. The first one's control byte: bit 0: by private set intersection; its frame does not count. Of the
 * others, control bits 0 and 1: 0: the frame goes to the node, 1 or 2: it comes to the aligner from portion 0 or 1, 3:
 * all connections are lost before it comes to the aligner from portion 0. */
#define FUZZ_HAS_RECORDS
#define FUZZ_MUTATIONS 1000
#include "tests/lib/fuzz/replay.h"

#include "base/log.h"
#include "decoder_server/train/aligner.h"
#include "encoder_node/node_align.h"

enum { PORTIONS = 2, TRAIN = 8, TEST = 4, ALL = TRAIN + TEST, TO_NODE = 0, LOST = 3, PRIVATE = 1 };

static sample_ids *labels_ids, *nodes_ids;
static const uint32_t samples[2] = {TRAIN, TEST};
static arena unpacked;
static aligner *leader;
static node_align *node;
static bool is_gone[PORTIONS];
static unsigned answers;

/* p0 ... and t0 ...; the node's from another number on. */
static sample_ids *make_ids(unsigned first) {
    static char names[ALL][8];
    const char *list[ALL];
    sample_ids *ids = NULL;
    for (unsigned i = 0; i < ALL; i++) {
        snprintf(names[i], sizeof names[i], "%c%u", i < TRAIN ? 'p' : 't', first + i);
        list[i] = names[i];
    }
    FUZZ_CHECK(sample_ids_new(&ids, (const char *const *const[]){list, list + TRAIN}, samples) == ERR_OK, "%s",
               err_text());
    return ids;
}

static void end(void) {
    sample_ids_free(labels_ids);
    sample_ids_free(nodes_ids);
    arena_free(&unpacked);
}

static void start(void) {
    log_choose_level("none");
    labels_ids = make_ids(0);
    nodes_ids = make_ids(2);
    FUZZ_CHECK(arena_init(&unpacked, message_arena_size(1 << 20)) == ERR_OK, "%s", err_text());
    atexit(end);
}

static void check_sent(message_type type, const ProtobufCMessage *body) {
    size_t length = message_frame_size(body);
    FUZZ_CHECK(length <= FRAME_HEADER + FRAME_PAYLOAD_MAX, "a %s of %zu bytes", message_name((uint8_t)type), length);
}

static void node_says(void *context, message_type type, const ProtobufCMessage *body) {
    (void)context;
    FUZZ_CHECK(type == MESSAGE_ALIGN_IDS, "a node says %s", message_name((uint8_t)type));
    check_sent(type, body);
    answers++;
}

static void aligner_says(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    (void)context;
    FUZZ_CHECK(portion < PORTIONS && !is_gone[portion], "a message to portion %u", portion);
    check_sent(type, body);
}

static void aligner_drops(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context;
    FUZZ_CHECK(portion < PORTIONS && text[0] && reason != FEWBIT__REASON__REASON_UNSET, "portion %u is dropped",
               portion);
    is_gone[portion] = true;
}

static void work(void) {
    uint32_t k;
    while (aligner_has_work(leader)) {
        aligner_work(leader);
    }
    while (aligner_next(leader, &k)) {
        FUZZ_CHECK(aligner_result(leader) && !is_gone[k], "portion %u is aligned", k);
    }
    for (k = 0; k < PORTIONS; k++) {
        if (is_gone[k]) { /* and comes again */
            aligner_left(leader, k);
            is_gone[k] = false;
            aligner_joined(leader, k, &(aligner_node){k ? "b" : "a", {TRAIN, TEST}, "other ids"});
        }
    }
}

static void lose_all(void) {
    node_align_disconnected(node);
    is_gone[0] = is_gone[1] = true;
    work();
}

/* Every row is one of the node's samples, of its split. */
static void check_rows(void) {
    const sample_rows *rows = node_align_rows(node);
    for (int split = 0; rows && split < 2; split++) {
        for (uint32_t i = 0; i < rows->samples[split]; i++) {
            uint32_t row = rows->rows[split][i];
            FUZZ_CHECK(row < samples[split] || row == SAMPLE_ROWS_MISSING, "row %u", row);
        }
    }
}

static void give_node(const message *m) {
    answers = 0;
    err e = m->type == MESSAGE_ALIGN_REQUEST ? node_align_request(node, m->body.align_request)
            : m->type == MESSAGE_ALIGNED     ? node_align_take(node, m->body.aligned)
                                             : ERR_OK;
    FUZZ_CHECK(answers <= (m->type == MESSAGE_ALIGN_REQUEST && !e), "%u answers", answers);
    if (e) {
        FUZZ_CHECK(e == ERR_INPUT && err_text()[0], "a node fails: %s", err_text());
        node_align_disconnected(node);
    }
    check_rows();
}

static void open_all(bool is_private) {
    static const node_host host = {node_says, NULL};
    const aligner_config config = {
        .ids = labels_ids, .rule = {PORTIONS, {TRAIN, TEST}, 2, 1}, .batch_size = 1, .is_private = is_private};
    FUZZ_CHECK(node_align_new(&node, nodes_ids, samples, NULL, &host) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(aligner_new(&leader, &config, &(aligner_host){aligner_says, aligner_drops, NULL}) == ERR_OK, "%s",
               err_text());
    is_gone[0] = is_gone[1] = true;
    work();
    work();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_record record;
    size_t at = 0;
    if (!labels_ids) {
        start();
    }
    if (!fuzz_next_record(data, size, &at, &record)) {
        return 0;
    }
    open_all(record.control & PRIVATE);
    while (fuzz_next_record(data, size, &at, &record)) {
        message m;
        uint8_t to = record.control & LOST;
        if (message_unpack(record.type, record.payload, record.payload_length, &unpacked, &m)) {
            continue;
        }
        if (to == LOST) {
            lose_all();
        }
        if (to == TO_NODE) {
            give_node(&m);
        } else if (aligner_outcome(leader) == ERR_OK) {
            aligner_receive(leader, to == 2, &m);
            work();
            work(); /* who comes again is asked */
        }
    }
    node_align_free(node);
    aligner_free(leader);
    return 0;
}
