/* Portion folders: what goes in comes out, of every type and rank, and what is wrong is refused by file and field. */
#include "data/npy.h"
#include "tests/lib/folder.h"
#include "tests/lib/json_edit.h"
#include "tests/lib/portion_info.h"

#include <math.h>

enum { TRAIN = 3, TEST = 2, ELEMENTS_MAX = 12 };

typedef struct kind {
    portion_shape shape;
    bool has_ids, has_scaling;
} kind;

static const kind kinds[] = {
    {{PORTION_U8, 1, {4}}, false, false},      {{PORTION_U8, 2, {2, 3}}, true, false},
    {{PORTION_U8, 3, {3, 2, 2}}, false, true}, {{PORTION_F32, 1, {5}}, true, true},
    {{PORTION_F32, 2, {3, 4}}, false, true},   {{PORTION_F32, 3, {1, 2, 2}}, true, false},
    {{PORTION_F32, 1, {1}}, false, true},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static uint8_t bytes[2][TRAIN * ELEMENTS_MAX];
static float floats[2][TRAIN * ELEMENTS_MAX], means[ELEMENTS_MAX], deviations[ELEMENTS_MAX];
static const char *const train_ids[TRAIN] = {"anna", "0", "ünïcode id"}, *const test_ids[TEST] = {"7", "b/c"};
static const portion_scaling none = {0};

static const char *where(void) {
    return in_folder("deeper/portion");
}

static void fill(void) {
    for (int i = 0; i < TRAIN * ELEMENTS_MAX; i++) {
        for (int split = 0; split < 2; split++) {
            bytes[split][i] = (uint8_t)(i * 37 + split);
            floats[split][i] = (float)(i - 7) * 0.3f + (float)split;
        }
    }
    for (int c = 0; c < ELEMENTS_MAX; c++) {
        means[c] = (float)c * 0.1f - 0.3f;
        deviations[c] = 0.1f + (float)c;
    }
}

/* A folder of this kind, and what it was written with. */
static portion_info write_kind(const kind *k) {
    const char *const *const lists[2] = {train_ids, test_ids};
    portion_info info = {.dataset = "made-up", .name = "Host_1.b-c", .shape = k->shape, .samples = {TRAIN, TEST}};
    const portion_scaling scaling = {portion_shape_channels(&k->shape), means, deviations};
    bool is_bytes = k->shape.type == PORTION_U8;
    portion_contents c = {.scaling = k->has_scaling ? &scaling : NULL};
    sample_ids *ids = NULL;
    fill();
    info.validation = 1;
    for (int split = 0; split < 2; split++) {
        c.values[split] = is_bytes ? (const void *)bytes[split] : (const void *)floats[split];
    }
    if (k->has_ids) {
        assert_int_equal(sample_ids_new(&ids, lists, info.samples), ERR_OK);
        c.ids = ids;
    }
    assert_int_equal(portion_write(where(), &info, &c), ERR_OK);
    sample_ids_free(ids);
    return info;
}

static void assert_ids(const portion *p, bool has_ids) {
    static const char *const counted[] = {"0", "1", "2", "3", "4"};
    for (uint32_t i = 0; i < TRAIN + TEST; i++) {
        enum dataset_split split = i < TRAIN ? DATASET_TRAIN : DATASET_TEST, found;
        uint32_t index = i < TRAIN ? i : i - TRAIN, at;
        const char *listed = i < TRAIN ? train_ids[i] : test_ids[i - TRAIN];
        const char *expected = has_ids ? listed : counted[i];
        assert_string_equal(portion_id(p, split, index), expected);
        assert_true(portion_find(p, expected, &found, &at));
        assert_int_equal(found, split);
        assert_int_equal(at, index);
    }
    static const char *const nobody[] = {"", "5", "00", "-1", "nobody", "4294967296", "18446744073709551616"};
    for (size_t i = 0; i < sizeof nobody / sizeof nobody[0]; i++) {
        enum dataset_split split;
        uint32_t at;
        assert_false(portion_find(p, nobody[i], &split, &at));
    }
}

static void assert_scaling(const portion *p, const kind *k) {
    const portion_scaling *s = portion_get_scaling(p);
    if (!k->has_scaling) {
        assert_null(s);
        return;
    }
    assert_int_equal(s->channels, portion_shape_channels(&k->shape));
    assert_memory_equal(s->mean, means, s->channels * sizeof *means);
    assert_memory_equal(s->std, deviations, s->channels * sizeof *deviations);
}

static void every_kind_comes_back(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        const kind *k = &kinds[i];
        portion_info info = write_kind(k);
        size_t size = portion_shape_bytes(&k->shape);
        bool is_bytes = k->shape.type == PORTION_U8;
        portion *p = NULL;
        assert_int_equal(portion_open(&p, where()), ERR_OK);
        assert_memory_equal(portion_get_info(p), &info, sizeof info);
        for (uint32_t s = 0; s < TRAIN; s++) {
            const uint8_t *all = is_bytes ? bytes[0] : (const uint8_t *)floats[0];
            assert_memory_equal(portion_sample(p, DATASET_TRAIN, s), all + s * size, size);
        }
        assert_memory_equal(portion_sample(p, DATASET_TEST, 1),
                            (is_bytes ? bytes[1] : (const uint8_t *)floats[1]) + size, size);
        assert_ids(p, k->has_ids);
        assert_scaling(p, k);
        assert_null(portion_get_columns(p));
        portion_close(p);
    }
    portion_close(NULL);
}

