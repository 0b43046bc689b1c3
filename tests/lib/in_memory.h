/* Nodes joined to a coordinator or an engine by memory, as decoder_server/train/train_inproc.c does it: every message
 * is packed to a frame and unpacked again. The sizes are those of the paper's row 1, the samples are made up. */
#ifndef FEWBIT_TESTS_LIB_IN_MEMORY_H
#define FEWBIT_TESTS_LIB_IN_MEMORY_H

#include "base/log.h"
#include "decoder_server/serve/engine.h"
#include "decoder_server/train/coordinator.h"
#include "encoder_node/node_protocol.h"
#include "experiment/derive.h"
#include "experiment/serialize.h"
#include "experiment/validate.h"
#include "tests/lib/folder.h"
#include "tests/lib/portion_info.h"
#include "wire/inproc.h"

enum { NODES = 4, PIXELS = 784, ELEMENTS = PIXELS / NODES, TRAIN_SAMPLES = 2000, TEST_SAMPLES = 1000, BATCH = 20 };

typedef struct node {
    portion *data;
    node_protocol *protocol;
    inproc in, out;
    arena unpacked;
    char state[FILE_PATH_MAX];
} node;

typedef struct fleet {
    run_dir run;
    labels labels;
    thread_pool *pool;
    node nodes[NODES];
    node *busy[NODES];
    size_t tasks; /* of the coordinator, in this round */
    coordinator *coordinator;
    results *results;
    engine *engine;
    arena unpacked;
    uint64_t now_ns, answers, steps;
    uint32_t ready;
    classification last;
} fleet;

static inline bool receive_next(inproc *from, arena *a, message *m) {
    size_t size;
    assert_int_equal(inproc_receive(from, a, m, &size), ERR_OK);
    return size > 0;
}

/* What the server's side is told to do. */

static void tell_node(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    inproc_send(&((fleet *)context)->nodes[portion].in, type, body);
}

static void drop_node(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context;
    if (reason != FEWBIT__REASON__REASON_OVER) {
        fail_msg("portion %u is dropped: %s", portion, text);
    }
}

static void no_traffic(void *context, uint32_t portion, traffic_counters *counters) {
    (void)context, (void)portion;
    *counters = (traffic_counters){0};
}

static void note_progress(void *context, const train_loop_progress *p) {
    ((fleet *)context)->steps = p->steps;
}

static void pause_nobody(void *context, uint32_t portion, bool paused) {
    (void)context, (void)portion;
    assert_false(paused);
}

static void take_answer(void *context, uint64_t request, const classification *a) {
    fleet *f = context;
    assert_int_equal(request, f->answers);
    f->answers++;
    f->last = *a;
}

static void take_ready(void *context, uint32_t nodes) {
    ((fleet *)context)->ready = nodes;
}

static void send_up(void *context, message_type type, const ProtobufCMessage *body) {
    inproc_send(&((node *)context)->out, type, body);
}

/* One round: the nodes with mail and the head's update side by side, then the nodes' answers. */

static inline void run_node(node *n) {
    message m;
    while (receive_next(&n->in, &n->unpacked, &m)) {
        node_protocol_verdict prediction = node_protocol_receive(n->protocol, &m);
        if (prediction != NODE_PROTOCOL_GO_ON && prediction != NODE_PROTOCOL_OVER) {
            fail_msg("a node refuses: %s", err_text());
        }
    }
    node_serve_flush(node_protocol_serve(n->protocol));
}

static void round_task(void *context, size_t task) {
    fleet *f = context;
    if (task < f->tasks) {
        train_loop_update_task(coordinator_loop(f->coordinator), task);
    } else {
        run_node(f->busy[task - f->tasks]);
    }
}

/* What stands ready at the coordinator; its update only if it is not to run beside the nodes. */
static inline void work(fleet *f, bool updates) {
    while (f->coordinator && train_loop_has_work(coordinator_loop(f->coordinator)) &&
           (updates || train_loop_update_tasks(coordinator_loop(f->coordinator)) == 0)) {
        train_loop_work(coordinator_loop(f->coordinator));
    }
}

