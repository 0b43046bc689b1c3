/* The identity of a run: everything that makes its model changes it, nothing else does, and what differs is named. */
#include "data/run_identity.h"

#include "tests/lib/folder.h"
#include "tests/lib/portion_info.h"

#include <jansson.h>

enum { PORTIONS = 3, SAMPLES = 5, CHANGES = 14 };

static const char experiment_text[] = "an experiment\n";

static struct {
    labels labels;
    uint8_t values[2][SAMPLES + 1];
    labels_portion portions[PARTITION_PORTIONS_MAX];
    sample_ids *ids;
    char text[32];
    bool has_weights;
    uint8_t weights[SHA256_BYTES];
} from;

static void make(void) {
    sample_ids_free(from.ids);
    memset(&from, 0, sizeof from);
    from.labels = (labels){.dataset = "mnist",
                           .classes = some_class_names(10),
                           .samples = {SAMPLES, SAMPLES},
                           .values = {from.values[0], from.values[1]},
                           .portions = from.portions,
                           .portion_count = PORTIONS};
    for (uint32_t k = 0; k < PARTITION_PORTIONS_MAX; k++) {
        snprintf(from.portions[k].name, sizeof from.portions[k].name, "%u", k);
        memset(from.portions[k].digest, 'a', SHA256_HEX - 1);
    }
    strcpy(from.text, experiment_text);
}

/* Ids in their order, or with two that have changed places. */
static void list_ids(bool other_order) {
    static const char *const of_train[] = {"a", "b", "c", "d", "e"}, *const swapped[] = {"b", "a", "c", "d", "e"};
    static const char *const of_test[] = {"f", "g", "h", "i", "j"};
    const char *const *const lists[2] = {other_order ? swapped : of_train, of_test};
    assert_int_equal(sample_ids_new(&from.ids, lists, from.labels.samples), ERR_OK);
    from.labels.ids = from.ids;
}

static void change(int which) {
    make();
    switch (which) {
    case 0:
    case 1:
        from.values[which][SAMPLES - 1] = 1;
        return;
    case 2: /* the same labels one after another, cut elsewhere */
        from.labels.samples[DATASET_TRAIN]++;
        from.labels.samples[DATASET_TEST]--;
        return;
    case 3:
        from.labels.portion_count++;
        return;
    case 4:
    case 5:
    case 6:
        from.portions[which - 4].digest[SHA256_HEX - 2] = 'b';
        return;
    case 7:
        strcat(from.text, "#\n");
        return;
    case 8:
        from.has_weights = true;
        return;
    case 9:
        from.has_weights = true;
        from.weights[SHA256_BYTES - 1] = 1;
        return;
    case 10: /* portions' data in another order */
        from.portions[0].digest[0] = 'b';
        return;
    case 11:
    case 12:
        list_ids(which == 12);
        return;
    default: /* what the portions are is not known */
        from.labels.portion_count = 0;
        return;
    }
}

static run_identity sealed(void) {
    run_identity i;
    char names[PARTITION_PORTIONS_MAX][PORTION_NAME_MAX + 1];
    uint32_t count = from.labels.portion_count ? from.labels.portion_count : PORTIONS;
    for (uint32_t k = 0; k < count; k++) {
        snprintf(names[k], sizeof names[k], "%u", k);
    }
    assert_int_equal(run_identity_of(&i, &from.labels, (const char(*)[PORTION_NAME_MAX + 1]) names, count), ERR_OK);
    if (from.has_weights) {
        strcpy(i.weights_file, "weights.safetensors");
        memcpy(i.weights, from.weights, SHA256_BYTES);
    }
    assert_int_equal(run_identity_seal(&i, from.text, strlen(from.text)), ERR_OK);
    return i;
}

static void all_that_makes_the_model_is_in_it(void **state) {
    (void)state;
    uint64_t runs[CHANGES + 1];
    make();
    runs[CHANGES] = sealed().run;
    for (int c = 0; c < CHANGES; c++) {
        change(c);
        runs[c] = sealed().run;
        assert_true(runs[c] == sealed().run);
    }
    for (int a = 0; a <= CHANGES; a++) {
        for (int b = 0; b < a; b++) {
            assert_true(runs[a] != runs[b]);
        }
    }
}

static void two_trainings_are_of_one_run(void **state) {
    (void)state;
    make();
    run_identity one = sealed(), other = sealed();
    assert_true(one.run == other.run);
    assert_true(one.training != other.training);
}

static void it_comes_back(void **state) {
    (void)state;
    for (int c = 0; c < CHANGES; c++) {
        run_identity there;
        change(c);
        run_identity here = sealed();
        assert_int_equal(run_identity_write(&here, folder), ERR_OK);
        assert_int_equal(run_identity_read(&there, folder, from.text, strlen(from.text)), ERR_OK);
        assert_memory_equal(&here, &there, sizeof here);
        assert_int_equal(run_identity_read(&there, folder, "another", 7), ERR_INPUT);
        assert_non_null(strstr(err_text(), "identity.json: is of run "));
    }
}