static void all_but_names_is_in_the_digest(void **state) {
    (void)state;
    const kind *k = &kinds[0];
    char digests[8][SHA256_HEX];
    portion_info info = write_kind(k);
    const portion_scaling scaling = {4, means, deviations};
    const char *const *const lists[2] = {train_ids, test_ids};
    sample_ids *ids = NULL;
    assert_int_equal(sample_ids_new(&ids, lists, info.samples), ERR_OK);
    const portion_contents plain = {.values = {bytes[0], bytes[1]}}, swapped = {.values = {bytes[1], bytes[0]}};
    const portion_contents with[] = {plain,
                                     swapped,
                                     {.values = {bytes[0], bytes[1]}, .ids = ids},
                                     {.values = {bytes[0], bytes[1]}, .scaling = &scaling}};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(portion_write(where(), &info, &with[i]), ERR_OK);
        strcpy(digests[i], info.digest);
    }
    portion_info other = info;
    other.shape = (portion_shape){PORTION_U8, 2, {2, 2}};
    assert_int_equal(portion_write(where(), &other, &plain), ERR_OK);
    strcpy(digests[4], other.digest);
    other = info;
    strcpy(other.name, "guest");
    strcpy(other.dataset, "other");
    assert_int_equal(portion_write(where(), &other, &plain), ERR_OK);
    assert_string_equal(other.digest, digests[0]);
    for (int a = 0; a < 5; a++) {
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(digests[a], digests[b]);
        }
    }
    sample_ids_free(ids);
}

static void assert_refused(err code, const char *name, const char *reason) {
    portion *p = NULL;
    assert_int_equal(portion_open(&p, where()), code);
    assert_null(p);
    assert_told(name, reason);
}

