/* The ids of samples: all are found again, and what is none is refused by file and line. */
#include "data/sample_ids.h"
#include "tests/lib/folder.h"

enum { MANY = 20000 };

static const uint32_t two_and_one[2] = {2, 1};

static err read_ids(sample_ids **ids, const char *train, size_t train_length, const char *test) {
    put("train-ids.txt", train, train_length);
    put("test-ids.txt", test, strlen(test));
    return sample_ids_read(ids, folder, two_and_one);
}

static void many_are_found(void **state) {
    (void)state;
    static char text[MANY][16];
    static const char *list[MANY];
    const uint32_t samples[2] = {MANY / 2, MANY / 2};
    sample_ids *made, *ids;
    char of_made[SHA256_HEX], of_read[SHA256_HEX];
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof text[i], "patient %u", i * 7);
        list[i] = text[i];
    }
    const char *const *const lists[2] = {list, list + MANY / 2};
    assert_int_equal(sample_ids_new(&made, lists, samples), ERR_OK);
    assert_int_equal(sample_ids_write(made, folder), ERR_OK);
    assert_int_equal(sample_ids_read(&ids, folder, samples), ERR_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        enum dataset_split split;
        uint32_t index;
        assert_true(sample_ids_find(ids, text[i], &split, &index));
        assert_int_equal(split, i < MANY / 2 ? DATASET_TRAIN : DATASET_TEST);
        assert_int_equal(index, i % (MANY / 2));
        assert_string_equal(sample_ids_get(ids, split, index), text[i]);
        snprintf(text[i], sizeof text[i], "patient %u", i * 7 + 1);
        assert_false(sample_ids_find(ids, text[i], &split, &index));
    }
    assert_int_equal(sample_ids_digest(made, of_made), ERR_OK);
    assert_int_equal(sample_ids_digest(ids, of_read), ERR_OK);
    assert_string_equal(of_made, of_read);
    assert_int_equal(sample_ids_write(NULL, folder), ERR_OK);
    assert_int_equal(files_in_folder(), 0);
    sample_ids_free(made);
    sample_ids_free(ids);
    sample_ids_free(NULL);
}

static void what_is_no_id_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *train, *test, *file, *reason;
    } cases[] = {
        {"a\na\n", "c\n", "train-ids.txt:2", "the id 'a' is there already, of training sample 0"},
        {"a\nb\n", "b\n", "test-ids.txt:1", "the id 'b' is there already, of training sample 1"},
        {"a\n\n", "c\n", "train-ids.txt:2", "is no id"},
        {"a\tb\nb\n", "c\n", "train-ids.txt:1", "is no id"},
        {"a\r\nb\r\n", "c\n", "train-ids.txt:1", "is no id"},
        {"a\n\xff\n", "c\n", "train-ids.txt:2", "is no id"},
        {"a\n\xe2\x80\xae\n", "c\n", "train-ids.txt:2", "is no id"},
        {"a\nb", "c\n", "train-ids.txt", "has 1 whole lines, the folder 2 samples"},
        {"a\n", "c\n", "train-ids.txt", "has 1 whole lines"},
        {"", "c\n", "train-ids.txt", "has 0 whole lines"},
        {"a\nb\nc\n", "d\n", "train-ids.txt", "has 3 whole lines"},
        {"a\nb\n", "c\nd\n", "test-ids.txt", "has 2 whole lines"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sample_ids *ids;
        assert_int_equal(read_ids(&ids, cases[i].train, strlen(cases[i].train), cases[i].test), ERR_INPUT);
        assert_told(cases[i].file, cases[i].reason);
    }
    sample_ids *ids;
    assert_int_equal(read_ids(&ids, "a\0b\nc\n", 6, "d\n"), ERR_INPUT);
    assert_told("train-ids.txt", "zero byte");
    char text[200];
    for (size_t length = SAMPLE_ID_MAX; length <= SAMPLE_ID_MAX + 1; length++) {
        int all = snprintf(text, sizeof text, "%0*d\nb\n", (int)length, 0);
        err e = read_ids(&ids, text, (size_t)all, "c\n");
        assert_int_equal(e, length > SAMPLE_ID_MAX ? ERR_INPUT : ERR_OK);
        sample_ids_free(e ? NULL : ids);
    }
    assert_told("train-ids.txt:1", "is no id: 1 to 64 bytes");
}

static void lists_are_checked_too(void **state) {
    (void)state;
    static const char *const train[] = {"a", "b"}, *const twice[] = {"b"}, *const odd[] = {"\x1b[m"};
    const char *const *const same[2] = {train, twice}, *const *const strange[2] = {train, odd};
    sample_ids *ids;
    assert_int_equal(sample_ids_new(&ids, same, two_and_one), ERR_INPUT);
    assert_told("test-ids.txt:1", "the id 'b' is there already");
    assert_int_equal(sample_ids_new(&ids, strange, two_and_one), ERR_INPUT);
    assert_told("test-ids.txt:1", "is no id");
}

static void counted_ids_are_the_numbers(void **state) {
    (void)state;
    const uint32_t samples[2] = {12, 5};
    for (uint32_t i = 0; i < 17; i++) {
        enum dataset_split split = i < 12 ? DATASET_TRAIN : DATASET_TEST, found;
        uint32_t index = i < 12 ? i : i - 12, at;
        char text[SAMPLE_ID_MAX + 1], expected[16];
        snprintf(expected, sizeof expected, "%u", i);
        assert_string_equal(sample_id_count(samples, split, index, text), expected);
        assert_true(sample_id_find_counted(samples, text, &found, &at));
        assert_true(found == split && at == index);
    }
    static const char *const none[] = {"17", "-1", "+1", "01", "1 ", " 1", "1.0", "", "99999999999999999999"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        enum dataset_split split;
        uint32_t at;
        assert_false(sample_id_find_counted(samples, none[i], &split, &at));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(many_are_found),
        IN_FOLDER(what_is_no_id_is_refused),
        IN_FOLDER(lists_are_checked_too),
        cmocka_unit_test(counted_ids_are_the_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
