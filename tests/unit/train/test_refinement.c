/* bits in stages: how a RefineRequest names samples, what a node keeps and answers, what the head sees, and its
 * gradient; what a test takes. */
#include "bits/binarize.h"
#include "decoder_server/train/refinement_batch.h"
#include "decoder_server/train/refinement_eval.h"
#include "encoder_node/refinement_buffer.h"
#include "experiment/derive.h"
#include "experiment/validate.h"
#include "tests/lib/uneven_codes.h"
#include "wire/id_set.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static const refinement two = {2, {2, 6}};

static void assert_comes_back(const uint64_t *ids, size_t count, bool as_map) {
    static id_set p;
    uint64_t back[ID_SET_MAX];
    size_t got;
    Fewbit__RefineRequest ask = FEWBIT__REFINE_REQUEST__INIT;
    assert_int_equal(id_set_fit(ids, count), count);
    id_set_put(&p, ids, count, &ask);
    assert_int_equal(ask.map.len > 0, as_map);
    assert_int_equal(id_set_take(&ask, back, &got), ERR_OK);
    assert_int_equal(got, count);
    assert_memory_equal(back, ids, count * sizeof *ids);
}

static void sets_come_back_in_the_shorter_form(void **state) {
    (void)state;
    uint64_t dense[ID_SET_MAX], sparse[3] = {7, 5000, 4000000};
    for (size_t i = 0; i < ID_SET_MAX; i++) {
        dense[i] = 90 + 2 * i;
    }
    assert_comes_back(dense, ID_SET_MAX, true);
    assert_comes_back(sparse, 3, false);
    assert_comes_back(sparse, 1, false);
    const uint64_t falling[] = {5, 9, 9, 10};
    assert_int_equal(id_set_fit(falling, 4), 2);
}

static void bad_picks_are_refused(void **state) {
    (void)state;
    static uint32_t many[ID_SET_MAX];
    static uint8_t long_map[ID_SET_MAP_BYTES_MAX + 1];
    uint64_t ids[ID_SET_MAX];
    size_t count;
    memset(long_map, 255, sizeof long_map);
    Fewbit__RefineRequest ask = FEWBIT__REFINE_REQUEST__INIT;
    ask.n_skips = ID_SET_MAX;
    ask.skips = many;
    assert_int_equal(id_set_take(&ask, ids, &count), ERR_INPUT); /* one too many */
    ask.n_skips = 1;
    ask.first = UINT64_MAX;
    assert_int_equal(id_set_take(&ask, ids, &count), ERR_INPUT); /* beyond the last id */
    ask.first = 0;
    ask.map = (ProtobufCBinaryData){1, long_map};
    assert_int_equal(id_set_take(&ask, ids, &count), ERR_INPUT); /* both forms */
    ask.n_skips = 0;
    ask.map.len = ID_SET_MAX / 8 + 1;
    assert_int_equal(id_set_take(&ask, ids, &count), ERR_INPUT); /* too many bits */
    ask.map.len = sizeof long_map;
    assert_int_equal(id_set_take(&ask, ids, &count), ERR_INPUT); /* too long */
    long_map[0] = 0;
    ask.map.len = 1;
    assert_int_equal(id_set_take(&ask, ids, &count), ERR_INPUT); /* ends in nothing */
}

static void a_node_sends_what_it_kept_and_says_what_is_gone(void **state) {
    (void)state;
    refinement_buffer *h;
    uint32_t skips[] = {0, 0};
    assert_int_equal(refinement_buffer_new(&h), ERR_OK);
    refinement_buffer_put(h, false, 10, 3, 1, 0x2d); /* 101101: the first two bits, 01, were sent */
    refinement_buffer_put(h, false, 12, 3, 1, 0x3f);
    Fewbit__RefineRequest ask = FEWBIT__REFINE_REQUEST__INIT;
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    ask.model = 3;
    ask.stage = 1;
    ask.first = 10;
    ask.n_skips = 2;
    ask.skips = skips;
    assert_int_equal(refinement_buffer_answer(h, &ask, &two, &reply), ERR_OK);
    assert_int_equal(reply.n_gone, 1);
    assert_int_equal(reply.gone[0], 1);
    assert_int_equal(reply.bits.len, 1);
    assert_int_equal(reply.bits.data[0], 0xb | 0xf << 4);
    reply = (Fewbit__Refinement)FEWBIT__REFINEMENT__INIT;
    assert_int_equal(refinement_buffer_answer(h, &ask, &two, &reply), ERR_OK); /* every stage once */
    assert_int_equal(reply.n_gone, 3);
    for (uint32_t stage = 0; stage < 4; stage += 2) {
        ask.stage = stage;
        assert_int_equal(refinement_buffer_answer(h, &ask, &two, &reply), ERR_INPUT);
    }
    const refinement three = {3, {2, 4, 6}};
    refinement_buffer_put(h, false, 10, 3, 1, 0x2d);
    refinement_buffer_put(h, false, 12, 3, 1, 0x3f);
    reply = (Fewbit__Refinement)FEWBIT__REFINEMENT__INIT;
    assert_int_equal(refinement_buffer_answer(h, &ask, &three, &reply),
                     ERR_OK); /* stage 2: of the samples before a restart */
    assert_int_equal(reply.n_gone, 3);
    assert_int_equal(reply.bits.len, 0);
    refinement_buffer_put(h, false, 10, 3, 2, 0x2d);
    refinement_buffer_put(h, false, 12, 3, 2, 0x3f);
    ask.stage = 1;
    assert_int_equal(refinement_buffer_answer(h, &ask, &three, &reply), ERR_INPUT); /* it was sent already */
    refinement_buffer_free(h);
}

