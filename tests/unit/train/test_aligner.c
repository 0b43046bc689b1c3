/* Samples put in one order by their ids: whatever each party has, in whatever order it has them and messages come, each
 * node's rows are the very samples that the labels number so. */
#include "tests/lib/aligning.h"

enum { TRIALS = 40, BATCH = 1 };

static bool party_has(const party *p, int split, const char *name) {
    enum dataset_split found;
    uint32_t index;
    return sample_ids_find(p->ids, name, &found, &index) && (int)found == split;
}

/* bit k: portion k has the labels' sample of that name. */
static uint64_t who_has(int split, const char *name) {
    uint64_t have = 0;
    for (uint32_t k = 0; k < g.portions; k++) {
        have |= (uint64_t)party_has(&g.parties[k], split, name) << k;
    }
    return have;
}

/* What is to be kept, as the labels number it: the rule in plain words. */
static uint32_t expected(uint32_t validation, uint32_t min_portions, uint32_t *numbers) {
    const party *l = labels_party();
    uint64_t all = ((uint64_t)1 << g.portions) - 1;
    uint32_t train = l->samples[0], count = 0;
    for (uint32_t i = 0; i < train; i++) {
        uint64_t have = who_has(0, l->names[0][i]);
        bool is_held_back = i >= train - validation;
        if (have == all || (!is_held_back && (uint32_t)__builtin_popcountll(have) >= min_portions)) {
            numbers[count++] = i;
        }
    }
    for (int complete = 1; complete >= 0; complete--) {
        for (uint32_t i = 0; i < l->samples[1]; i++) {
            uint64_t have = who_has(1, l->names[1][i]);
            if (complete ? have == all : have != all && (uint32_t)__builtin_popcountll(have) >= min_portions) {
                numbers[count++] = train + i;
            }
        }
    }
    return count;
}

static const char *label_name(uint32_t number) {
    const party *l = labels_party();
    return number < l->samples[0] ? l->names[0][number] : l->names[1][number - l->samples[0]];
}

/* Each kept sample is, at each node, the one with its id, or missing there. */
static void assert_rows(const party *p, uint32_t k) {
    const alignment *r = aligner_result(g.aligner);
    const sample_rows *rows = node_align_rows(p->node);
    uint32_t total = r->samples[0] + r->samples[1];
    for (uint32_t i = 0; i < total; i++) {
        bool is_train = i < r->samples[0];
        const char *wanted = label_name(r->numbers[i]);
        uint32_t index = is_train ? i : i - r->samples[0];
        uint32_t row = rows ? rows->rows[is_train ? 0 : 1][index] : index;
        if (r->have[i] >> k & 1) {
            assert_string_equal(p->names[is_train ? 0 : 1][row], wanted);
        } else {
            assert_int_equal(row, SAMPLE_ROWS_MISSING);
            assert_false(party_has(p, !is_train, wanted));
        }
    }
    if (rows) {
        assert_int_equal(rows->samples[0], r->samples[0]);
        assert_int_equal(rows->samples[1], r->samples[1]);
        assert_int_equal(rows->validation, r->validation);
    }
}

static void assert_aligned(uint32_t validation, uint32_t min_portions) {
    const alignment *r = aligner_result(g.aligner);
    const party *l = labels_party();
    uint32_t *wanted = malloc((l->samples[0] + l->samples[1]) * sizeof *wanted);
    assert_non_null(r);
    uint32_t count = expected(validation, min_portions, wanted);
    assert_int_equal(r->samples[0] + r->samples[1], count);
    assert_memory_equal(r->numbers, wanted, count * sizeof *wanted);
    free(wanted);
    for (uint32_t k = 0; k < g.portions; k++) {
        assert_true(g.parties[k].is_ready);
        assert_int_equal(g.parties[k].dropped, 0);
        assert_rows(&g.parties[k], k);
    }
}

