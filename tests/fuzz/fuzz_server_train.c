/* A training server whose nodes attack it: the frames of the input go to a real registry and a real coordinator.
 *
 * Input: records. The first one's control byte chooses how the run is made, its frame does not count. Of the
 * others, control bits 0 and 1 are the connection; bit 2: it goes down, in place of the frame; bit 3: what
 * the server says of the frame stays on its way until the next one is in. */
#define FUZZ_HAS_RECORDS
#define FUZZ_MUTATIONS 300
#include "tests/lib/fuzz/replay.h"

#include "decoder_server/train/coordinator.h"
#include "experiment/derive.h"
#include "experiment/serialize.h"
#include "tests/lib/fuzz/server_side.h"
#include "tests/lib/fuzz/small_run.h"

#include <cblas.h>

enum { CONNECTION = 3, DOWN = 4, LATER = 8 };
enum { STRAIGHT_THROUGH = 1, KEEPS_BEST = 2, SAVES_OFTEN = 4, TESTS_OFTEN = 8, VARIANTS = 16, RESUMES = 16 };

static coordinator *leader;

static void traffic(void *context, uint32_t portion, traffic_counters *counters) {
    (void)context;
    node_registry_traffic(side.node_registry, portion, counters);
}

static void check_progress(void *context, const train_loop_progress *p) {
    (void)context;
    FUZZ_CHECK(p->batch <= p->batches && p->accuracy >= 0 && p->accuracy <= 100, "batch %u of %u, accuracy %f",
               p->batch, p->batches, p->accuracy);
}

static void on_joined(void *context, uint32_t portion, const char *name) {
    (void)context;
    FUZZ_CHECK(portion < SMALL_PORTIONS, "portion %u joined", portion);
    coordinator_joined(leader, portion, name);
}

static void on_left(void *context, uint32_t portion) {
    (void)context;
    coordinator_left(leader, portion);
}

static void on_message(void *context, uint32_t portion, const message *m) {
    (void)context;
    coordinator_receive(leader, portion, m);
}

/* As after each frame. */
static void work(void) {
    while (train_loop_has_work(coordinator_loop(leader))) {
        train_loop_work(coordinator_loop(leader));
    }
}

static void settle(void) {
    do {
        work();
    } while (side_turn());
    work();
}

/* The variants of the run, and the registries of each: they hold megabytes, so they are kept, without a connection. */
static struct variant {
    experiment experiment;
    uint64_t run;
    run_identity data;
    node_registry *node_registry;
} variants[VARIANTS];

static void make_variant(struct variant *v, uint8_t how) {
    v->experiment = small_experiment();
    experiment *e = &v->experiment;
    e->encoder.binarize = how & STRAIGHT_THROUGH ? PRESET_STRAIGHT_THROUGH : PRESET_AFTER_TRAINING;
    FUZZ_CHECK(experiment_fill_portions(e) == ERR_OK, "%s", err_text());
    e->dataset.validation = how & KEEPS_BEST ? 3 : 0;
    e->training.keep_best = how & KEEPS_BEST;
    e->training.early_stopping_patience = how & KEEPS_BEST ? 1 : 0;
    e->training.checkpoint_every = how & SAVES_OFTEN ? 1 : 0;
    e->training.evaluate_every = how & TESTS_OFTEN ? 1 : 0;
    char text[EXPERIMENT_TEXT_MAX];
    size_t length;
    FUZZ_CHECK(experiment_serialize(e, text, &length) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(experiment_identify(e, small_labels(), &v->data) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(run_identity_seal(&v->data, text, length) == ERR_OK, "%s", err_text());
    v->run = v->data.run;
    node_registry_config config = {
        .experiment = e, .run = v->run, .mode = FEWBIT__MODE__MODE_TRAIN, .heartbeat_ms = 1000, .data = &v->data};
    node_registry_events events = {on_joined, on_left, on_message, NULL};
    FUZZ_CHECK(node_registry_new(&v->node_registry, &config, &side_host, &events) == ERR_OK, "%s", err_text());
}

static void make_run(run_dir *r, uint8_t how) {
    struct variant *v = &variants[how % VARIANTS];
    if (!v->node_registry) {
        make_variant(v, how);
    }
    side.node_registry = v->node_registry;
    FUZZ_CHECK(run_dir_create(r, fuzz_path("run"), &v->experiment, small_labels(), NULL) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(r->id == v->run, "the run's id is another one");
}

static void open_server(run_dir *r) {
    coordinator_host host = {side_tell, side_drop, traffic, check_progress, NULL};
    FUZZ_CHECK(coordinator_new(&leader, r, small_labels(), NULL, NULL, true, &host) == ERR_OK, "%s", err_text());
}

static void close_server(void) {
    side_close_all();
    coordinator_free(leader);
}

/* The result of a training that has come to its end names both nodes, whatever they are called. */
static void check_result(void) {
    json_error_t problem;
    json_t *j = json_load_file(fuzz_path("run/result.json"), 0, &problem);
    FUZZ_CHECK(j, "result.json: %s", problem.text);
    const json_t *nodes = json_object_get(j, "nodes");
    FUZZ_CHECK(json_array_size(nodes) == SMALL_PORTIONS, "%zu nodes", json_array_size(nodes));
    for (size_t k = 0; k < SMALL_PORTIONS; k++) {
        FUZZ_CHECK(json_string_value(json_object_get(json_array_get(nodes, k), "name")), "node %zu has no name", k);
    }
    FUZZ_CHECK(json_array_size(json_object_get(j, "history")) > 0, "no history");
    json_decref(j);
}

/* Whatever the nodes did, the folder holds a run, and it can be gone on with. */
static void check_left_behind(uint64_t id, bool has_commit) {
    run_dir again;
    FUZZ_CHECK(run_dir_open(&again, fuzz_path("run")) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(again.id == id && again.manifest.has_commit == has_commit, "the run's folder holds another run");
    open_server(&again);
    close_server();
    run_dir_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_record record;
    size_t at = 0;
    if (!fuzz_next_record(data, size, &at, &record)) {
        return 0;
    }
    if (!side.is_ready) {
        openblas_set_num_threads(1);
        side_start();
    }
    run_dir r;
    err outcome;
    bool is_over = false;
    uint8_t how = record.control;
    make_run(&r, how);
    open_server(&r);
    while (fuzz_next_record(data, size, &at, &record)) {
        side_connection *c = &side.connections[record.control & CONNECTION];
        if (!(record.control & DOWN)) {
            side_frame(record.control & CONNECTION, &record);
        } else if (c->number) {
            side_go_down(c);
        }
        work();
        if (!(record.control & LATER)) {
            settle();
        }
        if (!is_over && train_loop_is_over(coordinator_loop(leader), &outcome)) {
            is_over = true;
            if (outcome == ERR_OK) {
                check_result();
            } else { /* a node that twice does not restore what it says it saved: named */
                FUZZ_CHECK(outcome == ERR_REFUSED && strstr(err_text(), "has restored another encoder"),
                           "an attacking node ended the training: %s", err_text());
            }
        }
    }
    close_server();
    if (how & RESUMES) {
        check_left_behind(r.id, r.manifest.has_commit);
    }
    run_dir_close(&r);
    temporary_remove(fuzz_path("run"));
    return 0;
}