/* The loss is the sum of all that is seen, each copy with another factor: its gradient is known. */
static void the_gradient_gathers_what_was_seen(void **state) {
    (void)state;
    codeword b = codeword_empty();
    codeword_append(&b, &(refinement){2, {1, 3}});
    codeword_append(&b, &(refinement){2, {1, 3}});
    float soft[12], seen[24], gradient[24], sum[12];
    for (uint32_t i = 0; i < 12; i++) {
        soft[i] = (float)i;
    }
    refinement_batch_spread(&b, soft, 2, seen);
    for (uint32_t i = 0; i < 24; i++) {
        bool is_hidden = i < 12 && i % 3 > 0;
        assert_true(seen[i] == (is_hidden ? BINARIZE_UNKNOWN : soft[i % 12]));
        gradient[i] = i < 12 ? 1.0f : 10.0f;
    }
    refinement_batch_gather(&b, gradient, 2, sum);
    for (uint32_t i = 0; i < 12; i++) {
        assert_true(sum[i] == (i % 3 == 0 ? 11.0f : 10.0f));
    }
}

/* Portions of other stages each: a bit is seen in its own stage and all after. */
static void uneven_stages_are_seen_in_turn(void **state) {
    (void)state;
    const codeword c = uneven_staged();
    float soft[87], seen[3 * 87], gradient[3 * 87], sum[87];
    assert_int_equal(codeword_bits(&c), 87);
    for (uint32_t i = 0; i < 87; i++) {
        soft[i] = (float)(i + 1);
    }
    for (uint32_t i = 0; i < 3 * 87; i++) {
        gradient[i] = i < 87 ? 1 : i < 2 * 87 ? 10 : 100;
    }
    refinement_batch_spread(&c, soft, 1, seen);
    refinement_batch_gather(&c, gradient, 1, sum);
    for (uint32_t k = 0; k < c.portions; k++) {
        for (uint32_t bit = 0; bit < codeword_portion_bits(&c, k); bit++) {
            uint32_t i = c.offset[k] + bit, stage = 0;
            while (bit >= c.portion[k].upto[stage]) {
                stage++;
            }
            for (uint32_t s = 0; s < 3; s++) {
                assert_true(seen[s * 87 + i] == (s < stage ? BINARIZE_UNKNOWN : soft[i]));
            }
            assert_true(sum[i] == (stage == 0 ? 111 : stage == 1 ? 110 : 100));
        }
    }
}

/* Codes fit once a batch, before more is asked for; then only what was asked for does. */
static void a_test_takes_what_is_due_alone(void **state) {
    (void)state;
    enum { ROWS = 10 };
    experiment e = {
        .dataset = {.evaluate_test = true, .name = "mnist", .partition = PARTITION_SLICES, .portions = 2},
        .encoder = {.net = PRESET_SIMPLE_1D, .hidden = 4, .bits = 3, .binarize = PRESET_STRAIGHT_THROUGH},
        .refinement = {.bits = {1, 2}, .bits_count = 2, .thresholds = {1}, .thresholds_count = 1},
        .classifier = {.net = PRESET_MNIST, .hidden = 8},
        .optimiser = {.kind = NN_ADAM, .learning_rate = 0.001f},
        .training = {.epochs = 1, .batch_size = ROWS},
    };
    head_trainer *s;
    refinement_eval *t;
    uint8_t first[] = {0x5a, 1}, second[] = {0x12, 0x34, 0x05}, labels[ROWS] = {0};
    assert_int_equal(experiment_fill_portions(&e), ERR_OK);
    assert_int_equal(experiment_validate(&e, NULL), ERR_OK);
    assert_int_equal(head_trainer_new(&s, &e, 10, ROWS, 100, NULL), ERR_OK);
    head_trainer_init(s, 1);
    assert_int_equal(refinement_eval_new(&t, &e, s), ERR_OK);
    refinement_eval_start(t);
    refinement_eval_begin(t, 7, ROWS);
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
    Fewbit__RefineRequest ask = FEWBIT__REFINE_REQUEST__INIT;
    codes.more = ROWS - 1;
    codes.bits = (ProtobufCBinaryData){sizeof first, first};
    reply.stage = 1;
    reply.first = 7;
    reply.bits = (ProtobufCBinaryData){sizeof second, second};
    assert_false(refinement_eval_take_refinement(t, 0, &reply));
    assert_int_equal(refinement_eval_bits(t, 1), ROWS * 1);
    assert_true(refinement_eval_take_codes(t, 0, &codes) && refinement_eval_take_codes(t, 1, &codes));
    assert_true(refinement_eval_next(t, labels, &ask));
    assert_int_equal(refinement_eval_bits(t, 1), ROWS * 2);
    assert_false(refinement_eval_take_codes(t, 0, &codes));
    assert_true(refinement_eval_take_refinement(t, 0, &reply));
    assert_false(refinement_eval_take_codes(t, 1, &codes));
    assert_true(refinement_eval_take_refinement(t, 1, &reply));
    assert_false(refinement_eval_next(t, labels, &ask));
    json_t *table = refinement_eval_json(t);
    assert_true(json_number_value(json_object_get(json_array_get(table, 0), "bits")) == 6);
    json_decref(table);
    refinement_eval_free(t);
    head_trainer_free(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_come_back_in_the_shorter_form),
        cmocka_unit_test(bad_picks_are_refused),
        cmocka_unit_test(a_node_sends_what_it_kept_and_says_what_is_gone),
        cmocka_unit_test(the_gradient_gathers_what_was_seen),
        cmocka_unit_test(uneven_stages_are_seen_in_turn),
        cmocka_unit_test(a_test_takes_what_is_due_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