static inline void deliver_answers(fleet *f, uint32_t k) {
    node *n = &f->nodes[k];
    message m;
    while (receive_next(&n->out, &f->unpacked, &m)) {
        if (f->engine) {
            engine_receive(f->engine, k, &m, f->now_ns);
        } else {
            work(f, true);
            coordinator_receive(f->coordinator, k, &m);
        }
    }
}

static inline void run_round(fleet *f) {
    work(f, false);
    size_t busy = 0;
    for (uint32_t k = 0; k < NODES; k++) {
        if (!inproc_is_empty(&f->nodes[k].in)) {
            f->busy[busy++] = &f->nodes[k];
        }
    }
    f->tasks = f->coordinator ? train_loop_update_tasks(coordinator_loop(f->coordinator)) : 0;
    thread_pool_run(f->pool, round_task, f, f->tasks + busy);
    if (f->tasks > 0) {
        train_loop_update_done(coordinator_loop(f->coordinator));
    }
    for (uint32_t k = 0; k < NODES; k++) {
        deliver_answers(f, k);
    }
}

/* Making it. */

static inline experiment row_1(preset_binarize decision) {
    experiment e = {
        .name = "in-memory",
        .dataset = {.evaluate_test = true,
                    .name = "mnist",
                    .partition = PARTITION_SLICES,
                    .portions = NODES,
                    .mean = 0.1307f,
                    .std = 0.3081f},
        .encoder = {.net = PRESET_SIMPLE_1D, .hidden = 200, .bits = 4, .batch_norm = true, .binarize = decision},
        .classifier = {.net = PRESET_MNIST, .hidden = 1000},
        .loss = {.quantization = decision == PRESET_AFTER_TRAINING ? 0.5f : 0.0f},
        .optimiser = {.kind = NN_ADAM, .learning_rate = 0.001f},
        .training = {.epochs = 1, .batch_size = BATCH, .seed = 1},
    };
    e.encoder.activation = decision == PRESET_AFTER_TRAINING ? PRESET_RESIGMOID : PRESET_SIGMOID;
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    assert_int_equal(experiment_validate(&e, NULL), ERR_OK);
    return e;
}

static inline void open_node(fleet *f, uint32_t k) {
    static uint8_t train[TRAIN_SAMPLES * ELEMENTS], test[TEST_SAMPLES * ELEMENTS];
    node *n = &f->nodes[k];
    char name[32];
    n->in = inproc_make();
    n->out = inproc_make();
    for (size_t i = 0; i < sizeof train; i++) {
        train[i] = (uint8_t)(i * 31 + k * 7 + i / 977);
    }
    memcpy(test, train, sizeof test);
    portion_info info =
        info_of_portion((partition){PARTITION_SLICES, NODES, 1, 28, 28}, k, TRAIN_SAMPLES, TEST_SAMPLES);
    snprintf(name, sizeof name, "node-%u", k);
    assert_int_equal(portion_write(in_folder(name), &info, &(portion_contents){.values = {train, test}}), ERR_OK);
    assert_int_equal(portion_open(&n->data, in_folder(name)), ERR_OK);
    assert_int_equal(file_path(n->state, sizeof n->state, "%s/state-%u", folder, k), ERR_OK);
    assert_int_equal(arena_init(&n->unpacked, message_arena_size(FRAME_PAYLOAD_MAX)), ERR_OK);
    node_protocol_config config = {.name = "in memory", .data = n->data, .state = n->state, .streams = true};
    node_host host = {send_up, n};
    assert_int_equal(node_protocol_new(&n->protocol, &config, &host), ERR_OK);
}

static inline void welcome_node(fleet *f, uint32_t k, Fewbit__Mode mode) {
    char text[EXPERIMENT_TEXT_MAX + 1];
    size_t length;
    assert_int_equal(experiment_serialize(&f->run.experiment, text, &length), ERR_OK);
    text[length] = '\0';
    Fewbit__Welcome w = FEWBIT__WELCOME__INIT;
    w.protocol = MESSAGE_PROTOCOL;
    w.run = f->run.id;
    w.training = f->run.identity.training;
    w.mode = mode;
    w.experiment = text;
    node_protocol_disconnected(f->nodes[k].protocol);
    inproc_send(&f->nodes[k].in, MESSAGE_WELCOME, &w.base);
}

