/* What a Request may hand to a node that has a table, and which ids a node offers. */
#include "encoder_node/request_input.h"

#include "encoder_node/offered_ids.h"
#include "tests/lib/folder.h"

#include <math.h>

enum { FEATURES = 4, SAMPLES = 300 };

static struct {
    portion *data;
    columns *columns;
    request_input *input;
} t;

/* age, height (may be missing), blood: A or B. */
static void open_table(bool has_ids) {
    static float values[2][SAMPLES * FEATURES];
    static char names[2][SAMPLES][16];
    const char *lists[2][SAMPLES];
    const char *const blood[] = {"A", "B"};
    const column list[] = {
        {.name = "age", .kind = COLUMN_NUMBER},
        {.name = "height", .kind = COLUMN_NUMBER, .takes_missing = true, .mean = 171.5f},
        {.name = "blood", .kind = COLUMN_CATEGORY, .categories = blood, .category_count = 2},
    };
    const uint32_t samples[2] = {SAMPLES, SAMPLES};
    for (int split = 0; split < 2; split++) {
        for (uint32_t i = 0; i < SAMPLES; i++) {
            values[split][i * FEATURES] = (float)(1000 * split + (int)i);
            snprintf(names[split][i], sizeof names[split][i], "%s-%u", split ? "test" : "train", i);
            lists[split][i] = names[split][i];
        }
    }
    sample_ids *ids = NULL;
    const char *const *const both[2] = {lists[0], lists[1]};
    assert_int_equal(has_ids ? sample_ids_new(&ids, both, samples) : ERR_OK, ERR_OK);
    assert_int_equal(columns_new(&t.columns, list, 3), ERR_OK);
    portion_info info = {
        .dataset = "clinic", .name = "guest", .shape = {PORTION_F32, 1, {FEATURES}}, .samples = {SAMPLES, SAMPLES}};
    const portion_contents contents = {.values = {values[0], values[1]}, .ids = ids, .columns = t.columns};
    assert_int_equal(portion_write(in_folder("guest"), &info, &contents), ERR_OK);
    assert_int_equal(portion_open(&t.data, in_folder("guest")), ERR_OK);
    assert_int_equal(request_input_new(&t.input, t.data), ERR_OK);
    sample_ids_free(ids);
}

static int open_with_ids(void **state) {
    make_folder(state);
    open_table(true);
    return 0;
}

static int open_counted(void **state) {
    make_folder(state);
    open_table(false);
    return 0;
}

static int close_table(void **state) {
    request_input_free(t.input);
    portion_close(t.data);
    columns_free(t.columns);
    return remove_folder(state);
}

static const float *take(Fewbit__PortionFormat format, const void *bytes, size_t length,
                         Fewbit__RequestProblem *problem) {
    Fewbit__Request r = FEWBIT__REQUEST__INIT;
    r.format = format;
    r.portion = (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)bytes};
    *problem = FEWBIT__REQUEST_PROBLEM__PROBLEM_UNSET;
    return request_input_take(t.input, &r, problem);
}

static void assert_row(const char *text, const float wanted[FEATURES]) {
    Fewbit__RequestProblem problem;
    const float *values = take(FEWBIT__PORTION_FORMAT__FORMAT_CSV, text, strlen(text), &problem);
    if (!values) {
        fail_msg("%s: %s", text, err_text());
    }
    assert_memory_equal(values, wanted, FEATURES * sizeof *wanted);
}

static void rows_are_read_with_the_tables_columns(void **state) {
    (void)state;
    assert_row("41,1.7,B", (const float[]){41, 1.7f, 0, 1});
    assert_row("41,1.7,B\r\n", (const float[]){41, 1.7f, 0, 1});
    assert_row("blood,age,height,name\nA,3,,somebody\n", (const float[]){3, 171.5f, 1, 0});
    assert_row("\"age\",\"height\",\"blood\"\r\n41,\"\",\"B\"\r\n", (const float[]){41, 171.5f, 0, 1});
}

