/* A serving server whose nodes attack it, while requests come in: each is answered exactly once.
 *
 * Input: records. Control bits 0 and 1 are the connection, bits 2 to 4 what happens: 0 its frame, 1 it goes
 * down, 2 a request (the payload is the image, the rest of it grey), 3 time passes (the first byte of the
 * payload in ms), 4 a frame after which nothing settles yet, 5 a change to another model, 6 the engine takes nothing
 * new, 7 a request by a sample's id (the payload).
 */
#define FUZZ_HAS_RECORDS
#define FUZZ_MUTATIONS 80 /* an input takes milliseconds: the engine has room for 131,072 samples */
#include "tests/lib/fuzz/replay.h"

#include "decoder_server/serve/engine.h"
#include "tests/lib/fuzz/server_side.h"
#include "tests/lib/fuzz/small_run.h"
#include "tests/lib/whole_sample.h"

#include <cblas.h>

enum { CONNECTION = 3, OPERATIONS = 8, PIXELS = 784, CLASSES = 10, DEADLINE_MS = 200, REQUESTS_MAX = 1024 };
enum { SLEEP_MAX_US = ENGINE_PREPARE_SECONDS * 1000000 + 1 };
enum { FRAME_COMES, GOES_DOWN, REQUEST_COMES, TIME_PASSES, FRAME_ALONE, MODEL_CHANGES, DESK_STOPS, ID_COMES };
enum { CHANGES_MAX = 8 };

#ifdef FUZZ_REFINEMENT
static const float threshold = 1.1f; /* no answer is sure enough */
#else
static const float threshold = 0;
#endif

static const partition halves = {PARTITION_SLICES, SMALL_PORTIONS, 1, 28, 28};
static run_dir served;
static results *lines;
static engine *reception;
static uint64_t now_ns;
static unsigned answers[REQUESTS_MAX];
static uint32_t requests, ready_nodes, changes_begun, changes_left;
static const predictor_options classify_with = {.table_bytes = 1 << 14, .cache_bytes = 1 << 12};

static void pause_node(void *context, uint32_t portion, bool paused) {
    (void)context;
    node_registry_pause(side.node_registry, portion, paused);
}

static void check_answer(void *context, uint64_t request, const classification *a) {
    (void)context;
    FUZZ_CHECK(request < requests, "an answer to request %llu of %u", (unsigned long long)request, requests);
    answers[request]++;
    if (a->outcome != CLASSIFICATION_DONE) {
        return;
    }
    float sum = 0;
    FUZZ_CHECK(a->class < CLASSES && a->classes == CLASSES, "class %u of %u", a->class, a->classes);
    for (uint32_t c = 0; c < CLASSES; c++) {
        FUZZ_CHECK(a->probabilities[c] >= 0 && a->probabilities[c] <= a->probabilities[a->class], "probability %f",
                   (double)a->probabilities[c]);
        sum += a->probabilities[c];
    }
    FUZZ_CHECK(sum > 0.999f && sum < 1.001f, "probabilities add up to %f", (double)sum);
    bool is_whole = a->have == 3 && (threshold == 0 || a->bits[0] + a->bits[1] == 2 * SMALL_BITS);
    FUZZ_CHECK(a->have != 0 && a->degraded == !is_whole, "mask %llx, %u and %u bits", (unsigned long long)a->have,
               a->bits[0], a->bits[1]);
}

static void take_ready(void *context, uint32_t nodes) {
    (void)context;
    FUZZ_CHECK(nodes <= SMALL_PORTIONS, "%u nodes are ready", nodes);
    ready_nodes = nodes;
}

static void take_model(void *context, const served_model *m) {
    (void)context;
    node_registry_set_run(side.node_registry, m->run->id, m->text);
}

static void take_change(void *context, err code, const char *text) {
    (void)context;
    FUZZ_CHECK(changes_begun > 0 && (code == ERR_OK || text[0]), "a change of %u has ended with %d", changes_begun,
               code);
    changes_begun--;
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    (void)context;
    FUZZ_CHECK(portion < SMALL_PORTIONS && name[0], "portion %u joined", portion);
    engine_joined(reception, portion);
}

static void on_left(void *context, uint32_t portion) {
    (void)context;
    engine_left(reception, portion, now_ns);
}

