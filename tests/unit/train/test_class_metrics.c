/* Metrics by class, against counts made by hand and the definitions gone through pair by pair. */
#include "decoder_server/train/class_metrics.h"
#include "tests/lib/nets.h"

#include <math.h>

enum { MOST = 1024 };

static void assert_near(double a, double b) {
    if (!(fabs(a - b) < 1e-12)) {
        fail_msg("%.17g is not %.17g", a, b);
    }
}

static class_metrics *made(uint32_t classes, uint32_t samples) {
    class_metrics *m = NULL;
    assert_int_equal(class_metrics_new(&m, classes, samples), ERR_OK);
    class_metrics_start(m);
    return m;
}

/* A sample that is taken for a class with that probability; the others share the rest. */
static void add_one(class_metrics *m, uint32_t classes, uint32_t taken, float confidence, uint8_t label) {
    float p[256];
    for (uint32_t c = 0; c < classes; c++) {
        p[c] = c == taken ? confidence : (1 - confidence) / (float)(classes - 1);
    }
    class_metrics_add(m, p, &label, 1);
}

static void all_right_and_all_wrong(void **state) {
    (void)state;
    static const uint32_t sizes[] = {2, 3, 10, 100};
    for (size_t i = 0; i < 4; i++) {
        uint32_t classes = sizes[i];
        class_metrics *m = made(classes, 2 * classes);
        for (uint32_t c = 0; c < 2 * classes; c++) {
            add_one(m, classes, c % classes, 1, (uint8_t)(c % classes));
        }
        for (uint32_t c = 0; c < classes; c++) {
            assert_int_equal(class_metrics_count(m, c, c), 2);
            assert_near(class_metrics_precision(m, c), 1);
            assert_near(class_metrics_recall(m, c), 1);
            assert_near(class_metrics_f1(m, c), 1);
        }
        assert_near(class_metrics_macro_f1(m), 1);
        assert_near(class_metrics_calibration_error(m), 0);
        assert_true(classes == 2 ? class_metrics_auc(m) == 1 : isnan(class_metrics_auc(m)));
        class_metrics_start(m); /* forgets: the same memory has room for as many again */
        for (uint32_t c = 0; c < 2 * classes; c++) {
            add_one(m, classes, (c + 1) % classes, 1, (uint8_t)(c % classes));
        }
        assert_int_equal(class_metrics_count(m, 0, 1), 2);
        assert_int_equal(class_metrics_count(m, 0, 0), 0);
        assert_near(class_metrics_macro_f1(m), 0);
        assert_near(class_metrics_calibration_error(m), 1);
        assert_true(classes == 2 ? class_metrics_auc(m) == 0 : isnan(class_metrics_auc(m)));
        class_metrics_free(m);
    }
}

static void what_is_undefined_is_0(void **state) {
    (void)state;
    class_metrics *m = made(3, 4);
    assert_near(class_metrics_macro_f1(m), 0); /* of no sample at all */
    assert_near(class_metrics_calibration_error(m), 0);
    add_one(m, 3, 0, 0.9f, 0); /* a single one */
    assert_near(class_metrics_precision(m, 0), 1);
    assert_near(class_metrics_recall(m, 0), 1);
    for (uint32_t c = 1; c < 3; c++) {
        assert_near(class_metrics_precision(m, c), 0);
        assert_near(class_metrics_recall(m, c), 0);
        assert_near(class_metrics_f1(m, c), 0);
    }
    assert_near(class_metrics_macro_f1(m), 1.0 / 3);
    add_one(m, 3, 0, 0.9f, 1);
    add_one(m, 3, 2, 0.9f, 0);
    assert_near(class_metrics_precision(m, 0), 0.5);
    assert_near(class_metrics_recall(m, 0), 0.5);
    assert_near(class_metrics_recall(m, 1), 0);
    assert_near(class_metrics_precision(m, 2), 0);
    class_metrics_free(m);
    m = made(2, 4);
    assert_true(isnan(class_metrics_auc(m)));
    for (int i = 0; i < 3; i++) { /* one class alone has no curve */
        add_one(m, 2, 0, 0.75f, 0);
    }
    assert_true(isnan(class_metrics_auc(m)));
    json_t *j = class_metrics_json(m);
    assert_true(json_is_null(json_object_get(j, "auc")));
    json_decref(j);
    add_one(m, 2, 0, 0.75f, 1);
    assert_near(class_metrics_auc(m), 0.5);
    class_metrics_free(m);
}

/* The first of equal probabilities is what a sample is taken for. */
static void ties_are_taken_for_the_first(void **state) {
    (void)state;
    class_metrics *m = made(3, 2);
    const float p[6] = {0.25f, 0.375f, 0.375f, 0, 0, 0};
    class_metrics_add(m, p, (const uint8_t[]){2, 1}, 2);
    assert_int_equal(class_metrics_count(m, 2, 1), 1);
    assert_int_equal(class_metrics_count(m, 1, 0), 1);
    class_metrics_free(m);
}

static void auc_counts_ties_half(void **state) {
    (void)state;
    static const float ones[] = {0.5f, 0.5f, 0.25f, 1, 0, 0, 0.25f};
    static const uint8_t labels[] = {1, 0, 0, 1, 0, 1, 1};
    /* pairs: 1 against 0.5, 0.25, 0: three; 0.5: a half and two; 0.25: a half and one; 0: a half */
    class_metrics *m = made(2, 7);
    for (size_t i = 0; i < 7; i++) {
        class_metrics_add(m, (const float[]){1 - ones[i], ones[i]}, &labels[i], 1);
    }
    assert_near(class_metrics_auc(m), (3 + 2.5 + 1.5 + 0.5) / 12);
    assert_near(class_metrics_auc(m), 7.5 / 12); /* asked again */
    class_metrics_free(m);
}

