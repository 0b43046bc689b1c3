/* The schedule of a training: which checkpoint is the best, and how long a period took. */
#include "decoder_server/train/schedule.h"

#include "base/clock.h"
#include "base/log.h"
#include "experiment/load.h"
#include "tests/lib/folder.h"
#include "tests/lib/some_labels.h"

#include <math.h>

enum { BATCHES = 10 };

static const char text[] = "name: tiny\n"
                           "dataset: {name: mnist, partition: slices, portions: 2, validation: 100}\n"
                           "encoder: {net: simple-1d, hidden: 4, bits: 4}\n"
                           "decoder: {net: linear}\n"
                           "classifier: {net: mnist, hidden: 8}\n"
                           "optimiser: {kind: adam, learning_rate: 0.001}\n"
                           "training: {epochs: 9, batch_size: 10, seed: 1, keep_best: true}\n";

static void create(run_dir *r) {
    experiment e;
    char path[TEMPORARY_PATH_MAX + 16];
    log_choose_level("none");
    snprintf(path, sizeof path, "%s/run", folder);
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    assert_int_equal(run_dir_create(r, path, &e, some_labels(&e), NULL), ERR_OK);
}

/* An epoch ends with so many percent; its commit fails where there is no room. */
static bool end_epoch(run_dir *r, manifest_position *at, double validation, bool has_room) {
    char error[SCHEDULE_ERROR_MAX] = "";
    manifest_evaluation score = {.validation = validation};
    bool is_best;
    at->step += BATCHES;
    at->batch = BATCHES;
    at->seen = 10 * BATCHES;
    assert_int_equal(schedule_end_period(r, at, BATCHES, &score, &is_best), ERR_OK);
    const manifest_commit next = {.position = *at};
    strcpy(error, has_room ? "" : "no room");
    schedule_commit(r, &next, is_best, error);
    return is_best;
}

static void the_best_is_one_that_is_kept(void **state) {
    (void)state;
    run_dir r;
    manifest_position at = {0};
    create(&r);
    assert_true(end_epoch(&r, &at, 10, true));
    assert_false(end_epoch(&r, &at, 10, true));
    assert_true(end_epoch(&r, &at, 50, false)); /* lost */
    assert_true(end_epoch(&r, &at, 30, true));  /* better than any that is there */
    assert_false(end_epoch(&r, &at, 20, true));
    assert_int_equal(r.manifest.best_evaluation, 3);
    assert_int_equal(r.manifest.best.position.step, 4 * BATCHES);
    assert_true(manifest_final(&r.manifest)->validation == 30);
    run_dir_close(&r);
}

static void a_period_takes_as_long_as_its_parts(void **state) {
    (void)state;
    run_dir r, again;
    manifest_position at = {0};
    create(&r);
    uint64_t since_ns = clock_now_ns() - 3000000000;
    schedule_count_time(&at, &since_ns);
    assert_true(at.seconds >= 3 && at.seconds < 60);
    at.batch = BATCHES;
    at.seconds = 2;
    schedule_advance(&at, BATCHES); /* an epoch without an evaluation */
    assert_int_equal(at.epoch, 1);
    assert_true(at.seconds == 2);
    char error[SCHEDULE_ERROR_MAX] = "";
    const manifest_commit next = {.position = at};
    schedule_commit(&r, &next, false, error);
    assert_int_equal(run_dir_open(&again, r.folder), ERR_OK);
    assert_true(again.manifest.last.position.seconds == 2);
    at.seconds += 5;
    end_epoch(&r, &at, 10, true);
    assert_true(r.manifest.evaluations[0].seconds == 7);
    assert_true(at.seconds == 0);
    run_dir_close(&again);
    run_dir_close(&r);
}

static void open_again(const char *manifest, size_t length, err wanted) {
    run_dir again;
    put("run/manifest.json", manifest, length);
    assert_int_equal(run_dir_open(&again, in_folder("run")), wanted);
    if (wanted) {
        assert_told("run/manifest.json", "");
    } else {
        run_dir_close(&again);
    }
}

