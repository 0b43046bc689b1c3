/* What `fewbit data pack` decides: which part a sample is for, which dimensions are chosen, how values are scaled. */
#include "cli/packing/pack_parts.h"
#include "cli/packing/pack_portion.h"
#include "cli/packing/pack_series.h"

#include "base/sha256.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void shares_are_percentages_below_100(void **state) {
    (void)state;
    static const struct {
        const char *text;
        double share;
    } good[] = {{"0%", 0}, {"20%", 0.2}, {"12.5%", 0.125}, {"99.9%", 0.999}};
    static const char *const bad[] = {"",     "20",   "%",    "100%",  "-1%",  "20%%",
                                      " 20%", "1e3%", "1e1%", "0x20%", "nan%", "x%"};
    double share;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(pack_parts_parse_share(good[i].text, &share), ERR_OK);
        assert_true(fabs(share - good[i].share) < 1e-12);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(pack_parts_parse_share(bad[i], &share), ERR_USAGE);
    }
}

static void an_id_falls_where_its_hash_says(void **state) {
    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        char text[64], salted[80];
        uint8_t digest[SHA256_BYTES];
        double at, wanted = 0;
        snprintf(text, sizeof text, "sample-%u", i);
        int length = snprintf(salted, sizeof salted, "fewbit split%s", text);
        assert_int_equal(sha256_bytes(salted, (size_t)length, digest), ERR_OK);
        for (int k = 7; k >= 0; k--) {
            wanted = (wanted + digest[k]) / 256;
        }
        assert_int_equal(pack_parts_hash(text, &at), ERR_OK);
        assert_true(at >= 0 && at < 1 && fabs(at - wanted) < 1e-15);
    }
}

static void dimensions_are_ascending_ranges(void **state) {
    (void)state;
    pack_dimensions d;
    assert_int_equal(pack_series_parse_dimensions("0-2,5,7-8", &d), ERR_OK);
    static const uint32_t wanted[] = {0, 1, 2, 5, 7, 8};
    assert_int_equal(d.count, 6);
    assert_memory_equal(d.list, wanted, sizeof wanted);
    assert_int_equal(pack_series_parse_dimensions("0-1023", &d), ERR_OK);
    assert_int_equal(d.count, PACK_SERIES_DIMENSIONS_MAX);
    static const char *const bad[] = {
        "",    "a",    "1,",   ",1",   "2-1",    "1,1",     "1,0", "-1",
        "0--", "0-2,", "0 -1", "1024", "0-1024", "0-2,2-3", "1-",  "99999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(pack_series_parse_dimensions(bad[i], &d), ERR_USAGE);
    }
}

static void pieces_are_quadrants_or_planes(void **state) {
    (void)state;
    pack_piece piece = {.is_whole = true};
    assert_int_equal(pack_portion_parse_piece("quadrants:3", &piece), ERR_OK);
    assert_true(!piece.is_whole && piece.kind == PARTITION_QUADRANTS && piece.index == 3);
    assert_int_equal(pack_portion_parse_piece("planes:0", &piece), ERR_OK);
    assert_true(piece.kind == PARTITION_PLANES && piece.index == 0);
    static const char *const bad[] = {"", ":", "planes", "planes:", "planes:x", "planes:-1", "planes:64", "slices:0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(pack_portion_parse_piece(bad[i], &piece), ERR_USAGE);
    }
}

/* Of every rank, against the definition. */
static void scaling_is_the_mean_and_deviation_a_channel(void **state) {
    (void)state;
    static const portion_shape shapes[] = {{PORTION_F32, 1, {5}}, {PORTION_F32, 2, {3, 4}}, {PORTION_F32, 3, {2, 3, 4}},
                                           {PORTION_U8, 1, {4}},  {PORTION_U8, 2, {2, 5}},  {PORTION_U8, 3, {3, 2, 2}}};
    enum { COUNT = 11 };
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const portion_shape *shape = &shapes[s];
        float floats[COUNT * 24], mean[24], std[24];
        uint8_t bytes[COUNT * 24];
        size_t elements = portion_shape_elements(shape), channels = portion_shape_channels(shape);
        for (size_t i = 0; i < COUNT * elements; i++) {
            bytes[i] = (uint8_t)(i * i * 31 % 256);
            floats[i] = 1e4f + (float)bytes[i] / 16;
        }
        bool is_bytes = shape->type == PORTION_U8;
        assert_int_equal(pack_portion_measure(shape, is_bytes ? (void *)bytes : floats, COUNT, mean, std), ERR_OK);
        for (size_t c = 0; c < channels; c++) {
            double sum = 0, squares = 0, count = 0;
            for (size_t i = 0; i < COUNT * elements; i++) {
                if (i % elements / (elements / channels) == c) {
                    double value = is_bytes ? bytes[i] / 255.0 : (double)floats[i];
                    sum += value;
                    squares += value * value;
                    count++;
                }
            }
            double wanted = sum / count, deviation = sqrt(squares / count - wanted * wanted);
            assert_true(fabs((double)mean[c] - wanted) <= 1e-6 * fabs(wanted));
            assert_true(fabs((double)std[c] - deviation) <= 1e-4 * deviation);
        }
    }
}

static void what_is_constant_or_almost_is_scaled_all_the_same(void **state) {
    (void)state;
    static const float values[] = {0.1f, 1e-45f, 3e38f, 0.1f, 0, -3e38f, 0.1f, 0, 3e38f};
    float mean[3], std[3];
    assert_int_equal(pack_portion_measure(&(portion_shape){PORTION_F32, 1, {3}}, values, 3, mean, std), ERR_OK);
    assert_true(mean[0] == 0.1f && std[0] == 1);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(isfinite(mean[i]) && isfinite(std[i]) && std[i] > 0);
    }
}

/* A table of hashes of their first bytes alone would look at every id for each: an hour of a processor, not a second.
 */
static void many_ids_that_begin_alike_are_checked_soon(void **state) {
    (void)state;
    enum { IDS = 200000, SECONDS_MAX = 20 };
    pack_samples s;
    char id[64];
    pack_samples_init(&s);
    s.paths[0] = "a.csv";
    for (uint32_t i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "patient-%08u", i);
        assert_int_equal(pack_samples_add(&s, id, NULL, i + 2), ERR_OK);
    }
    clock_t from = clock();
    assert_int_equal(pack_samples_check(&s), ERR_OK);
    assert_true(clock() - from < SECONDS_MAX * CLOCKS_PER_SEC);
    for (uint32_t i = 0; i < 3; i++) { /* the first one that was there is told, at its own line */
        snprintf(id, sizeof id, "patient-%08u", i == 0 ? 77 : i);
        assert_int_equal(pack_samples_add(&s, id, NULL, IDS + 2 + i), ERR_OK);
        assert_int_equal(pack_samples_check(&s), ERR_INPUT);
        assert_string_equal(err_text(), "a.csv: line 200002: the id 'patient-00000077' is there twice");
    }
    pack_samples_free(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_percentages_below_100),
        cmocka_unit_test(an_id_falls_where_its_hash_says),
        cmocka_unit_test(dimensions_are_ascending_ranges),
        cmocka_unit_test(pieces_are_quadrants_or_planes),
        cmocka_unit_test(scaling_is_the_mean_and_deviation_a_channel),
        cmocka_unit_test(what_is_constant_or_almost_is_scaled_all_the_same),
        cmocka_unit_test(many_ids_that_begin_alike_are_checked_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
