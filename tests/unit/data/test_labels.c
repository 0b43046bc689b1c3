/* Labels folders: what goes in comes out, and what is wrong is refused by file and field. */
#include "data/npy.h"
#include "tests/lib/folder.h"
#include "tests/lib/json_edit.h"
#include "tests/lib/portion_info.h"

static uint8_t train_labels[] = {0, 2, 1}, test_labels[] = {2};
static const char *const class_list[] = {"benign", "malignant", "größer 3"};
static const char *const train_ids[] = {"a", "b", "c"}, *const test_ids[] = {"d"};

static const char *where(void) {
    return in_folder("server");
}

static void write_labels(bool is_split_off, bool has_ids) {
    const char *const *const lists[2] = {train_ids, test_ids};
    labels l = {.dataset = "mnist",
                .samples = {3, 1},
                .validation = 1,
                .values = {train_labels, test_labels},
                .has_partition = is_split_off,
                .partition = {PARTITION_QUADRANTS, 4, 1, 28, 28}};
    assert_int_equal(class_names_set(&l.classes, class_list, 3), ERR_OK);
    if (is_split_off) {
        l.portions = some_labels_portions(4);
        l.portion_count = 4;
    }
    if (has_ids) {
        assert_int_equal(sample_ids_new(&l.ids, lists, l.samples), ERR_OK);
    }
    assert_int_equal(labels_write(where(), &l), ERR_OK);
    free(l.portions);
    sample_ids_free(l.ids);
}

static void they_come_back(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        labels l;
        write_labels(i & 1, i & 2);
        assert_int_equal(labels_open(&l, where()), ERR_OK);
        assert_string_equal(l.dataset, "mnist");
        assert_int_equal(l.classes.count, 3);
        assert_string_equal(l.classes.names[2], "größer 3");
        assert_int_equal(l.samples[DATASET_TRAIN], 3);
        assert_int_equal(l.samples[DATASET_TEST], 1);
        assert_int_equal(l.validation, 1);
        assert_memory_equal(l.values[DATASET_TRAIN], train_labels, 3);
        assert_memory_equal(l.values[DATASET_TEST], test_labels, 1);
        assert_int_equal(l.has_partition, i & 1);
        assert_int_equal(l.portion_count, i & 1 ? 4 : 0);
        const char *digest = labels_portion_digest(&l, "3");
        assert_true(i & 1 ? digest && digest[0] == 'd' && strlen(digest) == 64 : !digest);
        assert_null(labels_portion_digest(&l, "4"));
        assert_true((l.ids != NULL) == (i >= 2));
        assert_string_equal(l.ids ? sample_ids_get(l.ids, DATASET_TEST, 0) : "d", "d");
        assert_true(!l.has_partition ||
                    (l.partition.kind == PARTITION_QUADRANTS && partition_sample_elements(&l.partition) == 784));
        labels_close(&l);
    }
}

static void assert_refused(err code, const char *name, const char *reason) {
    labels l;
    assert_int_equal(labels_open(&l, where()), code);
    assert_told(name, reason);
    assert_null(l.values[DATASET_TRAIN]);
    assert_null(l.portions);
    assert_null(l.ids);
}