static void on_message(void *context, uint32_t portion, const message *m) {
    (void)context;
    engine_receive(reception, portion, m, now_ns);
}

static void start(void) {
    openblas_set_num_threads(1);
    side_start();
    small_committed_run(&served, fuzz_path("run"));
    node_registry_config config = {
        .experiment = &served.experiment, .run = served.id, .mode = FEWBIT__MODE__MODE_SERVE, .heartbeat_ms = 1000};
    node_registry_events events = {on_joined, on_left, on_message, NULL};
    err e = results_open(&lines, "/dev/null", &small_labels()->classes, SMALL_PORTIONS);
    e = e ? e : node_registry_new(&side.node_registry, &config, &side_host, &events);
    FUZZ_CHECK(e == ERR_OK, "%s", err_text());
}

static void settle(void) {
    do {
        int64_t sleep = engine_poll(reception, now_ns);
        FUZZ_CHECK(sleep >= -1 && sleep <= SLEEP_MAX_US, "sleeps for %lld us", (long long)sleep);
    } while (side_turn());
}

static void classify(const fuzz_record *record) {
    uint8_t *sample = malloc(PIXELS);
    FUZZ_CHECK(sample, "no memory");
    memset(sample, 128, PIXELS);
    memcpy(sample, record->payload, record->payload_length < PIXELS ? record->payload_length : PIXELS);
    if (requests < REQUESTS_MAX) {
        answers[requests] = 0;
        classify_whole(reception, requests++, &halves, sample, now_ns);
    }
    free(sample);
}

static void classify_by_id(const fuzz_record *record) {
    char id[65] = "";
    memcpy(id, record->payload, record->payload_length < 64 ? record->payload_length : 64);
    if (requests < REQUESTS_MAX) {
        answers[requests] = 0;
        engine_classify(reception, requests++, &(question){.sample = id}, now_ns);
    }
}

/* To the same run: for the engine a model of its own, with another number. One at a time, as the reloader does it. */
static void change(void) {
    served_model *m;
    if (changes_begun > 0 || changes_left == 0) {
        return;
    }
    FUZZ_CHECK(served_model_new(&m, &served, &classify_with) == ERR_OK, "%s", err_text());
    changes_left--;
    changes_begun++;
    engine_swap_model(reception, m, now_ns);
}

static void happen(const fuzz_record *record) {
    side_connection *c = &side.connections[record->control & CONNECTION];
    switch ((record->control >> 2) % OPERATIONS) {
    case FRAME_COMES:
    case FRAME_ALONE:
        side_frame(record->control & CONNECTION, record);
        break;
    case GOES_DOWN:
        if (c->number) {
            side_go_down(c);
        }
        break;
    case MODEL_CHANGES:
        change();
        break;
    case DESK_STOPS:
        engine_stop(reception, now_ns);
        break;
    case REQUEST_COMES:
        classify(record);
        break;
    case ID_COMES:
        classify_by_id(record);
        break;
    default:
        now_ns += record->payload_length ? record->payload[0] * (uint64_t)1000000 : 0;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!side.is_ready) {
        start();
    }
    engine_host host = {side_tell, side_drop, pause_node, check_answer, take_ready, take_model, take_change, NULL};
    now_ns = 1000000000;
    requests = ready_nodes = changes_begun = 0;
    changes_left = CHANGES_MAX;
    engine_options options = {
        .deadline_ns = DEADLINE_MS * (uint64_t)1000000, .predictor = classify_with, .confidence = threshold};
    FUZZ_CHECK(engine_new(&reception, &served, lines, &options, &host) == ERR_OK, "%s", err_text());
    fuzz_record record;
    for (size_t at = 0; fuzz_next_record(data, size, &at, &record);) {
        happen(&record);
        if ((record.control >> 2) % OPERATIONS != FRAME_ALONE) {
            settle();
        }
    }
    now_ns += DEADLINE_MS * (uint64_t)1000000;
    settle();
    for (uint32_t i = 0; i < requests; i++) {
        FUZZ_CHECK(answers[i] == 1, "request %u of %u has %u answers", i, requests, answers[i]);
    }
    side_close_all();
    FUZZ_CHECK(ready_nodes == 0, "%u nodes are ready without a connection", ready_nodes);
    engine_free(reception);
    return 0;
}