/* Any overlaps, any number of portions, both rules, any order of messages; whether enough is in common. */
static bool align_at_random(bool is_private, uint32_t seed) {
    open_aligning(seed, 1 + seed % 4);
    const uint32_t world[2] = {20 + rng_below(&g.draws, 60), 20 + rng_below(&g.draws, 20)};
    for (uint32_t k = 0; k < g.portions; k++) {
        give_ids(&g.parties[k], world, 50 + rng_below(&g.draws, 51), rng_below(&g.draws, 4) > 0);
    }
    give_ids(labels_party(), world, 90, rng_below(&g.draws, 2));
    uint32_t validation = rng_below(&g.draws, labels_party()->samples[0] / 2);
    uint32_t min_portions = 1 + rng_below(&g.draws, g.portions);
    start_aligner(validation, min_portions, BATCH, is_private);
    for (uint32_t k = 0; k < g.portions; k++) {
        join_party(k);
        for (uint32_t n = rng_below(&g.draws, 4); n > 0; n--) {
            work_aligner();
            deliver_one();
        }
    }
    deliver_all();
    bool is_enough = aligner_outcome(g.aligner) == ERR_OK;
    if (is_enough) {
        assert_aligned(validation, min_portions);
    }
    close_aligning();
    return is_enough;
}

static void align_often(bool is_private, uint32_t trials) {
    uint32_t enough = 0;
    for (uint32_t seed = 0; seed < trials; seed++) {
        enough += align_at_random(is_private, seed);
    }
    assert_true(enough > trials * 3 / 4); /* the others have too little in common */
}

static void rows_are_those_of_the_labels_ids_by_hash(void **state) {
    (void)state;
    align_often(false, 10 * TRIALS);
}

static void rows_are_those_of_the_labels_ids_by_psi(void **state) {
    (void)state;
    align_often(true, TRIALS);
}

/* As many ids as a message holds, one less, one more, and several messages of them. */
static void align_many(bool is_private, uint32_t samples) {
    open_aligning(samples, 2);
    const uint32_t world[2] = {samples - 5, 5};
    for (uint32_t k = 0; k < 2; k++) {
        give_ids(&g.parties[k], world, 100, true);
    }
    give_ids(labels_party(), world, 100, false);
    start_aligner(10, 2, BATCH, is_private);
    join_party(1);
    join_party(0);
    deliver_all();
    const alignment *r = aligner_result(g.aligner);
    assert_non_null(r);
    assert_int_equal(r->samples[0] + r->samples[1], samples);
    assert_rows(&g.parties[0], 0);
    assert_rows(&g.parties[1], 1);
    close_aligning();
}

static void ids_of_any_number_of_messages_are_aligned(void **state) {
    (void)state;
    static const uint32_t hashes[] = {MESSAGE_ALIGN_HASHES - 1, MESSAGE_ALIGN_HASHES, MESSAGE_ALIGN_HASHES + 1,
                                      MESSAGE_ALIGN_ROWS + 1};
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++) {
        align_many(false, hashes[i]);
    }
    align_many(true, MESSAGE_ALIGN_POINTS + 1);
}

/* Nobody is asked for anything where all have the same ids in the same order, and whoever has them so is not. */
static void who_has_the_labels_ids_is_not_asked(void **state) {
    (void)state;
    for (int other = 0; other < 2; other++) {
        open_aligning(3, 2);
        const uint32_t world[2] = {30, 20};
        give_ids(&g.parties[0], world, 100, false);
        give_ids(&g.parties[1], world, other ? 80 : 100, other);
        give_ids(labels_party(), world, 100, false);
        start_aligner(5, 2, BATCH, true);
        join_party(0);
        assert_false(aligner_has_work(g.aligner));
        join_party(1);
        deliver_all();
        assert_aligned(5, 2);
        assert_int_equal(g.messages > 0, other);
        assert_int_equal(
            alignment_is_identity(aligner_result(g.aligner), &(alignment_rule){.portions = 2, .samples = {30, 20}}),
            !other);
        close_aligning();
    }
}

