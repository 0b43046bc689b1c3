/* The training loop: what it asks of the encoders, in which order, and what it makes of answers that do not fit. The
 * encoders are made up: they put out the same for every sample. */
#include "decoder_server/train/train_loop.h"

#include "base/log.h"
#include "bits/pack.h"
#include "experiment/load.h"
#include "tests/lib/folder.h"
#include "tests/lib/some_labels.h"

#include <math.h>

enum { PORTIONS = 2, BITS = 4, ROWS_MAX = 16 };

static const char text[] = "name: tiny\n"
                           "dataset: {name: mnist, partition: slices, portions: 2}\n"
                           "encoder: {net: simple-1d, hidden: 4, bits: 4}\n"
                           "decoder: {net: linear}\n"
                           "classifier: {net: mnist, hidden: 8}\n"
                           "optimiser: {kind: adam, learning_rate: 0.001}\n"
                           "training: {epochs: 2, batch_size: 4, seed: 1}\n";

static struct {
    run_dir run;
    train_loop *loop;
    char asked[128]; /* a letter a call of the host */
    message_type answer;
    uint64_t step;
    uint32_t rows;
    Fewbit__Phase phase;
    float output;           /* of all encoders */
    const char *save_error; /* of portion 1 */
    bool is_over;
} at;

static void note(char letter) {
    size_t length = strlen(at.asked);
    assert_true(length + 1 < sizeof at.asked);
    at.asked[length] = letter;
}

/* T: a batch to train on; S, H: soft outputs, codes of test samples; P: soft outputs that prove a checkpoint. */
static char letter_of(const Fewbit__Batch *b) {
    return b->phase == FEWBIT__PHASE__PHASE_TRAIN     ? 'T'
           : b->phase == FEWBIT__PHASE__PHASE_ROUNDED ? 'H'
           : b->split == FEWBIT__SPLIT__SPLIT_TEST    ? 'S'
                                                      : 'P';
}

static void ask(void *context, message_type type, const ProtobufCMessage *body, message_type answer) {
    (void)context;
    at.answer = answer ? answer : at.answer;
    const message_body what = {.any = body};
    if (type == MESSAGE_BATCH) {
        at.step = what.batch->step;
        at.rows = what.batch->count;
        at.phase = what.batch->phase;
        assert_true(at.rows > 0 && at.rows <= ROWS_MAX);
    }
    note(type == MESSAGE_BATCH ? letter_of(what.batch) : type == MESSAGE_SAVE ? 'V' : 'C');
}

static void restore(void *context, uint64_t step, const uint8_t (*digests)[SHA256_BYTES]) {
    (void)context, (void)step, (void)digests;
    at.answer = MESSAGE_READY;
    note('R');
}

static void take_gradient(void *context, uint32_t portion, uint64_t step, const float *gradient, uint32_t rows) {
    (void)context;
    assert_true(portion < PORTIONS && step + 1 == train_loop_position(at.loop)->step && rows == 4);
    assert_true(isfinite(gradient[0]));
    note('G');
}

static void show(void *context, const train_loop_progress *p) {
    (void)context;
    assert_true(p->batch <= p->batches && p->accuracy >= 0 && p->accuracy <= 100);
}

static void over(void *context) {
    (void)context;
    at.is_over = true;
}

static void open_loop(void) {
    experiment e;
    log_choose_level("none");
    memset(&at, 0, sizeof at);
    at.output = 0.25f;
    train_loop_host host = {ask, restore, take_gradient, show, over, NULL};
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    assert_int_equal(run_dir_create(&at.run, in_folder("run"), &e, some_labels(&e), NULL), ERR_OK);
    assert_int_equal(train_loop_new(&at.loop, &at.run, some_labels(&e), NULL, NULL, false, &host), ERR_OK);
}

static void close_loop(void) {
    train_loop_free(at.loop);
    run_dir_close(&at.run);
}

static train_loop_verdict answer_outputs(uint32_t k) {
    float soft[ROWS_MAX * BITS];
    Fewbit__Activations a = FEWBIT__ACTIVATIONS__INIT;
    for (uint32_t i = 0; i < at.rows * BITS; i++) {
        soft[i] = at.output;
    }
    a.step = at.step;
    a.phase = at.phase;
    a.count = at.rows;
    a.soft = (ProtobufCBinaryData){at.rows * BITS * sizeof *soft, (uint8_t *)soft};
    return train_loop_take(at.loop, k, &(message){MESSAGE_ACTIVATIONS, {.activations = &a}});
}

static train_loop_verdict answer_codes(uint32_t k) {
    static uint8_t zeroes[ROWS_MAX * BITS];
    Fewbit__Codes c = FEWBIT__CODES__INIT;
    c.model = (uint32_t)at.step;
    c.more = at.rows - 1;
    c.bits = (ProtobufCBinaryData){pack_bytes(at.rows * BITS), zeroes};
    return train_loop_take(at.loop, k, &(message){MESSAGE_CODES, {.codes = &c}});
}

static train_loop_verdict answer_saved(uint32_t k) {
    uint8_t digest[SHA256_BYTES] = {(uint8_t)k};
    Fewbit__Saved s = FEWBIT__SAVED__INIT;
    s.step = at.step;
    s.digest = (ProtobufCBinaryData){sizeof digest, digest};
    s.error = k == 1 && at.save_error ? (char *)(uintptr_t)at.save_error : s.error;
    return train_loop_take(at.loop, k, &(message){MESSAGE_SAVED, {.saved = &s}});
}