/* A commit's numbers are all there, whole where they count, and not below 0: none is taken for 0. */
static void manifests_with_other_numbers(void **state) {
    (void)state;
    static const char *const keys[] = {"step",    "epoch", "batch",    "evaluations",
                                       "correct", "seen",  "loss_sum", "seconds"};
    static const char *const others[] = {"null", "\"1\"", "-1", "1.5", "[]", "9223372036854775807", NULL};
    run_dir r;
    create(&r);
    end_epoch(&r, &(manifest_position){0}, 10, true);
    run_dir_close(&r);
    static char whole[2048], changed[4096];
    FILE *file = fopen(in_folder("run/manifest.json"), "rb");
    assert_non_null(file);
    size_t length = fread(whole, 1, sizeof whole - 1, file);
    assert_true(fclose(file) == 0 && length < sizeof whole - 1);
    open_again(whole, length, ERR_OK);
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        bool is_real = k >= 6, is_large = k == 0 || k == 4 || k == 5;
        for (size_t o = 0; others[o]; o++) {
            char key[32];
            snprintf(key, sizeof key, "\"%s\": ", keys[k]);
            const char *at = strstr(strstr(whole, "\"last\""), key);
            assert_non_null(at);
            at += strlen(key);
            snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - whole), whole, others[o], at + strcspn(at, ",}"));
            bool is_good = (is_real && (o == 2 || o == 3 || o == 5)) || (is_large && o == 5);
            open_again(changed, strlen(changed), is_good ? ERR_OK : ERR_INPUT);
        }
    }
}

/* What a run's file has no room for goes, the oldest first, and the rest can be opened: sizes of 64 encoders of 64 bits
 * and 3,000 evaluations. */
static void long_trainings_can_be_opened(void **state) {
    (void)state;
    enum { EVALUATIONS = 40, NUMBERS = 200000 };
    run_dir r, again;
    manifest_position at = {0};
    create(&r);
    for (int i = 0; i < EVALUATIONS; i++) {
        json_t *numbers = json_array();
        for (int n = 0; n < NUMBERS; n++) {
            assert_int_equal(json_array_append_new(numbers, json_integer(10000000 + n)), 0);
        }
        manifest_evaluation score = {.encoders = json_dumps(numbers, 0), .validation = i == 3 ? 90 : 10};
        json_decref(numbers);
        bool is_best;
        char error[SCHEDULE_ERROR_MAX] = "";
        at.step += BATCHES;
        at.batch = BATCHES;
        at.seen = 1;
        assert_int_equal(schedule_end_period(&r, &at, BATCHES, &score, &is_best), ERR_OK);
        if (i == 3 || i + 1 == EVALUATIONS) {
            schedule_commit(&r, &(manifest_commit){.position = at}, is_best, error);
            assert_string_equal(error, "");
        }
    }
    assert_int_equal(run_dir_open(&again, in_folder("run")), ERR_OK);
    assert_int_equal(again.manifest.evaluation_count, EVALUATIONS);
    assert_true(again.manifest.best_evaluation == 3 && again.manifest.evaluations[3].encoders);
    assert_non_null(again.manifest.evaluations[EVALUATIONS - 1].encoders);
    assert_null(again.manifest.evaluations[0].encoders);
    run_dir_close(&again);
    run_dir_close(&r);
}

/* The metrics by class are kept of what stands for the run: the last evaluation, the best one and that of the last
 * commit, to which training may go back. The log's and the history's entries have none. */
static void metrics_are_kept_of_what_counts(void **state) {
    (void)state;
    static const int validation[] = {10, 50, 40, 30, 20}, commits[] = {1, 1, 1, 0, 0};
    run_dir r, again;
    manifest_position at = {0};
    create(&r);
    for (int i = 0; i < 5; i++) {
        char text_of_metrics[64], error[SCHEDULE_ERROR_MAX] = "";
        snprintf(text_of_metrics, sizeof text_of_metrics, "{\"test\":{\"samples\":%d}}", i);
        manifest_evaluation score = {.metrics = strdup(text_of_metrics), .validation = validation[i]};
        bool is_best;
        at.step += BATCHES;
        at.batch = BATCHES;
        at.seen = 1;
        assert_int_equal(schedule_end_period(&r, &at, BATCHES, &score, &is_best), ERR_OK);
        if (commits[i]) {
            schedule_commit(&r, &(manifest_commit){.position = at}, is_best, error);
        }
    }
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(r.manifest.evaluations[i].metrics != NULL, i == 1 || i == 2 || i == 4);
    }
    json_t *result = schedule_result(&r, &at), *final = json_object_get(result, "final");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(final, "test"), "samples")), 1);
    assert_null(json_object_get(final, "metrics"));
    for (size_t i = 0; i < 5; i++) {
        assert_null(json_object_get(json_array_get(json_object_get(result, "history"), i), "metrics"));
    }
    json_decref(result);
    assert_int_equal(run_dir_open(&again, in_folder("run")), ERR_OK);
    assert_string_equal(again.manifest.evaluations[1].metrics, "{\"test\":{\"samples\":1}}");
    assert_string_equal(again.manifest.evaluations[2].metrics, "{\"test\":{\"samples\":2}}");
    assert_null(again.manifest.evaluations[0].metrics);
    run_dir_close(&again);
    run_dir_close(&r);
    size_t length;
    uint8_t *log = bytes_of("run/log.jsonl", &length);
    assert_non_null(memmem(log, length, "evaluated", 9));
    assert_null(memmem(log, length, "metrics", 7));
    free(log);
}

