/* The table of answers and the cache of seen ones. */
#include "base/err.h"
#include "base/rng.h"
#include "decoder_server/serve/prediction_cache.h"
#include "decoder_server/serve/prediction_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { CLASSES = 3, WORDS_MAX = 17 };

/* The made-up answer to a key, told apart from that of any other in these tests. */
static void answer_to(const uint64_t *key, uint32_t words, float answer[CLASSES]) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < words; i++) {
        sum = sum * 31 + key[i];
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        answer[c] = (float)((sum >> 20 * c) & 0xFFFFF);
    }
}

static void put(prediction_cache *s, const uint64_t *key, uint32_t words) {
    float answer[CLASSES];
    answer_to(key, words, answer);
    prediction_cache_put(s, key, (uint32_t)(key[0] % 7), answer);
}

/* Whether the key is there; then with its own answer. */
static bool has(prediction_cache *s, const uint64_t *key, uint32_t words) {
    uint32_t class = 99;
    float answer[CLASSES];
    const float *found = prediction_cache_find(s, key, &class);
    if (!found) {
        return false;
    }
    answer_to(key, words, answer);
    assert_memory_equal(found, answer, sizeof answer);
    assert_int_equal(class, key[0] % 7);
    return true;
}

static prediction_cache *make_seen(uint32_t words, size_t bytes) {
    prediction_cache *s = NULL;
    assert_int_equal(prediction_cache_new(&s, words, CLASSES, bytes), ERR_OK);
    assert_true(prediction_cache_count(s)->bytes <= bytes);
    return s;
}

static void the_cache_finds_what_it_has(void **state) {
    (void)state;
    for (uint32_t words = 1; words <= WORDS_MAX; words++) {
        prediction_cache *s = make_seen(words, 1 << 24);
        uint64_t key[WORDS_MAX] = {0};
        assert_false(has(s, key, words)); /* also the key of zeroes */
        put(s, key, words);
        assert_true(has(s, key, words));
        for (uint32_t bit = 0; bit < 64 * words; bit++) { /* every bit of a key counts */
            key[bit / 64] ^= (uint64_t)1 << bit % 64;
            assert_false(has(s, key, words));
            put(s, key, words);
            assert_true(has(s, key, words));
            key[bit / 64] ^= (uint64_t)1 << bit % 64;
        }
        assert_true(has(s, key, words));
        assert_int_equal(prediction_cache_count(s)->used, 64 * words + 1);
        put(s, key, words); /* once more: no second place */
        assert_int_equal(prediction_cache_count(s)->used, 64 * words + 1);
        assert_int_equal(prediction_cache_count(s)->evictions, 0);
        assert_int_equal(prediction_cache_count(s)->hits, 64 * words + 2);
        assert_int_equal(prediction_cache_count(s)->misses, 64 * words + 1);
        prediction_cache_free(s);
    }
}

/* The cache's hash of a key of one word: the first step for a longer one. */
static uint64_t hash(uint64_t word) {
    uint64_t h = word + 0x9E3779B97F4A7C15u;
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCDu;
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53u;
    return h ^ h >> 33;
}

/* Different keys of one and the same hash: each has its own answer. */
static void keys_that_clash_are_told_apart(void **state) {
    (void)state;
    enum { PLACES = 8 };
    prediction_cache *s = make_seen(2, 1 << 20);
    uint64_t keys[PLACES + 1][2];
    for (uint64_t i = 0; i <= PLACES; i++) {
        keys[i][0] = i;
        keys[i][1] = hash(i) ^ 12345;
        assert_false(has(s, keys[i], 2));
        put(s, keys[i], 2);
        for (uint64_t before = i < PLACES ? 0 : i; before <= i; before++) {
            assert_true(has(s, keys[before], 2));
        }
    }
    assert_int_equal(prediction_cache_count(s)->evictions, 1); /* so they do clash */
    prediction_cache_free(s);
}

