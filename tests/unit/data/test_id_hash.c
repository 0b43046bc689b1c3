/* Two sides' ids, matched by their hashes and by private set intersection: of any two sets, in any order, exactly what
 * both have. */
#include "base/rng.h"
#include "data/psi.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IDS_MAX = 400, ID_BYTES = 24, TRIALS = 12, POINTS = 150 };

/* A side: ids "patient-N" of one number each, in an order of its own. */
typedef struct side {
    uint32_t count;
    uint32_t numbers[IDS_MAX];
} side;

static void id_of(uint32_t number, char id[ID_BYTES]) {
    snprintf(id, ID_BYTES, "patient-%u", number);
}

/* `count` different numbers from `first` on, shuffled. */
static side make_side(rng *draws, uint32_t first, uint32_t count) {
    side s = {.count = count};
    for (uint32_t i = 0; i < count; i++) {
        s.numbers[i] = first + i;
    }
    rng_shuffle(draws, s.numbers, count);
    return s;
}

static void hash_side(const side *s, uint8_t salt_byte, enum dataset_split split, id_hash *to) {
    uint8_t salt[ID_HASH_SALT];
    char id[ID_BYTES];
    memset(salt, salt_byte, sizeof salt);
    for (uint32_t i = 0; i < s->count; i++) {
        id_of(s->numbers[i], id);
        assert_int_equal(id_hash_of(salt, split, id, &to[i]), ERR_OK);
    }
}

static void blind_side(const psi *p, const side *s, enum dataset_split split, thread_pool *pool, uint8_t *to) {
    uint8_t seeds[IDS_MAX][PSI_SEED_BYTES];
    char id[ID_BYTES];
    for (uint32_t i = 0; i < s->count; i++) {
        id_of(s->numbers[i], id);
        assert_int_equal(psi_seed(split, id, seeds[i]), ERR_OK);
    }
    assert_int_equal(psi_blind(p, &seeds[0][0], s->count, to, pool), ERR_OK);
}

/* What each of `mine` is matched with in `theirs`, by the keys of both. */
static void match(const id_hash *mine, uint32_t count, const id_hash *theirs, uint32_t their_count, uint32_t *places) {
    id_table *t = NULL;
    assert_int_equal(id_table_new(&t, theirs, their_count), ERR_OK);
    for (uint32_t i = 0; i < count; i++) {
        places[i] = id_table_find(t, &mine[i]);
    }
    id_table_free(t);
}

static void match_by_hash(const side *mine, const side *theirs, uint32_t *places) {
    id_hash a[IDS_MAX], b[IDS_MAX];
    hash_side(mine, 7, DATASET_TRAIN, a);
    hash_side(theirs, 7, DATASET_TRAIN, b);
    match(a, mine->count, b, theirs->count, places);
}

static void keys_of(const uint8_t *points, uint32_t count, id_hash *keys) {
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(psi_key(points + (size_t)i * PSI_POINT_BYTES, &keys[i]), ERR_OK);
    }
}

static void match_by_psi(const side *mine, const side *theirs, thread_pool *pool, uint32_t *places) {
    static uint8_t a[IDS_MAX * PSI_POINT_BYTES], b[IDS_MAX * PSI_POINT_BYTES];
    id_hash keys_a[IDS_MAX], keys_b[IDS_MAX];
    psi *me = NULL, *them = NULL;
    assert_int_equal(psi_new(&me), ERR_OK);
    assert_int_equal(psi_new(&them), ERR_OK);
    blind_side(me, mine, DATASET_TRAIN, pool, a);
    blind_side(them, theirs, DATASET_TRAIN, NULL, b);
    assert_int_equal(psi_multiply(them, a, mine->count, a, NULL), ERR_OK);
    assert_int_equal(psi_multiply(me, b, theirs->count, b, pool), ERR_OK);
    keys_of(a, mine->count, keys_a);
    keys_of(b, theirs->count, keys_b);
    match(keys_a, mine->count, keys_b, theirs->count, places);
    psi_free(me);
    psi_free(them);
}

