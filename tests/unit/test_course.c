/* The course of a training: which checkpoint is the best, and how long a period took. */
#include "decoder_server/train/course.h"

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/folder.h"
#include "tests/unit/some_labels.h"

enum { BATCHES = 10 };

static const char text[] = "name: tiny\n"
                           "data: {set: mnist, split: runs, portions: 2, validation: 100}\n"
                           "encoder: {net: simple-1d, hidden: 4, bits: 4}\n"
                           "decoder: {net: linear}\n"
                           "classifier: {net: mnist, hidden: 8}\n"
                           "optimiser: {kind: adam, learning_rate: 0.001}\n"
                           "training: {epochs: 9, batch: 10, seed: 1, keep_best: true}\n";

static void create(run *r) {
    experiment e;
    char path[128];
    log_set_level(LOG_NONE);
    snprintf(path, sizeof path, "%s/run", folder);
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    assert_int_equal(run_create(r, path, &e, some_labels(&e), NULL), ERR_OK);
}

/* An epoch ends with so many percent; its commit fails where there is no room. */
static bool end_epoch(run *r, run_position *at, double validation, bool has_room) {
    char error[COURSE_ERROR_MAX] = "";
    run_evaluation score = {.validation = validation};
    bool is_best;
    at->step += BATCHES;
    at->batch = BATCHES;
    at->seen = 10 * BATCHES;
    assert_int_equal(course_end_period(r, at, BATCHES, &score, &is_best), ERR_OK);
    const run_commit next = {.position = *at};
    strcpy(error, has_room ? "" : "no room");
    course_commit(r, &next, is_best, error);
    return is_best;
}

static void the_best_is_one_that_is_kept(void **state) {
    (void)state;
    run r;
    run_position at = {0};
    create(&r);
    assert_true(end_epoch(&r, &at, 10, true));
    assert_false(end_epoch(&r, &at, 10, true));
    assert_true(end_epoch(&r, &at, 50, false)); /* lost */
    assert_true(end_epoch(&r, &at, 30, true));  /* better than any that is there */
    assert_false(end_epoch(&r, &at, 20, true));
    assert_int_equal(r.best_evaluation, 3);
    assert_int_equal(r.best.position.step, 4 * BATCHES);
    assert_true(run_final_evaluation(&r)->validation == 30);
    run_close(&r);
}

static void a_period_takes_as_long_as_its_parts(void **state) {
    (void)state;
    run r, again;
    run_position at = {0};
    create(&r);
    uint64_t since_ns = clock_now_ns() - 3000000000;
    course_count_time(&at, &since_ns);
    assert_true(at.seconds >= 3 && at.seconds < 60);
    at.batch = BATCHES;
    at.seconds = 2;
    course_step_on(&at, BATCHES); /* an epoch without an evaluation */
    assert_int_equal(at.epoch, 1);
    assert_true(at.seconds == 2);
    char error[COURSE_ERROR_MAX] = "";
    const run_commit next = {.position = at};
    course_commit(&r, &next, false, error);
    assert_int_equal(run_open(&again, r.folder), ERR_OK);
    assert_true(again.last.position.seconds == 2);
    at.seconds += 5;
    end_epoch(&r, &at, 10, true);
    assert_true(r.evaluations[0].seconds == 7);
    assert_true(at.seconds == 0);
    run_close(&again);
    run_close(&r);
}

/* Whatever differs between the labels and the experiment, the message tells it: what is wanted is not what is there. */
static void labels_that_do_not_fit(void **state) {
    (void)state;
    experiment e;
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    labels whole = *some_labels(&e);
    whole.samples[DATASET_TRAIN] = 200;
    assert_int_equal(course_check_labels(&e, &whole), ERR_OK);
    for (int field = 0; field < 7; field++) {
        labels l = whole;
        uint32_t *numbers[] = {&l.split.portions, &l.split.channels, &l.split.height, &l.split.width, &l.classes};
        if (field < 5) {
            ++*numbers[field];
        } else if (field == 5) {
            l.split.kind = SPLIT_QUADRANTS;
        } else {
            strcpy(l.dataset, "cifar10");
        }
        assert_int_equal(course_check_labels(&e, &l), ERR_INPUT);
        char wanted[200] = "", found[200] = "";
        if (sscanf(err_text(), "the experiment wants %199[^,], the labels are of %199[^,]", wanted, found) != 2 ||
            strcmp(wanted, found) == 0) {
            fail_msg("'%s' does not say what differs", err_text());
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_that_do_not_fit),
        cmocka_unit_test_setup_teardown(the_best_is_one_that_is_kept, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_period_takes_as_long_as_its_parts, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
