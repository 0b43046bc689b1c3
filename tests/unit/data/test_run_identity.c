/* The identity of a run: everything that makes its model changes it, nothing else does, and what differs is named. */
#include "data/run_identity.h"

#include "tests/lib/folder.h"

#include <jansson.h>

enum { PORTIONS = 3, SAMPLES = 5, CHANGES = 11 };

static const char experiment_text[] = "an experiment\n";

static struct {
    labels labels;
    uint8_t values[2][SAMPLES + 1];
    char digests[PARTITION_PORTIONS_MAX][SHA256_HEX];
    char text[32];
    bool has_weights;
    uint8_t weights[SHA256_BYTES];
} from;

static void make(void) {
    memset(&from, 0, sizeof from);
    from.labels = (labels){.dataset = "mnist",
                           .partition = {PARTITION_SLICES, PORTIONS, 1, 28, 28},
                           .classes = 10,
                           .samples = {SAMPLES, SAMPLES},
                           .values = {from.values[0], from.values[1]},
                           .portion_digests = from.digests};
    for (uint32_t k = 0; k < PARTITION_PORTIONS_MAX; k++) {
        memset(from.digests[k], 'a', SHA256_HEX - 1);
    }
    strcpy(from.text, experiment_text);
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
        from.labels.partition.portions++;
        return;
    case 4:
    case 5:
    case 6:
        from.digests[which - 4][SHA256_HEX - 2] = 'b';
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
    default: /* portions' data in another order */
        from.digests[0][0] = 'b';
        return;
    }
}

static run_identity sealed(void) {
    run_identity i;
    assert_int_equal(run_identity_of(&i, &from.labels), ERR_OK);
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
        json_t *bad[] = {json_null(), json_true(), json_integer(-1), json_string("xyz"), json_array()};
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_makes_the_model_is_in_it),
        cmocka_unit_test(two_trainings_are_of_one_run),
        IN_FOLDER(it_comes_back),
        cmocka_unit_test(what_differs_is_named),
        IN_FOLDER(damaged_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