static void wrong_fields_are_refused(void **state) {
    (void)state;
    static const json_edit_case cases[] = {
        {"\"format\": 2,", "", "is not of format 2: make it again with fewbit data split or fewbit data pack"},
        {"\"format\": 2", "\"format\": 1", "is not of format 2"},
        {"\"format\": 2", "\"format\": \"2\"", "is not of format 2"},
        {"\"format\": 2", "\"format\": 2, \"more\": 1", "unknown field 'more'"},
        {"\"format\": 2", "\"format\": 2, \"format\": 2", "not JSON"},
        {"Host_1.b-c", ".host", "field 'portion'"},
        {"Host_1.b-c", "", "field 'portion'"},
        {"Host_1.b-c", "host/../..", "field 'portion'"},
        {"Host_1.b-c", "a-name-that-is-longer-than-31-bytes", "field 'portion'"},
        {"made-up", "", "field 'dataset'"},
        {"made-up", "../made-up", "field 'dataset'"},
        {"made-up", "a-name-that-is-longer-than-31-characters", "field 'dataset'"},
        {"\"f32\"", "\"f64\"", "field 'type'"},
        {"\"f32\"", "32", "field 'type'"},
        {"\"shape\": [", "\"shape\": [1, 1, 1, ", "field 'shape'"},
        {"\"shape\": [\n    5\n  ]", "\"shape\": []", "field 'shape'"},
        {"\"shape\": [\n    5\n  ]", "\"shape\": 5", "field 'shape'"},
        {"\"shape\": [\n    5", "\"shape\": [\n    0", "field 'shape'"},
        {"\"shape\": [\n    5", "\"shape\": [\n    1048577", "field 'shape'"},
        {"\"shape\": [\n    5", "\"shape\": [\n    1024, 1025", "field 'shape' has too many"},
        {"\"train_samples\": 3", "\"train_samples\": 0", "field 'train_samples'"},
        {"\"train_samples\": 3", "\"train_samples\": 268435456", "field 'train_samples' is too large"},
        {"\"test_samples\": 2", "\"test_samples\": 4294967296", "field 'test_samples'"},
        {"\"validation_samples\": 1", "\"validation_samples\": 3", "field 'validation_samples' is not below"},
        {"\"validation_samples\": 1", "\"validation_samples\": -1", "field 'validation_samples'"},
        {"\"validation_samples\": 1,", "", "field 'validation_samples' is missing"},
        {"\"listed\"", "\"none\"", "field 'ids'"},
        {"\"digest\": \"", "\"digest\": \"0", "field 'digest'"},
        {"\"mean\": [", "\"mean\": [0, ", "field 'mean' is not a list of 5 numbers"},
        {"\"std\": [", "\"std\": [\"1\", ", "field 'std' is not a list of 5 numbers"},
        {"\"std\": [", "\"sdt\": [", "unknown field 'sdt'"},
        {"\"digest\"", "\"columns\": {}, \"digest\"", "field 'columns'"},
        {"\"digest\"", "\"columns\": [{\"name\": \"a\", \"kind\": \"number\"}], \"digest\"",
         "the columns make f32 [1]"},
        {"\"digest\"", "\"partition\": [], \"digest\"", "field 'partition' is not an object"},
        {"\"digest\"", "\"partition\": {}, \"digest\"", "field 'kind' is missing"},
        {"{", "[", "not JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_kind(&kinds[3]);
        json_edit("deeper/portion/portion.json", &cases[i]);
        assert_refused(ERR_INPUT, "portion.json", cases[i].reason);
    }
    put("deeper/portion/portion.json", "[]", 2);
    assert_refused(ERR_INPUT, "portion.json", "not a JSON object");
}

static void wrong_scaling_is_refused(void **state) {
    (void)state;
    static const float bad[] = {0, -1, NAN, INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        portion_info info = write_kind(&kinds[3]);
        float std[5] = {1, 1, bad[i], 1, 1}, mean[5] = {0};
        const portion_scaling scaling = {5, mean, std};
        const portion_contents c = {.values = {floats[0], floats[1]}, .scaling = &scaling};
        assert_int_equal(portion_write(where(), &info, &c), ERR_INPUT);
        assert_told("", "the deviation of channel 2 is not above 0");
    }
    portion_info info = write_kind(&kinds[3]);
    float std[5] = {1, 1, 1, 1, 1}, mean[5] = {0, NAN};
    const portion_scaling scaling = {5, mean, std}, of_four = {4, mean, std};
    portion_contents c = {.values = {floats[0], floats[1]}, .scaling = &scaling};
    assert_int_equal(portion_write(where(), &info, &c), ERR_INPUT);
    assert_told("", "the mean of channel 1 is not finite");
    c.scaling = &of_four;
    assert_int_equal(portion_write(where(), &info, &c), ERR_INPUT);
    assert_told("", "the scaling of 4 channels is not of the 5");
    json_edit("deeper/portion/portion.json", &(json_edit_case){"\"std\": [\n    0.1", "\"std\": [\n    -0.1", ""});
    assert_refused(ERR_INPUT, "portion.json", "the deviation of channel 0 is not above 0");
}

/* A partition says what the portion is of, and must fit to it. */
static void wrong_partitions_are_refused(void **state) {
    (void)state;
    static const json_edit_case cases[] = {
        {"slices", "thirds", "field 'kind'"},
        {"\"portions\": 4", "\"portions\": 0", "field 'portions'"},
        {"\"portions\": 4", "\"portions\": 65", "field 'portions'"},
        {"\"portions\": 4", "\"portions\": 5", "do not part"},
        {"\"portions\": 4", "\"portions\": 8", "makes portions of another shape"},
        {"\"portion\": 2", "\"portion\": 4", "field 'portion' is not below"},
        {"\"portion\": 2", "\"portion\": -1", "field 'portion'"},
        {"[1, 28, 28]", "[1, 28]", "field 'sample_shape'"},
        {"[1, 28, 28]", "[1, 28, 0]", "field 'sample_shape'"},
        {"\"kind\"", "\"more\": 0, \"kind\"", "unknown field 'more'"},
    };
    static const uint8_t samples[TRAIN * 196];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        portion_info info = info_of_portion((partition){PARTITION_SLICES, 4, 1, 28, 28}, 2, TRAIN, TEST);
        assert_int_equal(portion_write(where(), &info, &(portion_contents){.values = {samples, samples}}), ERR_OK);
        portion *p;
        assert_int_equal(portion_open(&p, where()), ERR_OK);
        assert_memory_equal(portion_get_info(p), &info, sizeof info);
        portion_close(p);
        json_edit("deeper/portion/portion.json", &cases[i]);
        assert_refused(ERR_INPUT, "portion.json", cases[i].reason);
    }
}

