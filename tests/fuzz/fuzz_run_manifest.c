/* A run's manifest.json beside a good experiment.yaml and a good head: a run that opens can be committed and opens
 * again as it was; and training goes on from it, or is refused.
 *
 * Input: manifest.json; in it, RUNRUNRUNRUNRUN! stands for the run's id, and sixty-four times H for the digest of
 * head/step-2.safetensors. */
#define FUZZ_MUTATIONS 500
#include "decoder_server/train/coordinator.h"

#include "tests/lib/fuzz/replay.h"
#include "tests/lib/fuzz/small_run.h"

#include <cblas.h>
#include <inttypes.h>

static const char head_path[] = "run/head/step-2.safetensors";

static struct {
    char id[20], digest[SHA256_HEX], id_mark[20], digest_mark[SHA256_HEX];
    uint8_t *bytes;
    size_t length;
} head;

static void make_run(void) {
    run_dir r;
    openblas_set_num_threads(1);
    small_committed_run(&r, fuzz_path("run"));
    snprintf(head.id, sizeof head.id, "%016" PRIx64, r.id);
    sha256_hex(r.manifest.last.head, head.digest);
    snprintf(head.id_mark, sizeof head.id_mark, "RUNRUNRUNRUNRUN!");
    memset(head.digest_mark, 'H', SHA256_HEX - 1);
    FUZZ_CHECK(file_read(fuzz_path(head_path), 1 << 20, &head.bytes, &head.length) == ERR_OK, "%s", err_text());
    run_dir_close(&r);
}

/* Both texts are equally long. */
static void fill_in(char *text, size_t size, const char *mark, const char *value) {
    char *at;
    while ((at = memmem(text, size, mark, strlen(mark)))) {
        memcpy(at, value, strlen(mark));
    }
}

static void write_manifest(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    FUZZ_CHECK(text, "no memory");
    memcpy(text, data, size);
    fill_in(text, size, head.id_mark, head.id);
    fill_in(text, size, head.digest_mark, head.digest);
    fuzz_write(fuzz_path("run/manifest.json"), text, size);
    /* as if no input had been before: a commit of another step removes the head, the end of a training leaves a result
     */
    fuzz_write(fuzz_path(head_path), head.bytes, head.length);
    unlink(fuzz_path("run/result.json"));
    free(text);
}

static bool is_same_commit(const manifest_commit *a, const manifest_commit *b) {
    return a->position.step == b->position.step && a->position.epoch == b->position.epoch &&
           a->position.batch == b->position.batch && a->position.evaluations == b->position.evaluations &&
           a->position.loss_sum == b->position.loss_sum && a->position.correct == b->position.correct &&
           a->position.seen == b->position.seen && memcmp(a->head, b->head, sizeof a->head) == 0 &&
           memcmp(a->encoders, b->encoders, SMALL_PORTIONS * sizeof a->encoders[0]) == 0;
}

/* The manifest names as many encoders as there are portions, whatever else it says. */
static void check_encoders(void) {
    json_t *j = json_load_file(fuzz_path("run/manifest.json"), 0, NULL);
    const json_t *encoders = json_object_get(json_object_get(j, "last"), "encoders");
    FUZZ_CHECK(json_array_size(encoders) == SMALL_PORTIONS, "%zu encoders", json_array_size(encoders));
    json_decref(j);
}