static void what_differs_is_named(void **state) {
    (void)state;
    static const char *const named[] = {
        "its labels have digest", "its labels have digest", "on 5 training samples, not 6", "in 3 portions, not 4",
        "portion 0 has digest",   "portion 1 has digest",   "portion 2 has digest"};
    make();
    run_identity here = sealed();
    assert_int_equal(run_identity_check_data(&here, &here, "the run"), ERR_OK);
    for (size_t c = 0; c < sizeof named / sizeof *named; c++) {
        change((int)c);
        run_identity wanted = sealed();
        assert_int_equal(run_identity_check_data(&here, &wanted, "the run"), ERR_INPUT);
        assert_non_null(strstr(err_text(), "the run: is a run on other data: "));
        assert_non_null(strstr(err_text(), named[c]));
    }
}

/* Every field left out, every field of another kind. */
static void damaged_files_are_refused(void **state) {
    (void)state;
    change(9);
    run_identity here = sealed(), there;
    char path[FILE_PATH_MAX];
    json_error_t problem;
    assert_int_equal(run_identity_read(&there, folder, from.text, strlen(from.text)), ERR_INPUT);
    assert_non_null(strstr(err_text(), "has no identity.json: a run of an earlier version"));
    assert_int_equal(run_identity_write(&here, folder), ERR_OK);
    strcpy(path, in_folder("identity.json"));
    json_t *good = json_load_file(path, 0, &problem), *value;
    const char *field;
    assert_non_null(good);
    json_object_foreach(good, field, value) {
        json_t *bad[] = {json_null(), json_real(0.5), json_integer(-1), json_string("xyz"), json_array()};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            json_t *changed = json_copy(good);
            json_object_set_new(changed, field, bad[i]);
            assert_int_equal(json_dump_file(changed, path, 0), 0);
            assert_int_equal(run_identity_read(&there, folder, from.text, strlen(from.text)), ERR_INPUT);
            assert_non_null(strstr(err_text(), "identity.json: "));
            json_object_del(changed, field);
            assert_int_equal(json_dump_file(changed, path, 0), 0);
            assert_int_equal(run_identity_read(&there, folder, from.text, strlen(from.text)), ERR_INPUT);
            json_decref(changed);
        }
    }
    json_decref(good);
}

/* A portion that nothing is known of is what its node says first, from then on, and no part of the run's number. */
static void unknown_portions_are_pinned(void **state) {
    (void)state;
    change(13);
    run_identity i = sealed(), there;
    uint64_t before = i.run;
    char digest[SHA256_HEX] = "", other[SHA256_HEX] = "";
    bool is_new = false;
    memset(digest, 'a', SHA256_HEX - 1);
    memset(other, 'b', SHA256_HEX - 1);
    assert_int_equal(run_identity_pin(&i, 1, "no digest", &is_new), ERR_INPUT);
    assert_int_equal(run_identity_pin(&i, 1, digest, &is_new), ERR_OK);
    assert_true(is_new);
    assert_int_equal(run_identity_write(&i, folder), ERR_OK);
    assert_int_equal(run_identity_read(&there, folder, from.text, strlen(from.text)), ERR_OK);
    assert_memory_equal(&i, &there, sizeof i);
    assert_true(there.run == before);
    assert_int_equal(run_identity_pin(&there, 1, digest, &is_new), ERR_OK);
    assert_false(is_new);
    assert_int_equal(run_identity_pin(&there, 1, other, &is_new), ERR_INPUT);
    assert_non_null(strstr(err_text(), "portion 1 has digest bbbbbbbbbbbb, that of the run aaaaaaaaaaaa"));
    run_identity wanted = sealed();
    assert_int_equal(run_identity_check_data(&there, &wanted, "the run"), ERR_OK);
}

/* Labels that know their portions know all that the experiment has, by name. */
static void other_portions_than_the_labels_know_are_refused(void **state) {
    (void)state;
    static const char two[2][PORTION_NAME_MAX + 1] = {"0", "1"}, three[3][PORTION_NAME_MAX + 1] = {"0", "1", "host"};
    run_identity i;
    make();
    assert_int_equal(run_identity_of(&i, &from.labels, two, 2), ERR_INPUT);
    assert_string_equal(err_text(), "the labels are of 3 portions, the experiment has 2");
    assert_int_equal(run_identity_of(&i, &from.labels, three, 3), ERR_INPUT);
    assert_string_equal(err_text(), "the labels know no portion host");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_makes_the_model_is_in_it),
        cmocka_unit_test(two_trainings_are_of_one_run),
        IN_FOLDER(it_comes_back),
        cmocka_unit_test(what_differs_is_named),
        IN_FOLDER(damaged_files_are_refused),
        IN_FOLDER(unknown_portions_are_pinned),
        cmocka_unit_test(other_portions_than_the_labels_know_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