/* Many more keys than places: whatever is found is right, and no place is lost. */
static void a_full_cache_is_never_wrong(void **state) {
    (void)state;
    prediction_cache *s = make_seen(2, 20000);
    size_t capacity = prediction_cache_count(s)->capacity;
    assert_in_range(capacity, 64, 20000 / 32);
    rng r = rng_at(1, rng_stream(RNG_TEST, 0), 0);
    uint64_t found = 0;
    for (int turn = 0; turn < 200000; turn++) {
        uint64_t key[2] = {rng_below(&r, (uint32_t)capacity * 4), rng_below(&r, 2)};
        if (has(s, key, 2)) {
            found++;
        } else {
            put(s, key, 2);
            assert_true(has(s, key, 2));
        }
    }
    assert_int_equal(prediction_cache_count(s)->used, capacity);
    assert_in_range(found, 200000 / 16, 200000 / 4); /* an eighth of the keys has room */
    assert_true(prediction_cache_count(s)->evictions > 100000);
    prediction_cache_free(s);
}

/* What is asked for again and again stays, however many pass by. */
static void what_is_wanted_stays(void **state) {
    (void)state;
    prediction_cache *s = make_seen(2, 20000);
    enum { WANTED = 8 };
    for (uint64_t i = 0; i < WANTED; i++) {
        put(s, (uint64_t[]){i, 1}, 2);
    }
    for (uint64_t i = 0; i < 100000; i++) {
        assert_true(has(s, (uint64_t[]){i % WANTED, 1}, 2));
        put(s, (uint64_t[]){i, 2}, 2);
    }
    prediction_cache_free(s);
}

static void a_cache_too_small_is_refused(void **state) {
    (void)state;
    prediction_cache *s = NULL;
    assert_int_equal(prediction_cache_new(&s, 2, CLASSES, 100), ERR_INPUT);
    assert_non_null(strstr(err_text(), "too small"));
}

static void the_table_keeps_every_codeword(void **state) {
    (void)state;
    enum { BITS = 10 };
    prediction_table *a = NULL;
    assert_int_equal(prediction_table_new(&a, BITS, CLASSES), ERR_OK);
    assert_int_equal(prediction_table_size(a), 1 << BITS);
    for (uint32_t codeword = 0; codeword < 1 << BITS; codeword++) {
        float answer[CLASSES];
        assert_int_equal(prediction_table_class(a, codeword), PREDICTION_TABLE_UNKNOWN);
        assert_int_equal(prediction_table_known(a), codeword);
        answer_to(&(uint64_t){codeword}, 1, answer);
        prediction_table_put(a, codeword, codeword % CLASSES, answer);
        prediction_table_put(a, codeword, codeword % CLASSES, answer);
    }
    assert_int_equal(prediction_table_known(a), 1 << BITS);
    for (uint32_t codeword = 0; codeword < 1 << BITS; codeword++) {
        float answer[CLASSES];
        answer_to(&(uint64_t){codeword}, 1, answer);
        assert_int_equal(prediction_table_class(a, codeword), codeword % CLASSES);
        assert_memory_equal(prediction_table_probabilities(a, codeword), answer, sizeof answer);
    }
    prediction_table_free(a);
}

static void the_table_says_what_it_takes(void **state) {
    (void)state;
    assert_int_equal(prediction_table_bytes(16, 10), 65536 * 41);
    assert_int_equal(prediction_table_bytes(1, 100), 2 * 401);
    assert_true(prediction_table_bytes(PREDICTION_TABLE_BITS_MAX + 1, 10) == SIZE_MAX);
    assert_true(prediction_table_bytes(4, PREDICTION_TABLE_UNKNOWN) == SIZE_MAX); /* a class is a byte */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cache_finds_what_it_has),  cmocka_unit_test(keys_that_clash_are_told_apart),
        cmocka_unit_test(a_full_cache_is_never_wrong),  cmocka_unit_test(what_is_wanted_stays),
        cmocka_unit_test(a_cache_too_small_is_refused), cmocka_unit_test(the_table_keeps_every_codeword),
        cmocka_unit_test(the_table_says_what_it_takes),
    };
    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
