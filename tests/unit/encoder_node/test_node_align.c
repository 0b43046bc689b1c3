/* What a node does with a server's messages while samples are aligned: each that does not fit, or comes out of turn, is
 * refused, and nothing of the node's is numbered by it. */
#include "base/byte_reader.h"
#include "tests/lib/aligning.h"

enum { TRAIN = 30, TEST = 20, ALL = TRAIN + TEST };

static const uint8_t salt[ID_HASH_SALT] = {1, 2, 3};
static uint8_t many[(MESSAGE_ALIGN_ROWS + 1) * 4];

static int open_node(void **state) {
    (void)state;
    open_aligning(1, 1);
    party *p = &g.parties[0];
    give_ids(p, (uint32_t[]){TRAIN, TEST}, 100, true);
    assert_int_equal(node_align_new(&p->node, p->ids, p->samples, NULL, &p->host), ERR_OK);
    return 0;
}

static int close_node(void **state) {
    (void)state;
    close_aligning();
    return 0;
}

static node_align *node(void) {
    return g.parties[0].node;
}

static err request(Fewbit__Align align, const uint8_t *with_salt, size_t salt_length, const uint8_t *points,
                   size_t points_length) {
    Fewbit__AlignRequest r = FEWBIT__ALIGN_REQUEST__INIT;
    r.align = align;
    r.salt = (ProtobufCBinaryData){salt_length, (uint8_t *)(uintptr_t)with_salt};
    r.points = (ProtobufCBinaryData){points_length, (uint8_t *)(uintptr_t)points};
    return node_align_request(node(), &r);
}

static err request_hashes(void) {
    return request(FEWBIT__ALIGN__ALIGN_HASH, salt, sizeof salt, NULL, 0);
}

static err request_points(const uint8_t *points, size_t count) {
    return request(FEWBIT__ALIGN__ALIGN_PSI, NULL, 0, points, count * PSI_POINT_BYTES);
}

/* `count` good points. */
static const uint8_t *some_points(size_t count) {
    static uint8_t points[(MESSAGE_ALIGN_POINTS + 1) * PSI_POINT_BYTES];
    uint8_t seed[PSI_SEED_BYTES];
    psi *p = NULL;
    assert_int_equal(psi_new(&p), ERR_OK);
    assert_int_equal(psi_seed(DATASET_TRAIN, "any", seed), ERR_OK);
    assert_int_equal(psi_blind(p, seed, 1, points, NULL), ERR_OK);
    psi_free(p);
    for (size_t i = 1; i < count; i++) {
        memcpy(points + i * PSI_POINT_BYTES, points, PSI_POINT_BYTES);
    }
    return points;
}

static err tell(uint32_t train, uint32_t validation, uint32_t test, const uint32_t *places, size_t count,
                size_t extra) {
    Fewbit__Aligned a = FEWBIT__ALIGNED__INIT;
    a.train = train;
    a.validation = validation;
    a.test = test;
    for (size_t i = 0; i < count; i++) {
        byte_put_u32_le(many + 4 * i, places ? places[i] : 0);
    }
    a.rows = (ProtobufCBinaryData){4 * count + extra, many};
    return node_align_take(node(), &a);
}

static void sent_nothing(void) {
    assert_true(inproc_is_empty(&g.parties[0].out));
}

static void requests_that_do_not_fit(void **state) {
    (void)state;
    const uint8_t *points = some_points(MESSAGE_ALIGN_POINTS + 1);
    for (int which = 0; which < 7; which++) {
        err e = which == 0   ? request(FEWBIT__ALIGN__ALIGN_HASH, salt, sizeof salt - 1, NULL, 0)
                : which == 1 ? request(FEWBIT__ALIGN__ALIGN_HASH, NULL, 0, NULL, 0)
                : which == 2 ? request(FEWBIT__ALIGN__ALIGN_HASH, salt, sizeof salt, points, PSI_POINT_BYTES)
                : which == 3 ? request(FEWBIT__ALIGN__ALIGN_PSI, salt, sizeof salt, NULL, 0)
                : which == 4 ? request(FEWBIT__ALIGN__ALIGN_PSI, NULL, 0, points, PSI_POINT_BYTES - 1)
                : which == 5 ? request_points(points, MESSAGE_ALIGN_POINTS + 1)
                             : request((Fewbit__Align)7, NULL, 0, NULL, 0);
        assert_int_equal(e, ERR_INPUT);
        sent_nothing();
        node_align_disconnected(node());
    }
    const uint8_t no_points[PSI_POINT_BYTES] = {2, 0xff, 0xff, 0xff, 0xff, 0xff};
    assert_int_equal(request_points(no_points, 1), ERR_INPUT);
    sent_nothing();
}

static void requests_out_of_turn(void **state) {
    (void)state;
    const uint8_t other[ID_HASH_SALT] = {9};
    const uint8_t *points = some_points(1);
    assert_int_equal(request_points(points, 1), ERR_OK);
    assert_int_equal(request_hashes(), ERR_INPUT); /* another way */
    assert_int_equal(request_points(NULL, 0), ERR_OK);
    assert_int_equal(request_points(points, 1), ERR_INPUT); /* all is sent */
    assert_int_equal(request_points(NULL, 0), ERR_INPUT);
    node_align_disconnected(node());
    assert_int_equal(request_hashes(), ERR_OK);
    assert_int_equal(request(FEWBIT__ALIGN__ALIGN_HASH, other, sizeof other, NULL, 0), ERR_INPUT);
    assert_int_equal(request_hashes(), ERR_INPUT);
}