static void aligner_of_two(uint64_t seed, bool is_private) {
    open_aligning(seed, 2);
    const uint32_t world[2] = {60, 40};
    give_ids(&g.parties[0], world, 80, true);
    give_ids(&g.parties[1], world, 80, true);
    give_ids(labels_party(), world, 90, false);
    start_aligner(10, 2, BATCH, is_private);
}

/* At whatever message it is lost; the other one is not asked again. */
static void a_lost_node_is_waited_for(void **state) {
    (void)state;
    for (uint32_t after = 0; after < 16; after++) {
        aligner_of_two(after, after % 2);
        join_party(0);
        join_party(1);
        for (uint32_t n = 0; n < after; n++) {
            work_aligner();
            deliver_one();
        }
        lose_party(after % 4 / 2);
        deliver_all();
        join_party(after % 4 / 2);
        deliver_all();
        assert_aligned(10, 2);
        close_aligning();
    }
}

/* Once all is known, a node that comes again gets the same samples; with other ids it is refused. */
static void a_node_that_comes_again_is_told_again(void **state) {
    (void)state;
    for (int is_private = 0; is_private < 2; is_private++) {
        aligner_of_two(7, is_private);
        join_party(0);
        join_party(1);
        deliver_all();
        lose_party(1);
        party *p = &g.parties[1];
        assert_null(node_align_rows(p->node));
        join_party(1);
        deliver_all();
        assert_aligned(10, 2);
        lose_party(1);
        node_align_free(p->node);
        sample_ids_free(p->ids);
        free(p->names[0]);
        free(p->names[1]);
        p->node = NULL;
        give_ids(p, (uint32_t[]){60, 40}, 40, true);
        join_party(1);
        deliver_all();
        assert_int_equal(p->dropped, FEWBIT__REASON__REASON_DATA);
        assert_string_equal(p->why, "has other ids than it had when the training began");
        assert_false(p->is_ready);
        close_aligning();
    }
}

static void too_many_and_too_few_ids_are_refused(void **state) {
    (void)state;
    aligner_of_two(1, false);
    aligner_joined(g.aligner, 1, &(aligner_node){"host", {4000000, 1}, "another"});
    assert_int_equal(g.parties[1].dropped, FEWBIT__REASON__REASON_DATA);
    assert_non_null(strstr(g.parties[1].why, "no more than 4000000 can be aligned"));
    aligner_joined(g.aligner, 0, &(aligner_node){"guest", {0, 0}, "another"});
    assert_string_equal(g.parties[0].why, "it has no samples");
    close_aligning();
}

static void counted_samples_are_as_they_are(void **state) {
    (void)state;
    open_aligning(1, 2);
    labels_party()->samples[0] = 30;
    labels_party()->samples[1] = 20;
    start_aligner(5, 2, BATCH, false);
    for (uint32_t k = 0; k < 2; k++) {
        assert_null(aligner_result(g.aligner));
        aligner_joined(g.aligner, k, &(aligner_node){"any", {30, 20}, ""});
    }
    assert_false(aligner_has_work(g.aligner));
    assert_int_equal(aligner_result(g.aligner)->samples[0], 30);
    assert_int_equal(aligner_result(g.aligner)->validation, 5);
    assert_true(inproc_is_empty(&g.parties[0].in) && inproc_is_empty(&g.parties[1].in));
    close_aligning();
}