static void files_that_disagree_are_refused(void **state) {
    (void)state;
    const char *record = "deeper/portion/portion.json";
    write_kind(&kinds[1]);
    json_edit(record, &(json_edit_case){"\"train_samples\": 3", "\"train_samples\": 4", ""});
    assert_refused(ERR_INPUT, "train.npy", "is not the 4 samples of u8 [2, 3]");
    write_kind(&kinds[1]);
    json_edit(record, &(json_edit_case){"\"train_samples\": 3", "\"train_samples\": 2", ""});
    assert_refused(ERR_INPUT, "train.npy", "more than the 12 allowed");
    write_kind(&kinds[1]);
    const uint32_t flat[] = {2, 6}, other[] = {2, 3, 2};
    assert_int_equal(npy_write(in_folder("deeper/portion/test.npy"), PORTION_U8, 2, flat, bytes[1]), ERR_OK);
    assert_refused(ERR_INPUT, "test.npy", "is not the 2 samples of u8 [2, 3]");
    assert_int_equal(npy_write(in_folder("deeper/portion/test.npy"), PORTION_U8, 3, other, bytes[1]), ERR_OK);
    assert_refused(ERR_INPUT, "test.npy", "is not the 2 samples of u8 [2, 3]");
}

static void other_contents_are_refused(void **state) {
    (void)state;
    portion_info info = write_kind(&kinds[1]);
    const uint32_t dims[] = {2, 2, 3};
    bytes[1][3]++;
    assert_int_equal(npy_write(in_folder("deeper/portion/test.npy"), PORTION_U8, 3, dims, bytes[1]), ERR_OK);
    assert_refused(ERR_INPUT, "deeper/portion", "SHA-256");
    assert_told("deeper/portion", info.digest);
    write_kind(&kinds[1]);
    put("deeper/portion/test-ids.txt", "8\nb/c\n", 6);
    assert_refused(ERR_INPUT, "deeper/portion", "SHA-256");
    write_kind(&kinds[2]);
    json_edit("deeper/portion/portion.json", &(json_edit_case){"\"mean\": [\n    -0.3", "\"mean\": [\n    -0.4", ""});
    assert_refused(ERR_INPUT, "deeper/portion", "SHA-256");
}