static void assert_right(const side *mine, const side *theirs, const uint32_t *places) {
    for (uint32_t i = 0; i < mine->count; i++) {
        uint32_t at = 0;
        while (at < theirs->count && theirs->numbers[at] != mine->numbers[i]) {
            at++;
        }
        assert_int_equal(places[i], at < theirs->count ? at : (uint32_t)ID_TABLE_NONE);
    }
}

/* Overlaps of every kind: none, all, one within the other, some. */
static void draw_sides(rng *draws, uint32_t trial, uint32_t most, side *mine, side *theirs) {
    uint32_t n = 1 + rng_below(draws, most), m = 1 + rng_below(draws, most);
    uint32_t first = trial == 0 ? n : trial == 1 ? 0 : rng_below(draws, n + 1);
    m = trial == 1 ? n : m;
    *mine = make_side(draws, 0, n);
    *theirs = make_side(draws, first, m);
}

static void what_both_have_is_found_by_hash(void **state) {
    (void)state;
    rng draws = rng_at(1, 0, 0);
    for (uint32_t trial = 0; trial < 10 * TRIALS; trial++) {
        side mine, theirs;
        uint32_t places[IDS_MAX];
        draw_sides(&draws, trial, IDS_MAX, &mine, &theirs);
        match_by_hash(&mine, &theirs, places);
        assert_right(&mine, &theirs, places);
    }
}

static void both_ways_find_the_same(void **state) {
    (void)state;
    rng draws = rng_at(2, 0, 0);
    thread_pool *pool = NULL;
    assert_int_equal(thread_pool_new(&pool, 2, 0), ERR_OK);
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        side mine, theirs;
        uint32_t by_hash[IDS_MAX], by_psi[IDS_MAX];
        draw_sides(&draws, trial, POINTS, &mine, &theirs);
        match_by_hash(&mine, &theirs, by_hash);
        match_by_psi(&mine, &theirs, trial % 2 ? pool : NULL, by_psi);
        assert_right(&mine, &theirs, by_psi);
        assert_memory_equal(by_hash, by_psi, mine.count * sizeof *by_hash);
    }
    thread_pool_free(pool);
}

static void a_table_without_ids_finds_none(void **state) {
    (void)state;
    const id_hash any = {{1}};
    id_table *t = NULL;
    assert_int_equal(id_table_new(&t, NULL, 0), ERR_OK);
    assert_int_equal(id_table_find(t, &any), ID_TABLE_NONE);
    id_table_free(t);
}

static void splits_and_salts_never_match(void **state) {
    (void)state;
    rng draws = rng_at(3, 0, 0);
    side all = make_side(&draws, 0, POINTS);
    id_hash train[IDS_MAX], other[IDS_MAX];
    uint32_t places[IDS_MAX];
    hash_side(&all, 7, DATASET_TRAIN, train);
    for (int salted = 0; salted < 2; salted++) {
        hash_side(&all, salted ? 8 : 7, salted ? DATASET_TRAIN : DATASET_TEST, other);
        match(train, all.count, other, all.count, places);
        for (uint32_t i = 0; i < all.count; i++) {
            assert_int_equal(places[i], ID_TABLE_NONE);
        }
    }
    uint8_t seeds[2][PSI_SEED_BYTES];
    for (uint32_t i = 0; i < all.count; i++) {
        char id[ID_BYTES];
        id_of(i, id);
        assert_int_equal(psi_seed(DATASET_TRAIN, id, seeds[0]), ERR_OK);
        assert_int_equal(psi_seed(DATASET_TEST, id, seeds[1]), ERR_OK);
        assert_memory_not_equal(seeds[0], seeds[1], PSI_SEED_BYTES);
    }
}

/* Wherever in a list the two stand. */
static void an_id_twice_on_one_side_is_refused(void **state) {
    (void)state;
    rng draws = rng_at(4, 0, 0);
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        side s = make_side(&draws, 0, 2 + rng_below(&draws, IDS_MAX - 2));
        uint32_t from = rng_below(&draws, s.count - 1), to = from + 1 + rng_below(&draws, s.count - from - 1);
        s.numbers[to] = s.numbers[from];
        id_hash hashes[IDS_MAX];
        id_table *t = NULL;
        char wanted[80];
        hash_side(&s, 7, DATASET_TRAIN, hashes);
        assert_int_equal(id_table_new(&t, hashes, s.count), ERR_INPUT);
        snprintf(wanted, sizeof wanted, "ids number %u and %u are the same", from, to);
        assert_string_equal(err_text(), wanted);
    }
}