/* `what`: 0: no training samples are common, 1: fewer than a batch, 2: none of those held back, 3: none of the test. */
static void align_too_little(int what, const char *why) {
    open_aligning(1, 1);
    party *l = labels_party(), *p = &g.parties[0];
    give_ids(p, (uint32_t[]){what == 0 || what == 2 ? 20 : what == 1 ? 39 : 40, what == 3 ? 10 : 20}, 100, true);
    give_ids(l, (uint32_t[]){40, 20}, 100, false);
    if (what == 0 || what == 3) { /* the labels' first are others */
        sample_ids_free(l->ids);
        const char *lists[2][40];
        for (uint32_t i = 0; i < 40; i++) {
            snprintf(l->names[0][i], ALIGNING_ID, "%c%u", what == 0 ? 'q' : 'p', i);
            lists[0][i] = l->names[0][i];
        }
        for (uint32_t i = 0; i < 20; i++) {
            snprintf(l->names[1][i], ALIGNING_ID, "%c%u", what == 3 ? 'u' : 't', i);
            lists[1][i] = l->names[1][i];
        }
        assert_int_equal(sample_ids_new(&l->ids, (const char *const *const[]){lists[0], lists[1]}, l->samples), ERR_OK);
    }
    start_aligner(10, 1, what == 1 ? 31 : 5, false);
    join_party(0);
    deliver_all();
    assert_int_equal(aligner_outcome(g.aligner), ERR_INPUT);
    assert_string_equal(err_text(), why);
    assert_null(aligner_result(g.aligner));
    assert_false(p->is_ready);
    close_aligning();
}

static void too_little_in_common_ends_it(void **state) {
    (void)state;
    align_too_little(0,
                     "0 training samples are common to all portions and the labels, by their ids: fewer than a batch "
                     "of 5");
    align_too_little(1, "30 training samples are common to all portions and the labels, by their ids: fewer than a "
                        "batch of 31");
    align_too_little(2, "none of the 10 samples held back is common to all portions, by their ids");
    align_too_little(3, "none of the 20 test samples is common to all portions, by their ids");
}

/* A node's answer, as it would be with something wrong. */
typedef struct wrong {
    bool is_private;
    size_t hashes, points; /* bytes of each */
    int first;             /* the first byte of each point */
    const char *why;
} wrong;

static ProtobufCBinaryData bytes_of(size_t length, int first) {
    static uint8_t bytes[1 << 16];
    memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < length; i += PSI_POINT_BYTES) {
        bytes[i] = (uint8_t)first;
    }
    return (ProtobufCBinaryData){length, bytes};
}

