/* What the commands of fewbit share: exact percentiles, and lists of files. */
#include "base/file.h"
#include "cli/latency.h"
#include "tests/lib/folder.h"

#include <math.h>

static void percentiles_are_times_that_came(void **state) {
    (void)state;
    latency l = latency_make();
    assert_true(isnan(latency_percentile(&l, 50)));
    for (uint64_t ms = 1000; ms > 0; ms--) {
        assert_int_equal(latency_add(&l, ms * 1000000), ERR_OK);
    }
    static const struct {
        double percent, ms;
    } expected[] = {{0, 1}, {0.1, 1}, {0.11, 2}, {50, 500}, {90, 900}, {99, 990}, {99.9, 999}, {100, 1000}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(latency_percentile(&l, expected[i].percent) == expected[i].ms);
    }
    json_t *j = latency_json(&l);
    assert_int_equal(json_integer_value(json_object_get(j, "count")), 1000);
    assert_true(json_number_value(json_object_get(j, "mean")) == 500.5);
    assert_true(json_number_value(json_object_get(j, "p99.9")) == 999);
    json_decref(j);
    latency_free(&l);
}

static void of_none_every_figure_is_null(void **state) {
    (void)state;
    latency l = latency_make();
    json_t *j = latency_json(&l);
    static const char *const names[] = {"mean", "p50", "p90", "p99", "p99.9", "max"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_true(json_is_null(json_object_get(j, names[i])));
    }
    assert_int_equal(json_integer_value(json_object_get(j, "count")), 0);
    json_decref(j);
    latency_free(&l);
}

static void make_file(const char *below, const char *name) {
    char path[FILE_PATH_MAX];
    assert_int_equal(file_path(path, sizeof path, "%s/%s", below, name), ERR_OK);
    assert_int_equal(file_write_atomic(path, &(file_span){"x", 1}, 1), ERR_OK);
}

/* The folder's name is no pattern, whatever it is called. */
static void files_are_listed_in_order(void **state) {
    (void)state;
    char below[FILE_PATH_MAX], inner[FILE_PATH_MAX];
    assert_int_equal(file_path(below, sizeof below, "%s/[a]*?\\b", folder), ERR_OK);
    assert_int_equal(file_path(inner, sizeof inner, "%s/inner", below), ERR_OK);
    assert_int_equal(file_make_folders(inner), ERR_OK);
    static const char *const made[] = {"b.yaml", "a.yaml", "c.txt", ".hidden.yaml"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        make_file(below, made[i]);
    }
    make_file(inner, "d.yaml");
    glob_t found;
    assert_int_equal(file_list(below, "*.yaml", &found), ERR_OK);
    assert_int_equal(found.gl_pathc, 2);
    assert_string_equal(strrchr(found.gl_pathv[0], '/'), "/a.yaml");
    assert_string_equal(strrchr(found.gl_pathv[1], '/'), "/b.yaml");
    assert_true(file_exists(found.gl_pathv[0]));
    globfree(&found);
    assert_int_equal(file_list(below, "*/*.yaml", &found), ERR_OK);
    assert_int_equal(found.gl_pathc, 1);
    globfree(&found);
    assert_int_equal(file_list("none", "*", &found), ERR_OK);
    assert_int_equal(found.gl_pathc, 0);
    globfree(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_times_that_came),
        cmocka_unit_test(of_none_every_figure_is_null),
        cmocka_unit_test_setup_teardown(files_are_listed_in_order, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