static train_loop_verdict answer(uint32_t k) {
    return at.answer == MESSAGE_ACTIVATIONS ? answer_outputs(k)
           : at.answer == MESSAGE_CODES     ? answer_codes(k)
           : at.answer == MESSAGE_SAVED     ? answer_saved(k)
                                            : TRAIN_LOOP_FITS;
}

/* Work, or else everybody's answer, until `letter` was asked for so many times, or it is over. */
static void go_on_until(char letter, int times) {
    for (;;) {
        int count = 0;
        for (const char *c = at.asked; *c; c++) {
            count += *c == letter;
        }
        if (at.is_over || count >= times) {
            return;
        }
        if (train_loop_has_work(at.loop)) {
            train_loop_work(at.loop);
            continue;
        }
        for (uint32_t k = 0; k < PORTIONS; k++) {
            assert_int_equal(answer(k), TRAIN_LOOP_FITS);
        }
        train_loop_answered(at.loop);
    }
}

/* All codes are zeroes, so all samples are taken for one class: one in two is right, or none. */
static void assert_metrics_are_of_the_codes(void) {
    const manifest_evaluation *last = &at.run.manifest.evaluations[at.run.manifest.evaluation_count - 1];
    assert_non_null(last->metrics);
    json_t *j = json_loads(last->metrics, 0, NULL), *test = json_object_get(j, "test");
    json_t *confusion = json_object_get(test, "confusion");
    json_int_t right = 0, all = 0;
    for (size_t i = 0; i < 10; i++) {
        right += json_integer_value(json_array_get(json_array_get(confusion, i), i));
        for (size_t k = 0; k < 10; k++) {
            all += json_integer_value(json_array_get(json_array_get(confusion, i), k));
        }
    }
    assert_true(100.0 * (double)right / 8 == last->rounded && all == 8);
    assert_null(json_object_get(j, "validation"));
    json_decref(j);
}

/* A step's gradients go out before the next batch is asked for, that before the head's update; a checkpoint is
 * committed only once every encoder has restored its part and puts out the same. */
static void it_asks_in_order(void **state) {
    (void)state;
    err outcome;
    open_loop();
    assert_false(train_loop_has_work(at.loop));
    train_loop_go_back(at.loop);
    assert_true(train_loop_work_is_long(at.loop));
    go_on_until('G', 2);
    assert_string_equal(at.asked, "RCTGGT");
    assert_true(train_loop_update_tasks(at.loop) > 0 && !train_loop_work_is_long(at.loop));
    go_on_until('O', 1);
    assert_string_equal(at.asked, "RCTGGTGGSHPVRPCTGGTGGSHPVRPC");
    assert_true(train_loop_is_over(at.loop, &outcome) && outcome == ERR_OK);
    assert_true(run_dir_has_result(&at.run) && at.run.manifest.last.position.step == 4);
    assert_metrics_are_of_the_codes();
    close_loop();
}

/* The training goes on, and says at its end that the last checkpoint is missing. */
static void a_part_that_is_not_written_commits_nothing(void **state) {
    (void)state;
    err outcome;
    open_loop();
    at.save_error = "no room";
    train_loop_go_back(at.loop);
    go_on_until('O', 1);
    assert_string_equal(at.asked, "RCTGGTGGSHPVCTGGTGGSHPVC");
    assert_true(train_loop_is_over(at.loop, &outcome) && outcome == ERR_IO && strstr(err_text(), "portion 1: no room"));
    assert_false(at.run.manifest.has_commit || run_dir_has_result(&at.run));
    close_loop();
}

static void outputs_that_do_not_fit(void **state) {
    (void)state;
    open_loop();
    train_loop_go_back(at.loop);
    go_on_until('T', 1);
    at.output = 1.5f;
    assert_int_equal(answer_outputs(0), TRAIN_LOOP_DOES_NOT_FIT);
    at.output = NAN;
    assert_int_equal(answer_outputs(0), TRAIN_LOOP_NO_NUMBER);
    at.output = 0.25f;
    at.rows++;
    assert_int_equal(answer_outputs(0), TRAIN_LOOP_DOES_NOT_FIT);
    at.rows--;
    at.step++;
    assert_int_equal(answer_outputs(0), TRAIN_LOOP_DOES_NOT_FIT);
    at.step--;
    assert_int_equal(answer_outputs(0), TRAIN_LOOP_FITS);
    go_on_until('P', 2);
    at.output = 0.75f;
    assert_int_equal(answer_outputs(0), TRAIN_LOOP_DIFFERS);
    close_loop();
}

/* One is lost in the middle of an epoch: from the last commit on all is asked for again. */
static void it_goes_back_to_the_last_commit(void **state) {
    (void)state;
    open_loop();
    train_loop_go_back(at.loop);
    go_on_until('T', 4);
    assert_int_equal(train_loop_position(at.loop)->step, 3);
    train_loop_wait(at.loop);
    assert_false(train_loop_has_work(at.loop));
    train_loop_go_back(at.loop);
    memset(at.asked, 0, sizeof at.asked);
    go_on_until('T', 1);
    assert_string_equal(at.asked, "RCT");
    assert_int_equal(at.step, 2);
    assert_int_equal(at.run.manifest.evaluation_count, 1);
    close_loop();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(it_asks_in_order),
        IN_FOLDER(a_part_that_is_not_written_commits_nothing),
        IN_FOLDER(outputs_that_do_not_fit),
        IN_FOLDER(it_goes_back_to_the_last_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
