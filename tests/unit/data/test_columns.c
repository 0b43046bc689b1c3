/* Tables: CSV to cells, cells to features by the columns, columns to JSON and back, and what is wrong named. */
#include "data/columns.h"
#include "data/csv_table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static err read_text(csv_table **t, const char *text) {
    return csv_table_read(t, "a.csv", text, strlen(text), ',', UINT32_MAX);
}

static void assert_cells(const char *text, uint32_t rows, uint32_t width, const char *const *cells) {
    csv_table *t;
    assert_int_equal(read_text(&t, text), ERR_OK);
    assert_int_equal(csv_table_rows(t), rows);
    assert_int_equal(csv_table_columns(t), width);
    for (uint32_t i = 0; i < rows * width; i++) {
        assert_string_equal(csv_table_cell(t, i / width, i % width), cells[i]);
    }
    csv_table_free(t);
}

static void assert_told(const char *what) {
    if (!strstr(err_text(), what)) {
        fail_msg("'%s' does not tell '%s'", err_text(), what);
    }
}

static void assert_refused(const char *text, const char *what) {
    csv_table *t;
    assert_int_equal(read_text(&t, text), ERR_INPUT);
    assert_told("a.csv: ");
    assert_told(what);
}

static void every_way_to_write_a_table_is_read_alike(void **state) {
    (void)state;
    static const char *const cells[] = {"id", "x", "a", "1", "b", "-2"};
    assert_cells("id,x\na,1\nb,-2\n", 3, 2, cells);
    assert_cells("id,x\na,1\nb,-2", 3, 2, cells);
    assert_cells("id,x\r\na,1\r\nb,-2\r\n", 3, 2, cells);
    assert_cells("id,x\ra,1\rb,-2\r", 3, 2, cells);
    assert_cells("\xef\xbb\xbfid,x\na,1\nb,-2\n", 3, 2, cells);
    assert_cells("\"id\",\"x\"\n\"a\",\"1\"\n\"b\",\"-2\"\n", 3, 2, cells);
    assert_cells("\n\nid , x\n\n a,1 \r\n\r\n\tb,-2\n\n", 3, 2, cells);
    static const char *const quoted[] = {"id", "x", "a,b", " say \"no\" ", "", "two\nlines"};
    assert_cells("id,x\n\"a,b\",\" say \"\"no\"\" \"\n,\"two\nlines\"\n", 3, 2, quoted);
}

static void lines_and_delimiters_are_those_of_the_text(void **state) {
    (void)state;
    csv_table *t;
    static const char text[] = "id;x\n\na;\"1\n2\"\nb;1,5\n";
    assert_int_equal(csv_table_read(&t, "t", text, strlen(text), ';', UINT32_MAX), ERR_OK);
    assert_int_equal(csv_table_line(t, 0), 1);
    assert_int_equal(csv_table_line(t, 1), 4);
    assert_int_equal(csv_table_line(t, 2), 5);
    assert_string_equal(csv_table_cell(t, 2, 1), "1,5");
    csv_table_free(t);
    assert_int_equal(csv_table_read(&t, "t", text, strlen(text), ';', 2), ERR_INPUT);
    assert_told("t: line 5: is one too many");
    static const char mixed[] = "id,x\r\na,1\rb,2\n\r\r\nc,\"1\r2\"\rd,3";
    static const uint32_t ends[] = {1, 2, 3, 7, 8};
    assert_int_equal(csv_table_read(&t, "t", mixed, strlen(mixed), ',', UINT32_MAX), ERR_OK);
    for (uint32_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        assert_int_equal(csv_table_line(t, i), ends[i]);
    }
    csv_table_free(t);
}