/* A side without the other's secret sees no function of its ids: the same ids are other bytes each time. */
static void the_same_ids_are_blinded_to_other_points(void **state) {
    (void)state;
    rng draws = rng_at(5, 0, 0);
    side all = make_side(&draws, 0, POINTS);
    static uint8_t points[2][IDS_MAX * PSI_POINT_BYTES];
    id_hash keys[2][IDS_MAX];
    uint32_t places[IDS_MAX];
    for (int i = 0; i < 2; i++) {
        psi *p = NULL;
        assert_int_equal(psi_new(&p), ERR_OK);
        blind_side(p, &all, DATASET_TRAIN, NULL, points[i]);
        keys_of(points[i], all.count, keys[i]);
        psi_free(p);
    }
    match(keys[0], all.count, keys[1], all.count, places);
    for (uint32_t i = 0; i < all.count; i++) {
        assert_int_equal(places[i], ID_TABLE_NONE);
    }
}

/* All that is no point: every first byte, an x of the field without a point, an x beyond it, infinity. */
static void what_is_no_point_is_refused(void **state) {
    (void)state;
    rng draws = rng_at(6, 0, 0);
    side one = make_side(&draws, 0, 3);
    uint8_t good[3 * PSI_POINT_BYTES], bad[3 * PSI_POINT_BYTES], to[3 * PSI_POINT_BYTES];
    psi *p = NULL;
    assert_int_equal(psi_new(&p), ERR_OK);
    blind_side(p, &one, DATASET_TRAIN, NULL, good);
    for (unsigned first = 0; first < 256; first++) {
        memcpy(bad, good, sizeof bad);
        bad[PSI_POINT_BYTES] = (uint8_t)first;
        err wanted = first == 2 || first == 3 ? ERR_OK : ERR_INPUT;
        assert_int_equal(psi_multiply(p, bad, 3, to, NULL), wanted);
    }
    memset(bad, 0, sizeof bad);
    assert_int_equal(psi_multiply(p, bad, 1, to, NULL), ERR_INPUT);
    memset(bad + 1, 0xff, PSI_POINT_BYTES - 1); /* x is more than the field's prime */
    bad[0] = 2;
    assert_int_equal(psi_multiply(p, bad, 1, to, NULL), ERR_INPUT);
    unsigned refused = 0;
    for (unsigned x = 0; x < 64; x++) {
        memset(bad, 0, PSI_POINT_BYTES);
        bad[0] = 2;
        bad[PSI_POINT_BYTES - 1] = (uint8_t)x;
        refused += psi_multiply(p, bad, 1, to, NULL) == ERR_INPUT;
    }
    assert_in_range(refused, 16, 48); /* about one half of all x */
    psi_free(p);
}

static void a_shuffle_has_each_place_once_and_is_another_each_time(void **state) {
    (void)state;
    enum { MANY = 5000 };
    static uint32_t a[MANY], b[MANY];
    static uint8_t seen[MANY];
    assert_int_equal(psi_shuffle(a, MANY), ERR_OK);
    assert_int_equal(psi_shuffle(b, MANY), ERR_OK);
    assert_memory_not_equal(a, b, sizeof a);
    uint32_t stayed = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        assert_true(a[i] < MANY && !seen[a[i]]);
        seen[a[i]] = 1;
        stayed += a[i] == i;
    }
    assert_true(stayed < 20); /* one is to be expected */
    assert_int_equal(psi_shuffle(a, 0), ERR_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_both_have_is_found_by_hash),
        cmocka_unit_test(both_ways_find_the_same),
        cmocka_unit_test(a_table_without_ids_finds_none),
        cmocka_unit_test(splits_and_salts_never_match),
        cmocka_unit_test(an_id_twice_on_one_side_is_refused),
        cmocka_unit_test(the_same_ids_are_blinded_to_other_points),
        cmocka_unit_test(what_is_no_point_is_refused),
        cmocka_unit_test(a_shuffle_has_each_place_once_and_is_another_each_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