static void a_node_that_counts_has_no_ids(void **state) {
    (void)state;
    node_align_free(node());
    party *p = &g.parties[0];
    assert_int_equal(node_align_new(&p->node, NULL, p->samples, NULL, &p->host), ERR_OK);
    assert_int_equal(request_hashes(), ERR_INPUT);
    assert_non_null(strstr(err_text(), "are counted"));
}

typedef struct told {
    uint32_t train, validation, test, place;
    size_t count, extra;
} told;

static void rows_that_do_not_fit(void **state) {
    (void)state;
    static const told cases[] = {
        {0, 0, 0, 0, 1, 0},                                           /* none */
        {MESSAGE_ALIGN_IDS_MAX, 0, 1, 0, 1, 0},                       /* more than a side may have */
        {UINT32_MAX, 0, UINT32_MAX, 0, 1, 0},                         /* also where the sum wraps */
        {5, 6, 5, 0, 5, 0},                                           /* more held back than there are */
        {5, 1, 5, 0, 0, 0},                                           /* no row */
        {5, 1, 5, 0, 5, 3},                                           /* a part of one */
        {5, 1, 5, 0, 11, 0},                                          /* more than said */
        {MESSAGE_ALIGN_ROWS + 1, 0, 1, 0, MESSAGE_ALIGN_ROWS + 1, 0}, /* more than a message holds */
        {5, 1, 5, ALL, 5, 0},                                         /* a place that there is not */
        {5, 1, 5, UINT32_MAX - 1, 5, 0},
        {5, 1, 5, TRAIN, 5, 0}, /* of the other split */
    };
    for (int asked = 0; asked < 2; asked++) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const told *c = &cases[i];
            uint32_t *places = malloc((c->count + 1) * sizeof *places);
            for (size_t n = 0; n < c->count; n++) {
                places[n] = c->place;
            }
            assert_int_equal(asked ? request_hashes() : ERR_OK, ERR_OK);
            assert_int_equal(tell(c->train, c->validation, c->test, places, c->count, c->extra), ERR_INPUT);
            assert_null(node_align_rows(node()));
            node_align_disconnected(node());
            free(places);
        }
    }
}

static void rows_out_of_turn(void **state) {
    (void)state;
    const uint32_t places[] = {3, 4, SAMPLE_ROWS_MISSING, TRAIN, TRAIN + 1};
    assert_int_equal(request_points(some_points(1), 1), ERR_OK);
    assert_int_equal(tell(3, 1, 2, places, 5, 0), ERR_INPUT); /* not all is sent */
    node_align_disconnected(node());
    assert_int_equal(request_hashes(), ERR_OK);
    assert_true(node_align_is_under_way(node()));
    assert_int_equal(tell(3, 1, 2, places, 2, 0), ERR_OK);
    assert_true(node_align_is_under_way(node()));
    assert_null(node_align_rows(node()));
    assert_int_equal(tell(3, 0, 2, places + 2, 3, 0), ERR_INPUT); /* of another alignment */
    assert_int_equal(request_hashes(), ERR_INPUT);
    assert_int_equal(tell(3, 1, 2, places + 2, 3, 0), ERR_OK);
    assert_false(node_align_is_under_way(node()));
    const sample_rows *rows = node_align_rows(node());
    assert_non_null(rows);
    assert_memory_equal(rows->rows[DATASET_TRAIN], ((uint32_t[]){3, 4, SAMPLE_ROWS_MISSING}), 12);
    assert_memory_equal(rows->rows[DATASET_TEST], ((uint32_t[]){0, 1}), 8);
    assert_int_equal(tell(3, 1, 2, places, 5, 0), ERR_INPUT); /* one alignment a connection */
    assert_int_equal(request_hashes(), ERR_INPUT);
    assert_non_null(node_align_rows(node()));
    node_align_disconnected(node());
    assert_null(node_align_rows(node()));
}

/* Two nodes with the same ids, and one twice: no list of points has one of another. */
static void blinded_ids_say_nothing_of_the_ids(void **state) {
    (void)state;
    static uint8_t lists[2][ALL][PSI_POINT_BYTES];
    for (int i = 0; i < 2; i++) {
        message m;
        size_t size;
        assert_int_equal(request_points(NULL, 0), ERR_OK);
        assert_int_equal(inproc_receive(&g.parties[0].out, &g.unpacked, &m, &size), ERR_OK);
        assert_int_equal(m.body.align_ids->points.len, sizeof lists[i]);
        assert_int_equal(m.body.align_ids->hashes.len, 0);
        memcpy(lists[i], m.body.align_ids->points.data, sizeof lists[i]);
        node_align_disconnected(node());
    }
    for (int a = 0; a < ALL; a++) {
        for (int b = 0; b < ALL; b++) {
            assert_memory_not_equal(lists[0][a], lists[1][b], PSI_POINT_BYTES);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_that_do_not_fit, open_node, close_node),
        cmocka_unit_test_setup_teardown(requests_out_of_turn, open_node, close_node),
        cmocka_unit_test_setup_teardown(a_node_that_counts_has_no_ids, open_node, close_node),
        cmocka_unit_test_setup_teardown(rows_that_do_not_fit, open_node, close_node),
        cmocka_unit_test_setup_teardown(rows_out_of_turn, open_node, close_node),
        cmocka_unit_test_setup_teardown(blinded_ids_say_nothing_of_the_ids, open_node, close_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