static void check_commit(run_dir *r) {
    run_dir again;
    const manifest_commit *served;
    FUZZ_CHECK(run_dir_served_commit(r, &served) == ERR_OK, "%s", err_text());
    if (r->manifest.evaluation_count > 0) {
        FUZZ_CHECK(manifest_final(&r->manifest)->epoch == manifest_final(&r->manifest)->epoch,
                   "an epoch that is no number");
    }
    manifest_commit last = r->manifest.last;
    FUZZ_CHECK(run_dir_commit(r, &last, false) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(run_dir_open(&again, fuzz_path("run")) == ERR_OK, "%s", err_text());
    FUZZ_CHECK(is_same_commit(&again.manifest.last, &r->manifest.last), "the last commit differs");
    FUZZ_CHECK(again.manifest.has_best == r->manifest.has_best &&
                   (!r->manifest.has_best || is_same_commit(&again.manifest.best, &r->manifest.best)),
               "the best commit differs");
    FUZZ_CHECK(again.manifest.evaluation_count == r->manifest.evaluation_count, "%u evaluations, not %u",
               again.manifest.evaluation_count, r->manifest.evaluation_count);
    run_dir_close(&again);
}

/* The batch to train on, as the nodes were told. */
static struct {
    uint64_t step;
    uint32_t rows;
} asked;

static void hear(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    (void)context, (void)portion;
    const message_body what = {.any = body};
    if (type == MESSAGE_BATCH && what.batch->phase == FEWBIT__PHASE__PHASE_TRAIN) {
        asked.step = what.batch->step;
        asked.rows = what.batch->count;
        FUZZ_CHECK(asked.rows > 0 && asked.rows <= SMALL_BATCH, "a batch of %u", asked.rows);
    }
}

static void drop_nobody(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context, (void)portion;
    FUZZ_CHECK(reason == FEWBIT__REASON__REASON_OVER, "a node is dropped: %s", text);
}

static void no_traffic(void *context, uint32_t portion, traffic_counters *counters) {
    (void)context, (void)portion;
    *counters = (traffic_counters){0};
}

static void show_nothing(void *context, const train_loop_progress *p) {
    (void)context, (void)p;
}

static void work(coordinator *c) {
    while (train_loop_has_work(coordinator_loop(c))) {
        train_loop_work(coordinator_loop(c));
    }
}

/* One step of training from where the run says it stands, where it can be. */
static void go_on(run_dir *r) {
    static const uint8_t soft[SMALL_BATCH * SMALL_BITS * sizeof(float)];
    coordinator *c;
    coordinator_host host = {hear, drop_nobody, no_traffic, show_nothing, NULL};
    err e = coordinator_new(&c, r, small_labels(), NULL, NULL, false, &host);
    fuzz_check_told(e);
    if (e) {
        return;
    }
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    Fewbit__Activations activations = FEWBIT__ACTIVATIONS__INIT;
    asked.rows = 0;
    for (uint32_t k = 0; k < SMALL_PORTIONS; k++) {
        coordinator_joined(c, k, "node");
    }
    work(c);
    ready.step = r->manifest.last.position.step;
    for (uint32_t k = 0; k < SMALL_PORTIONS; k++) {
        coordinator_receive(c, k, &(message){MESSAGE_READY, {.ready = &ready}});
    }
    work(c);
    activations.step = asked.step;
    activations.count = asked.rows;
    activations.soft = (ProtobufCBinaryData){asked.rows * SMALL_BITS * sizeof(float), (uint8_t *)(uintptr_t)soft};
    for (uint32_t k = 0; k < SMALL_PORTIONS && asked.rows > 0; k++) {
        coordinator_receive(c, k, &(message){MESSAGE_ACTIVATIONS, {.activations = &activations}});
    }
    work(c);
    err outcome;
    if (train_loop_is_over(coordinator_loop(c), &outcome)) {
        fuzz_check_told(outcome);
    }
    coordinator_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!head.bytes) {
        make_run();
    }
    write_manifest(data, size);
    run_dir r;
    err e = run_dir_open(&r, fuzz_path("run"));
    fuzz_check_told(e);
    if (e) {
        FUZZ_CHECK(!r.manifest.evaluations, "something is left after an error");
        return 0;
    }
    FUZZ_CHECK(r.manifest.has_commit, "a manifest without a commit is good");
    check_encoders();
    go_on(&r);
    check_commit(&r);
    run_dir_close(&r);
    return 0;
}