static void wrong_fields_are_refused(void **state) {
    (void)state;
    static const json_edit_case cases[] = {
        {"\"format\": 2,", "", "is not of format 2: make it again with fewbit data split or fewbit data pack"},
        {"\"format\": 2", "\"format\": 3", "is not of format 2"},
        {"\"format\": 2", "\"format\": 2, \"pixels\": []", "unknown field 'pixels'"},
        {"\"classes\": [\n    \"benign\",\n    \"malignant\",", "\"classes\": [", "there are 2 to 100 classes, not 1"},
        {"\"benign\"", "7", "class 0 has no name"},
        {"\"benign\"", "\"\"", "class 0 has no name"},
        {"\"benign\"", "\"a\\nb\"", "class 0 has no name"},
        {"\"benign\"", "\"a\\u0000b\"", "not JSON"},
        {"\"benign\"", "\"malignant\"", "classes 0 and 1 are both named 'malignant'"},
        {"\"benign\"", "\"0123456789012345678901234567890123456789012345678901234567890123\"", "class 0 has no name"},
        {"\"classes\": [", "\"classes\": 3, \"more\": [", "unknown field 'more'"},
        {"\"portions\": 4", "\"portions\": 3", "quadrants make 4 portions"},
        {"quadrants", "thirds", "field 'kind'"},
        {"[1, 28, 28]", "[1, 1, 28, 28]", "'sample_shape' is not an array of 3"},
        {"[1, 28, 28]", "[1, 27, 28]", "even sides"},
        {"\"portion_digests\": {", "\"portion_digests\": {\"x y\": \"0\", ", "field 'portion_digests'"},
        {"\"2\": ", "\"4\": ", "does not name the portions of 'partition'"},
        {"\"aaaa", "\"aaag", "field 'portion_digests'"},
        {"\"aaaa", "\"aaa", "field 'portion_digests'"},
        {"\"train_samples\": 3", "\"train_samples\": 0", "field 'train_samples'"},
        {"\"validation_samples\": 1", "\"validation_samples\": 3", "field 'validation_samples'"},
        {"\"test_samples\": 1", "\"test_samples\": []", "field 'test_samples'"},
        {"\"counted\"", "true", "field 'ids'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_labels(true, false);
        json_edit("server/labels.json", &cases[i]);
        assert_refused(ERR_INPUT, "labels.json", cases[i].reason);
    }
}

static void wrong_files_are_refused(void **state) {
    (void)state;
    write_labels(true, true);
    const uint8_t large[] = {0, 1, 3};
    const uint32_t three = 3, two = 2, square[] = {1, 3};
    const char *path = "server/train-labels.npy";
    assert_int_equal(npy_write(in_folder(path), PORTION_U8, 1, &three, large), ERR_OK);
    assert_refused(ERR_INPUT, "train-labels.npy", "label 2 is 3, not below the 3 classes");
    assert_int_equal(npy_write(in_folder(path), PORTION_U8, 1, &two, large), ERR_OK);
    assert_refused(ERR_INPUT, "train-labels.npy", "[3]");
    assert_int_equal(npy_write(in_folder(path), PORTION_U8, 2, square, large), ERR_OK);
    assert_refused(ERR_INPUT, "train-labels.npy", "[3]");
    assert_int_equal(unlink(in_folder(path)), 0);
    assert_refused(ERR_NOT_FOUND, "train-labels.npy", "cannot open");
    write_labels(true, true);
    put("server/test-ids.txt", "c\n", 2);
    assert_refused(ERR_INPUT, "test-ids.txt:1", "the id 'c' is there already, of training sample 2");
}

static void large_labels_are_not_written(void **state) {
    (void)state;
    labels l = {.dataset = "mnist", .samples = {3, 1}, .values = {train_labels, test_labels}};
    l.classes = some_class_names(2);
    assert_int_equal(labels_write(folder, &l), ERR_INPUT);
    assert_told("train-labels.npy", "label 1 is 2");
    assert_false(file_exists(in_folder("labels.json")));
}

static void portions_are_opened_by_name(void **state) {
    (void)state;
    static const float values[4] = {1, 2, 3, 4};
    portion_info info = {.dataset = "x", .name = "host", .shape = {PORTION_F32, 1, {1}}, .samples = {3, 1}};
    const portion_contents c = {.values = {values, values}};
    labels_portion known = {.name = "host"};
    labels l = {.dataset = "x"};
    portion *p = NULL;
    char data[FILE_PATH_MAX];
    snprintf(data, sizeof data, "%s", folder);
    assert_int_equal(portion_write(in_folder("node-host"), &info, &c), ERR_OK);
    assert_int_equal(portion_write(in_folder("node-guest"), &info, &c), ERR_OK);
    assert_int_equal(labels_open_portion(&l, data, "host", &p), ERR_OK); /* of which nothing is known */
    portion_close(p);
    assert_int_equal(labels_open_portion(&l, data, "guest", &p), ERR_INPUT);
    assert_told("node-guest", "holds portion host, not guest");
    assert_null(p);
    l.portions = &known;
    l.portion_count = 1;
    memcpy(known.digest, info.digest, SHA256_HEX);
    assert_int_equal(labels_open_portion(&l, data, "host", &p), ERR_OK);
    portion_close(p);
    memset(known.digest, '0', 4);
    assert_int_equal(labels_open_portion(&l, data, "host", &p), ERR_INPUT);
    assert_told("node-host", "that of portion host of what the labels are of 0000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(they_come_back),
        IN_FOLDER(wrong_fields_are_refused),
        IN_FOLDER(wrong_files_are_refused),
        IN_FOLDER(large_labels_are_not_written),
        IN_FOLDER(portions_are_opened_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