/* Before the first update the learning rate has done nothing. */
static void the_learning_rate_is_blamed_where_it_can_be(void **state) {
    (void)state;
    for (uint64_t step = 0; step < 3; step++) {
        manifest_position at = {.step = step};
        assert_int_equal(schedule_check_loss(&at, 1), ERR_OK);
        assert_int_equal(schedule_check_loss(&at, (double)NAN), ERR_INPUT);
        assert_true(!strstr(err_text(), "learning rate") == (step == 0));
        assert_true(!strstr(err_text(), "classifier.weights") == (step > 0));
    }
}

/* Whatever differs between the labels and the experiment, the message tells it: what is wanted is not what is there. */
static void labels_that_do_not_fit(void **state) {
    (void)state;
    experiment e;
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    labels whole = *some_labels(&e);
    whole.samples[DATASET_TRAIN] = 200;
    assert_int_equal(schedule_check_labels(&e, &whole), ERR_OK);
    for (int field = 0; field < 7; field++) {
        labels l = whole;
        uint32_t *numbers[] = {&l.partition.portions, &l.partition.channels, &l.partition.height, &l.partition.width,
                               &l.classes.count};
        if (field < 5) {
            ++*numbers[field];
        } else if (field == 5) {
            l.partition.kind = PARTITION_QUADRANTS;
        } else {
            strcpy(l.dataset, "cifar10");
        }
        assert_int_equal(schedule_check_labels(&e, &l), ERR_INPUT);
        char wanted[200] = "", found[200] = "";
        if (sscanf(err_text(), "the experiment wants %199[^,], the labels are of %199[^,]", wanted, found) != 2 ||
            strcmp(wanted, found) == 0) {
            fail_msg("'%s' does not say what differs", err_text());
        }
    }
}

static void batch_norm_wants_more_than_one_sample(void **state) {
    (void)state;
    experiment e;
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    e.portions[0].encoder.batch_norm = e.encoder.batch_norm = true;
    labels l = *some_labels(&e);
    for (uint32_t samples = 1; samples < 32; samples++) {
        l.samples[DATASET_TRAIN] = e.dataset.validation + samples;
        assert_int_equal(schedule_check_labels(&e, &l), samples == 1 ? ERR_INPUT : ERR_OK);
    }
}

/* An experiment that says nothing of validation samples holds back those of the labels. */
static void labels_say_what_is_held_back(void **state) {
    (void)state;
    const labels l = {.validation = 3};
    for (uint32_t asked = 0; asked < 5; asked++) {
        experiment e = {.dataset = {.validation = asked}};
        experiment_hold_back(&e, &l);
        assert_int_equal(e.dataset.validation, asked ? asked : 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_that_do_not_fit),
        cmocka_unit_test(batch_norm_wants_more_than_one_sample),
        cmocka_unit_test(the_learning_rate_is_blamed_where_it_can_be),
        IN_FOLDER(manifests_with_other_numbers),
        IN_FOLDER(long_trainings_can_be_opened),
        IN_FOLDER(metrics_are_kept_of_what_counts),
        cmocka_unit_test_setup_teardown(the_best_is_one_that_is_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_period_takes_as_long_as_its_parts, make_folder, remove_folder),
        cmocka_unit_test(labels_say_what_is_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