static void a_wrong_answer_drops_its_node(void **state) {
    (void)state;
    enum { IDS = 50, ALL = IDS * ID_HASH_BYTES, POINTS = IDS * PSI_POINT_BYTES };
    static const char does_not_fit[] = "sent other ids than those that it was asked for";
    static const wrong cases[] = {
        {false, 0, 0, 0, does_not_fit},
        {false, ALL - 1, 0, 0, does_not_fit},
        {false, ALL + ID_HASH_BYTES, 0, 0, does_not_fit},
        {false, 0, POINTS, 2, does_not_fit},
        {false, ALL, PSI_POINT_BYTES, 2, does_not_fit},
        {true, ALL, 0, 0, does_not_fit},
        {true, 0, POINTS - 1, 2, does_not_fit},
        {true, 0, POINTS + PSI_POINT_BYTES, 2, does_not_fit},
        {true, 0, POINTS, 2, "ids number 0 and 1 are the same"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const wrong *w = &cases[i];
        open_aligning(i, 1);
        give_ids(&g.parties[0], (uint32_t[]){30, 20}, 100, true);
        give_ids(labels_party(), (uint32_t[]){30, 20}, 100, false);
        start_aligner(5, 1, BATCH, w->is_private);
        join_party(0);
        work_aligner();
        Fewbit__AlignIds ids = FEWBIT__ALIGN_IDS__INIT;
        ids.hashes = bytes_of(w->hashes, 0);
        ids.points = bytes_of(w->points, w->first);
        aligner_receive(g.aligner, 0, &(message){MESSAGE_ALIGN_IDS, {.align_ids = &ids}});
        work_aligner();
        assert_int_equal(g.parties[0].dropped, FEWBIT__REASON__REASON_PROTOCOL);
        assert_string_equal(g.parties[0].why, w->why);
        assert_false(aligner_has_work(g.aligner));
        assert_int_equal(aligner_outcome(g.aligner), ERR_OK);
        close_aligning();
    }
}

/* An id twice, no point, another message, one that nobody asked for. */
static void a_lying_node_is_dropped(void **state) {
    (void)state;
    for (int lie = 0; lie < 4; lie++) {
        open_aligning(1, 1);
        give_ids(&g.parties[0], (uint32_t[]){30, 20}, 100, true);
        give_ids(labels_party(), (uint32_t[]){30, 20}, 100, false);
        start_aligner(5, 1, BATCH, lie == 1);
        join_party(0);
        message m;
        size_t size;
        work_aligner();
        assert_int_equal(inproc_receive(&g.parties[0].in, &g.unpacked, &m, &size), ERR_OK);
        assert_int_equal(give_node(&g.parties[0], &m), ERR_OK);
        assert_int_equal(inproc_receive(&g.parties[0].out, &g.unpacked, &m, &size), ERR_OK);
        if (lie == 0) {
            memcpy(m.body.align_ids->hashes.data + 3 * ID_HASH_BYTES, m.body.align_ids->hashes.data, ID_HASH_BYTES);
        } else if (lie == 1) { /* after the labels' own, one of its own is no point */
            aligner_receive(g.aligner, 0, &m);
            work_aligner();
            assert_int_equal(inproc_receive(&g.parties[0].in, &g.unpacked, &m, &size), ERR_OK);
            assert_int_equal(give_node(&g.parties[0], &m), ERR_OK);
            assert_int_equal(inproc_receive(&g.parties[0].out, &g.unpacked, &m, &size), ERR_OK);
            memset(m.body.align_ids->points.data + PSI_POINT_BYTES, 0, PSI_POINT_BYTES);
        } else if (lie == 2) {
            m.type = MESSAGE_ACTIVATIONS;
        } else {
            aligner_receive(g.aligner, 0, &m); /* the answer, and at once another one */
        }
        aligner_receive(g.aligner, 0, &m);
        work_aligner();
        assert_int_equal(g.parties[0].dropped, FEWBIT__REASON__REASON_PROTOCOL);
        assert_null(aligner_result(g.aligner));
        close_aligning();
    }
}

static void who_owes_ids_for_too_long_is_dropped(void **state) {
    (void)state;
    const uint64_t second = 1000000000;
    aligner_of_two(1, false);
    aligner_set_answer_timeout(g.aligner, 2 * second);
    join_party(0);
    join_party(1);
    work_aligner();
    for (uint64_t now = second; now < 8 * second; now += second / 2) {
        assert_true(aligner_poll(g.aligner, now) != 0);
    }
    for (uint32_t k = 0; k < 2; k++) {
        assert_int_equal(g.parties[k].dropped, FEWBIT__REASON__REASON_PROTOCOL);
        assert_non_null(strstr(g.parties[k].why, "AlignIds"));
    }
    assert_int_equal(aligner_poll(g.aligner, 9 * second), -1);
    close_aligning();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_the_labels_ids_by_hash),
        cmocka_unit_test(rows_are_those_of_the_labels_ids_by_psi),
        cmocka_unit_test(ids_of_any_number_of_messages_are_aligned),
        cmocka_unit_test(who_has_the_labels_ids_is_not_asked),
        cmocka_unit_test(a_lost_node_is_waited_for),
        cmocka_unit_test(a_node_that_comes_again_is_told_again),
        cmocka_unit_test(too_many_and_too_few_ids_are_refused),
        cmocka_unit_test(counted_samples_are_as_they_are),
        cmocka_unit_test(too_little_in_common_ends_it),
        cmocka_unit_test(a_wrong_answer_drops_its_node),
        cmocka_unit_test(a_lying_node_is_dropped),
        cmocka_unit_test(who_owes_ids_for_too_long_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