static void what_is_no_table_is_refused_with_its_line(void **state) {
    (void)state;
    csv_table *t;
    assert_refused("", "is empty");
    assert_refused("\n \r\n", "is empty");
    assert_refused("id,x\na,1\nb,2,3\n", "line 3: has 3 cells, the first row 2");
    assert_refused("id,x\na\n", "line 2: has 1 cells, the first row 2");
    assert_refused("id,x\na,1\"2\n", "line 2: a quote is out of place");
    assert_refused("id,x\na,\"1\" 2\n", "line 2: a quote is out of place");
    assert_refused("id,x\na,\"12\n", "line 2: a quoted cell has no end");
    assert_int_equal(csv_table_read(&t, "a.csv", "a,b\nc,\0\n", 8, ',', 9), ERR_INPUT);
    assert_told("a.csv: line 2: has a zero byte");
    char *wide = malloc(CSV_TABLE_COLUMNS_MAX + 2);
    memset(wide, ',', CSV_TABLE_COLUMNS_MAX);
    wide[CSV_TABLE_COLUMNS_MAX] = '\0';
    assert_refused(wide, "line 1: has too many cells");
    free(wide);
}

/* Columns. */

static const char *const blood[] = {"A", "B", "O"};
static const column list[] = {
    {.name = "age", .kind = COLUMN_NUMBER},
    {.name = "blood", .kind = COLUMN_CATEGORY, .categories = blood, .category_count = 3},
    {.name = "height", .kind = COLUMN_NUMBER, .takes_missing = true, .mean = 1.1f},
    {.name = "group", .kind = COLUMN_CATEGORY, .categories = blood, .category_count = 1, .takes_missing = true},
};
enum { COUNT = sizeof list / sizeof list[0], FEATURES = 6 };

static columns *make(void) {
    columns *c;
    assert_int_equal(columns_new(&c, list, COUNT), ERR_OK);
    assert_int_equal(columns_count(c), COUNT);
    assert_int_equal(columns_features(c), FEATURES);
    return c;
}