static inline void open_fleet(fleet *f, preset_binarize decision, size_t threads) {
    *f = (fleet){.now_ns = 1000000000};
    log_choose_level("none");
    experiment e = row_1(decision);
    f->labels = (labels){.dataset = "mnist",
                         .has_partition = true,
                         .partition = {PARTITION_SLICES, NODES, 1, 28, 28},
                         .portions = some_labels_portions(NODES),
                         .portion_count = NODES,
                         .classes = some_class_names(10),
                         .samples = {TRAIN_SAMPLES, TEST_SAMPLES}};
    for (int split = 0; split < 2; split++) {
        f->labels.values[split] = malloc(f->labels.samples[split]);
        assert_non_null(f->labels.values[split]);
        for (uint32_t i = 0; i < f->labels.samples[split]; i++) {
            f->labels.values[split][i] = (uint8_t)(i % 10);
        }
    }
    assert_non_null(f->labels.portions);
    assert_int_equal(run_dir_create(&f->run, in_folder("run"), &e, &f->labels, NULL), ERR_OK);
    assert_int_equal(thread_pool_new(&f->pool, threads, true), ERR_OK);
    assert_int_equal(arena_init(&f->unpacked, message_arena_size(FRAME_PAYLOAD_MAX)), ERR_OK);
    for (uint32_t k = 0; k < NODES; k++) {
        open_node(f, k);
    }
}

static inline void start_training(fleet *f) {
    coordinator_host host = {tell_node, drop_node, no_traffic, note_progress, f};
    assert_int_equal(coordinator_new(&f->coordinator, &f->run, &f->labels, NULL, f->pool, false, &host), ERR_OK);
    for (uint32_t k = 0; k < NODES; k++) {
        welcome_node(f, k, FEWBIT__MODE__MODE_TRAIN);
        coordinator_joined(f->coordinator, k, "in memory");
    }
}

static inline void train_to_the_end(fleet *f) {
    err outcome;
    while (!train_loop_is_over(coordinator_loop(f->coordinator), &outcome)) {
        run_round(f);
    }
    assert_int_equal(outcome, ERR_OK);
    for (uint32_t k = 0; k < NODES; k++) {
        run_node(&f->nodes[k]); /* what was said last: that the last checkpoint is committed */
    }
    coordinator_free(f->coordinator);
    f->coordinator = NULL;
}

/* The fleet has trained; now it serves, with its results in a file. */
static inline void start_serving(fleet *f, predictor_options with) {
    engine_options options = {.deadline_ns = 1000000000, .predictor = with};
    engine_host host = {tell_node, drop_node, pause_nobody, take_answer, take_ready, NULL, NULL, f}; /* one model */
    assert_int_equal(results_open(&f->results, in_folder("results.jsonl"), &f->labels.classes, NODES), ERR_OK);
    assert_int_equal(engine_new(&f->engine, &f->run, f->results, &options, &host), ERR_OK);
    for (uint32_t k = 0; k < NODES; k++) {
        welcome_node(f, k, FEWBIT__MODE__MODE_SERVE);
        engine_joined(f->engine, k);
    }
    run_round(f); /* Welcome, Restore -> Ready */
    run_round(f); /* Begin */
    assert_int_equal(f->ready, NODES);
}

static inline void close_fleet(fleet *f) {
    coordinator_free(f->coordinator);
    engine_free(f->engine);
    results_close(f->results);
    for (uint32_t k = 0; k < NODES; k++) {
        node *n = &f->nodes[k];
        node_protocol_free(n->protocol);
        portion_close(n->data);
        arena_free(&n->unpacked);
        inproc_free(&n->in);
        inproc_free(&n->out);
    }
    labels_close(&f->labels);
    thread_pool_free(f->pool);
    arena_free(&f->unpacked);
    run_dir_close(&f->run);
}

#endif