static void rows_that_cannot_be_read_are_told_by_column(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"old,1.7,B", "age"}, {"41,1.7,C", "blood"},           {",1.7,B", "age"},
        {"41,1.7", "guest"},  {"41,1.7,B,5", "guest"},         {"age,height\n41,1.7", "blood"},
        {"1e99,1,A", "age"},  {"age,height,blood\n", "guest"}, {"41,nan,B", "height"},
        {"a\nb\nc", "guest"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        Fewbit__RequestProblem problem;
        assert_null(take(FEWBIT__PORTION_FORMAT__FORMAT_CSV, cases[i][0], strlen(cases[i][0]), &problem));
        assert_int_equal(problem, FEWBIT__REQUEST_PROBLEM__PROBLEM_ROW);
        if (!strstr(err_text(), cases[i][1]) || !strstr(err_text(), "portion 'guest'")) {
            fail_msg("'%s': %s", cases[i][0], err_text());
        }
    }
}

static void raw_values_are_finite_and_as_many(void **state) {
    (void)state;
    Fewbit__RequestProblem problem;
    float values[FEATURES + 1] = {1, 2, 3, 4};
    assert_ptr_equal(take(0, values, FEATURES * sizeof *values, &problem), values);
    for (size_t length = 0; length <= sizeof values; length++) {
        bool fits = length == FEATURES * sizeof *values;
        assert_int_equal(take(0, values, length, &problem) != NULL, fits);
        assert_true(fits || problem == FEWBIT__REQUEST_PROBLEM__PROBLEM_LENGTH);
    }
    values[2] = -INFINITY;
    assert_null(take(0, values, FEATURES * sizeof *values, &problem));
}

static void samples_are_found_in_both_splits(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 2 * SAMPLES; i++) {
        char id[16];
        Fewbit__RequestProblem problem;
        Fewbit__Request r = FEWBIT__REQUEST__INIT;
        snprintf(id, sizeof id, "%s-%u", i < SAMPLES ? "train" : "test", i % SAMPLES);
        r.sample = id;
        const float *values = request_input_take(t.input, &r, &problem);
        assert_true(values && values[0] == (float)(i < SAMPLES ? i : 1000 + i % SAMPLES));
        r.sample = i % 2 ? "train-300" : "0";
        assert_null(request_input_take(t.input, &r, &problem));
        assert_int_equal(problem, FEWBIT__REQUEST_PROBLEM__PROBLEM_UNKNOWN_SAMPLE);
    }
}

static bool is_offered(const offered_ids *o, const char *id) {
    for (size_t i = 0; i < o->count; i++) {
        if (strcmp(o->ids[i], id) == 0) {
            return true;
        }
    }
    return false;
}

/* Of the test split, each once, as many as may be; and of listed ids only where that is wanted. */
static void listed_ids_are_offered_where_wanted(void **state) {
    (void)state;
    static offered_ids o, again;
    offered_ids_choose(&o, t.data, false);
    assert_int_equal(o.count, 0);
    offered_ids_choose(&o, t.data, true);
    offered_ids_choose(&again, t.data, true);
    assert_int_equal(o.count, MESSAGE_OFFERED_MAX);
    uint32_t found = 0;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        found += is_offered(&o, portion_id(t.data, DATASET_TEST, i));
        assert_false(is_offered(&o, portion_id(t.data, DATASET_TRAIN, i)));
    }
    assert_int_equal(found, MESSAGE_OFFERED_MAX);
    for (size_t i = 0; i < o.count; i++) {
        assert_string_equal(o.ids[i], again.ids[i]);
    }
}

static void counted_ids_are_offered(void **state) {
    (void)state;
    static offered_ids o;
    offered_ids_choose(&o, t.data, false);
    assert_int_equal(o.count, MESSAGE_OFFERED_MAX);
    for (size_t i = 0; i < o.count; i++) {
        long id = strtol(o.ids[i], NULL, 10);
        assert_in_range(id, SAMPLES, 2 * SAMPLES - 1);
    }
}

#define WITH_IDS(f) cmocka_unit_test_setup_teardown(f, open_with_ids, close_table)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_IDS(rows_are_read_with_the_tables_columns),
        WITH_IDS(rows_that_cannot_be_read_are_told_by_column),
        WITH_IDS(raw_values_are_finite_and_as_many),
        WITH_IDS(samples_are_found_in_both_splits),
        WITH_IDS(listed_ids_are_offered_where_wanted),
        cmocka_unit_test_setup_teardown(counted_ids_are_offered, open_counted, close_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