static void a_row_becomes_features(void **state) {
    (void)state;
    columns *c = make();
    float row[FEATURES];
    static const float full[] = {-25, 0, 1, 0, 0.5f, 1}, sparse[] = {3e3f, 0, 0, 1, 1.1f, 0};
    assert_int_equal(columns_parse_row(c, (const char *const[]){"-25", "B", ".5", "A"}, row), ERR_OK);
    assert_memory_equal(row, full, sizeof full);
    assert_int_equal(columns_parse_row(c, (const char *const[]){"3E3", "O", "", ""}, row), ERR_OK);
    assert_memory_equal(row, sparse, sizeof sparse);
    static const struct {
        const char *cells[COUNT], *told;
    } wrong[] = {
        {{"", "A", "1", "A"}, "column 'age': the cell is empty"},
        {{"1", "", "1", "A"}, "column 'blood': the cell is empty"},
        {{"x", "A", "1", "A"}, "column 'age': 'x' is no number"},
        {{"1 2", "A", "1", "A"}, "column 'age': '1 2' is no number"},
        {{"0x10", "A", "1", "A"}, "column 'age': '0x10' is no number"},
        {{"nan", "A", "1", "A"}, "column 'age': 'nan' is no number"},
        {{"1", "A", "inf", "A"}, "column 'height': 'inf' is no number"},
        {{"1", "A", "1e39", "A"}, "column 'height': 1e39 does not fit 32 bits"},
        {{"1", "A", "--1", "A"}, "column 'height': '--1' is no number"},
        {{"1", "C", "1", "A"}, "column 'blood': 'C' is none of its 3 categories"},
        {{"1", "A", "1", "B"}, "column 'group': 'B' is none of its 1 categories"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(columns_parse_row(c, wrong[i].cells, row), ERR_INPUT);
        assert_told(wrong[i].told);
    }
    columns_free(c);
}

static void a_request_is_a_row_with_or_without_a_header(void **state) {
    (void)state;
    columns *c = make();
    static const float wanted[] = {25, 1, 0, 0, 1.1f, 1};
    static const char *const good[] = {"25,A,,A", "25,A,,A\r\n", "age,blood,height,group\n25,A,,A\n",
                                       "group,id,blood,height,age\nA,someone,A,,25\n"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        float row[FEATURES] = {0};
        assert_int_equal(columns_parse_csv(c, good[i], strlen(good[i]), row), ERR_OK);
        assert_memory_equal(row, wanted, sizeof wanted);
    }
    static const char *const bad[][2] = {
        {"", "the row: is empty"},
        {"25,A,1", "the row has 3 cells, not 4"},
        {"age,blood,group\n25,A,A\n", "the header does not name column 'height'"},
        {"age,blood,height,group,age\n25,A,1,A,26\n", "the header names column 'age' twice"},
        {"age,blood,height,group\n25,A,1,A\n26,A,1,A\n", "the row: line 3: is one too many"},
        {"age,blood,height,group\n25,A\n", "the row: line 2: has 2 cells"},
        {"x,A,1,A", "column 'age': 'x' is no number"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        float row[FEATURES];
        assert_int_equal(columns_parse_csv(c, bad[i][0], strlen(bad[i][0]), row), ERR_INPUT);
        assert_told(bad[i][1]);
    }
    columns_free(c);
}

static bool says_the_same(const json_t *json, const columns *c) {
    json_t *other = columns_to_json(c);
    bool is_same = json_equal(json, other);
    json_decref(other);
    return is_same;
}

static void json_says_all_of_them(void **state) {
    (void)state;
    columns *c = make(), *again;
    json_t *json = columns_to_json(c);
    char *text = json_dumps(json, 0);
    json_t *read = json_loads(text, 0, NULL);
    assert_int_equal(columns_from_json(&again, read), ERR_OK);
    assert_true(says_the_same(json, again));
    columns_free(again);
    column other[COUNT];
    for (uint32_t i = 0; i < 4; i++) {
        memcpy(other, list, sizeof other);
        other[0].name = i == 0 ? "Age" : "age";
        other[2].mean = i == 1 ? 1.2f : 1.1f;
        other[0].takes_missing = i == 2;
        other[1].category_count = i == 3 ? 2 : 3;
        assert_int_equal(columns_new(&again, other, COUNT), ERR_OK);
        assert_false(says_the_same(json, again));
        columns_free(again);
    }
    json_decref(read);
    json_decref(json);
    free(text);
    columns_free(c);
}

static void bad_columns_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "[]",
        "{}",
        "[1]",
        "[{\"name\": \"a\"}]",
        "[{\"kind\": \"number\"}]",
        "[{\"name\": \"\", \"kind\": \"number\"}]",
        "[{\"name\": \"a\\u0007\", \"kind\": \"number\"}]",
        "[{\"name\": \"a\", \"kind\": \"text\"}]",
        "[{\"name\": \"a\", \"kind\": \"number\", \"more\": 1}]",
        "[{\"name\": \"a\", \"kind\": \"number\", \"missing\": \"zeros\"}]",
        "[{\"name\": \"a\", \"kind\": \"number\", \"missing\": 1e39}]",
        "[{\"name\": \"a\", \"kind\": \"category\"}]",
        "[{\"name\": \"a\", \"kind\": \"category\", \"categories\": []}]",
        "[{\"name\": \"a\", \"kind\": \"category\", \"categories\": [1]}]",
        "[{\"name\": \"a\", \"kind\": \"category\", \"categories\": [\"\"]}]",
        "[{\"name\": \"a\", \"kind\": \"category\", \"categories\": [\"b\", \"a\"]}]",
        "[{\"name\": \"a\", \"kind\": \"category\", \"categories\": [\"a\", \"a\"]}]",
        "[{\"name\": \"a\", \"kind\": \"category\", \"categories\": [\"a\"], \"missing\": 0}]",
        "[{\"name\": \"a\", \"kind\": \"number\"}, {\"name\": \"a\", \"kind\": \"number\"}]",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        columns *c = NULL;
        json_t *json = json_loads(bad[i], 0, NULL);
        assert_non_null(json);
        assert_int_equal(columns_from_json(&c, json), ERR_INPUT);
        assert_null(c);
        json_decref(json);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_way_to_write_a_table_is_read_alike),
        cmocka_unit_test(lines_and_delimiters_are_those_of_the_text),
        cmocka_unit_test(what_is_no_table_is_refused_with_its_line),
        cmocka_unit_test(a_row_becomes_features),
        cmocka_unit_test(a_request_is_a_row_with_or_without_a_header),
        cmocka_unit_test(json_says_all_of_them),
        cmocka_unit_test(bad_columns_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