/* Pair by pair, of scores that are near to each other, equal, tiny or 0. */
static void auc_is_exact(void **state) {
    (void)state;
    static float scores[MOST];
    static uint8_t labels[MOST];
    for (uint32_t kind = 0; kind < 4; kind++) {
        for (uint32_t n = 2; n <= MOST; n *= 2) {
            float *draws = random_floats(kind * 16 + n, 2 * n, 0, 1);
            class_metrics *m = made(2, n);
            for (uint32_t i = 0; i < n; i++) {
                labels[i] = i < 2 ? (uint8_t)i : draws[n + i] < 0.3f;
                scores[i] = kind == 0   ? draws[i]
                            : kind == 1 ? floorf(draws[i] * 4) / 4
                            : kind == 2 ? draws[i] * 1e-42f
                                        : 1 - floorf(draws[i] * 4) * 0x1p-24f;
                class_metrics_add(m, (const float[]){1 - scores[i], scores[i]}, &labels[i], 1);
            }
            double halves = 0, pairs = 0;
            for (uint32_t i = 0; i < n; i++) {
                for (uint32_t k = 0; k < n && labels[i] == 1; k++) {
                    pairs += labels[k] == 0;
                    halves += labels[k] == 0 ? (scores[i] > scores[k] ? 2 : scores[i] == scores[k]) : 0;
                }
            }
            assert_true(class_metrics_auc(m) == halves / (2 * pairs));
            class_metrics_free(m);
            free(draws);
        }
    }
}

static void bins_are_equally_wide(void **state) {
    (void)state;
    class_metrics *m = made(256, MOST);
    for (uint32_t bin = 0; bin < CLASS_METRICS_BINS; bin++) {
        float low = ((float)bin + 0.01f) / CLASS_METRICS_BINS, high = ((float)bin + 0.99f) / CLASS_METRICS_BINS;
        class_metrics_start(m);
        add_one(m, 256, 0, low > 0.01f ? low : 0.01f, 0);
        add_one(m, 256, 7, high, 0);
        for (uint32_t i = 0; i < CLASS_METRICS_BINS; i++) {
            assert_int_equal(class_metrics_bins(m)[i].samples, i == bin ? 2 : 0);
            assert_int_equal(class_metrics_bins(m)[i].correct, i == bin ? 1 : 0);
        }
    }
    class_metrics_start(m);
    add_one(m, 256, 0, 1, 0);
    assert_int_equal(class_metrics_bins(m)[CLASS_METRICS_BINS - 1].samples, 1);
    class_metrics_start(m);
    add_one(m, 256, 0, 0.75f, 0); /* two of three are right where 0.75 was said: 1/12; one of one at 0.5: 1/2 */
    add_one(m, 256, 1, 0.75f, 1);
    add_one(m, 256, 1, 0.75f, 2);
    add_one(m, 256, 3, 0.5f, 3);
    assert_near(class_metrics_calibration_error(m), (3.0 / 4) * (0.75 - 2.0 / 3) + (1.0 / 4) * 0.5);
    class_metrics_free(m);
}

/* Nothing that a broken net puts out reads or writes beside. */
static void no_number_counts_as_0(void **state) {
    (void)state;
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, -1, 2, -0.0f, 1e30f};
    class_metrics *m = made(2, 64);
    for (size_t i = 0; i < 8; i++) {
        for (size_t k = 0; k < 8; k++) {
            class_metrics_add(m, (const float[]){odd[i], odd[k]}, (const uint8_t[]){(uint8_t)(k % 2)}, 1);
        }
    }
    assert_near(class_metrics_auc(m), 0.5);
    json_t *j = class_metrics_json(m);
    assert_int_equal(
        json_integer_value(json_object_get(json_array_get(json_object_get(j, "reliability"), 0), "samples")), 64);
    json_decref(j);
    class_metrics_free(m);
}

/* In one batch or one by one: the same. */
static void batches_make_no_difference(void **state) {
    (void)state;
    enum { ROWS = 50, CLASSES = 5 };
    float *p = random_floats(99, ROWS * CLASSES, 0, 1);
    uint8_t labels[ROWS];
    class_metrics *whole = made(CLASSES, ROWS), *pieces = made(CLASSES, ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        labels[i] = (uint8_t)(i * 3 % CLASSES);
        class_metrics_add(pieces, p + i * CLASSES, &labels[i], 1);
    }
    class_metrics_add(whole, p, labels, ROWS);
    json_t *a = class_metrics_json(whole), *b = class_metrics_json(pieces);
    assert_true(json_equal(a, b));
    assert_int_equal(json_integer_value(json_object_get(a, "samples")), ROWS);
    assert_int_equal(json_array_size(json_object_get(a, "confusion")), CLASSES);
    assert_null(json_object_get(a, "auc"));
    json_decref(a);
    json_decref(b);
    class_metrics_free(whole);
    class_metrics_free(pieces);
    free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_right_and_all_wrong),
        cmocka_unit_test(what_is_undefined_is_0),
        cmocka_unit_test(ties_are_taken_for_the_first),
        cmocka_unit_test(auc_counts_ties_half),
        cmocka_unit_test(auc_is_exact),
        cmocka_unit_test(bins_are_equally_wide),
        cmocka_unit_test(no_number_counts_as_0),
        cmocka_unit_test(batches_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