static void missing_files_are_named(void **state) {
    (void)state;
    static const char *const names[] = {"portion.json", "train.npy", "test.npy", "train-ids.txt", "test-ids.txt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[64];
        write_kind(&kinds[1]);
        snprintf(name, sizeof name, "deeper/portion/%s", names[i]);
        assert_int_equal(unlink(in_folder(name)), 0);
        assert_refused(ERR_NOT_FOUND, names[i], "cannot open");
    }
    write_kind(&kinds[0]);
    assert_false(file_exists(in_folder("deeper/portion/train-ids.txt"))); /* of a folder of before */
}

static void what_is_no_portion_is_not_written(void **state) {
    (void)state;
    write_kind(&kinds[1]);
    const portion_info good = {.dataset = "x", .name = "a", .shape = kinds[0].shape, .samples = {TRAIN, TEST}};
    portion_info bad[] = {good, good, good, good, good};
    const portion_contents c = {.values = {bytes[0], bytes[1]}};
    strcpy(bad[0].name, "-");
    bad[1].shape.dims[0] = 0;
    bad[2].samples[DATASET_TEST] = 0;
    bad[3].samples[DATASET_TRAIN] = UINT32_MAX;
    bad[4].validation = TRAIN;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(portion_write(where(), &bad[i], &c), ERR_INPUT);
    }
    portion *p; /* what was there is as it was */
    assert_int_equal(portion_open(&p, where()), ERR_OK);
    portion_close(p);
}

/* Every value of a portion, scaled by what is on paper. */
static void scaling_is_a_channel(void **state) {
    (void)state;
    fill();
    for (size_t i = 0; i < KINDS; i++) {
        const portion_shape *s = &kinds[i].shape;
        size_t elements = portion_shape_elements(s);
        bool is_bytes = s->type == PORTION_U8;
        const uint8_t *from = is_bytes ? bytes[0] : (const uint8_t *)floats[0];
        uint8_t shifted[TRAIN * ELEMENTS_MAX * sizeof(float) + 1]; /* portions of a message lie anywhere */
        memcpy(shifted + 1, from, TRAIN * portion_shape_bytes(s));
        for (uint32_t channels = 0; channels < 3; channels++) {
            uint32_t count = channels == 2 ? portion_shape_channels(s) : channels;
            const portion_scaling scaling = {count, means, deviations};
            float out[TRAIN * ELEMENTS_MAX];
            portion_scaling_apply(&scaling, s, shifted + 1, TRAIN, out);
            for (size_t k = 0; k < TRAIN * elements; k++) {
                float x = is_bytes ? (float)bytes[0][k] / 255.0f : floats[0][k];
                size_t c = count > 1 ? k % elements / (elements / count) : 0;
                float expected = count ? (x - means[c]) / deviations[c] : x;
                assert_memory_equal(&out[k], &expected, sizeof expected);
            }
        }
    }
    assert_int_equal(portion_scaling_check(&none), ERR_OK);
}

static void values_are_checked(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const portion_shape s = {PORTION_F32, 2, {2, 3}}, b = {PORTION_U8, 1, {24}};
    float values[6] = {0};
    assert_int_equal(portion_check_values(&s, values), ERR_OK);
    for (size_t i = 0; i < 18; i++) {
        memset(values, 0, sizeof values);
        values[i % 6] = bad[i / 6];
        assert_int_equal(portion_check_values(&s, values), ERR_INPUT);
        char text[32];
        snprintf(text, sizeof text, "element %zu is not finite", i % 6);
        assert_string_equal(err_text(), text);
        assert_int_equal(portion_check_values(&b, values), ERR_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(every_kind_comes_back),
        IN_FOLDER(all_but_names_is_in_the_digest),
        IN_FOLDER(wrong_fields_are_refused),
        IN_FOLDER(wrong_scaling_is_refused),
        IN_FOLDER(wrong_partitions_are_refused),
        IN_FOLDER(files_that_disagree_are_refused),
        IN_FOLDER(other_contents_are_refused),
        IN_FOLDER(missing_files_are_named),
        IN_FOLDER(what_is_no_portion_is_not_written),
        cmocka_unit_test(scaling_is_a_channel),
        cmocka_unit_test(values_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
