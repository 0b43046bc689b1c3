/* The assembler: every order of arrival, and everything that can be missing, late, twice, or too much. */
#include "decoder_server/serve/assembler.h"

#include "tests/lib/uneven_codes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { DEADLINE = 1000 };

static assembler *make_assembler(uint32_t capacity, uint32_t portions, bool is_streamed) {
    assembler *a = NULL;
    assembler_config config = {capacity, portions, DEADLINE, is_streamed};
    assert_int_equal(assembler_new(&a, &config), ERR_OK);
    return a;
}

/* The next order of `items` in place; false after the last. */
static bool next_order(uint32_t *items, size_t n) {
    size_t i = n - 1, j = n - 1;
    while (i > 0 && items[i - 1] >= items[i]) {
        i--;
    }
    if (i == 0) {
        return false;
    }
    while (items[j] <= items[i - 1]) {
        j--;
    }
    uint32_t kept = items[i - 1];
    items[i - 1] = items[j];
    items[j] = kept;
    for (size_t low = i, high = n - 1; low < high; low++, high--) {
        kept = items[low];
        items[low] = items[high];
        items[high] = kept;
    }
    return true;
}

/* Two samples of three portions, in each of the 720 orders that their six codes can come. */
static void takes_every_order(void **state) {
    (void)state;
    uint32_t order[6] = {0, 1, 2, 3, 4, 5};
    size_t orders = 0;
    do {
        assembler *a = make_assembler(2, 3, true);
        assembler_pass(a, 70);
        uint64_t opened[2] = {0, 0};
        uint32_t seen[2] = {0, 0};
        for (uint64_t now = 1; now <= 6; now++) {
            uint32_t sample = order[now - 1] / 3, portion = order[now - 1] % 3;
            opened[sample] = opened[sample] ? opened[sample] : now;
            assembler_sample out;
            assembler_outcome outcome = assembler_add(a, 70 + sample, portion, 10 * sample + portion, now, &out);
            assert_int_equal(outcome, ++seen[sample] == 3 ? ASSEMBLER_COMPLETE : ASSEMBLER_WAITS);
            if (outcome == ASSEMBLER_COMPLETE) {
                assert_int_equal(out.id, 70 + sample);
                assert_int_equal(out.have, 7);
                assert_int_equal(out.opened_ns, opened[sample]);
                for (uint32_t k = 0; k < 3; k++) {
                    assert_int_equal(out.codes[k], 10 * sample + k);
                }
            }
        }
        assert_int_equal(assembler_count(a)->complete, 2);
        assert_int_equal(assembler_count(a)->waiting, 0);
        assembler_free(a);
        orders++;
    } while (next_order(order, 6));
    assert_int_equal(orders, 720);
}

static void counts_duplicate_and_late_portions(void **state) {
    (void)state;
    assembler *a = make_assembler(4, 3, true);
    assembler_sample out;
    assert_int_equal(assembler_add(a, 1, 0, 1, 0, &out), ASSEMBLER_WAITS);
    assert_int_equal(assembler_add(a, 1, 0, 2, 0, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_count(a)->duplicate, 1);
    assert_int_equal(assembler_add(a, 1, 1, 3, 0, &out), ASSEMBLER_WAITS);
    assert_true(assembler_expire(a, DEADLINE, &out));
    assert_int_equal(out.have, 3);
    assert_int_equal(out.codes[0], 1); /* the first one counts */
    assert_int_equal(assembler_add(a, 1, 1, 4, DEADLINE, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_count(a)->duplicate, 2);
    assert_int_equal(assembler_add(a, 1, 2, 4, DEADLINE, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_count(a)->late, 1);
    assert_int_equal(assembler_count(a)->waiting, 0);
    assembler_free(a);
}

static void gives_up_at_the_deadline(void **state) {
    (void)state;
    assembler *a = make_assembler(4, 3, true);
    assembler_sample out;
    assembler_pass(a, 8);
    assert_true(assembler_next_deadline(a) == UINT64_MAX);
    assert_false(assembler_expire(a, UINT64_MAX - 1, &out));
    assembler_add(a, 9, 2, 77, 100, &out);
    assembler_add(a, 8, 0, 66, 200, &out);
    assembler_add(a, 9, 1, 78, 900, &out); /* does not put its deadline off */
    assert_int_equal(assembler_next_deadline(a), 100 + DEADLINE);
    assert_false(assembler_expire(a, 100 + DEADLINE - 1, &out));
    assert_true(assembler_expire(a, 100 + DEADLINE, &out));
    assert_int_equal(out.id, 9);
    assert_int_equal(out.have, 6);
    assert_int_equal(out.opened_ns, 100);
    assert_int_equal(out.codes[0], 0); /* missing */
    assert_int_equal(out.codes[1], 78);
    assert_int_equal(out.codes[2], 77);
    assert_false(assembler_expire(a, 100 + DEADLINE, &out));
    assert_int_equal(assembler_next_deadline(a), 200 + DEADLINE);
    assert_true(assembler_expire(a, 5000, &out));
    assert_int_equal(out.id, 8);
    assert_int_equal(assembler_count(a)->expired, 2);
    assert_true(assembler_next_deadline(a) == UINT64_MAX);
    assembler_free(a);
}

static void says_when_it_is_full(void **state) {
    (void)state;
    assembler *a = make_assembler(4, 2, true);
    assembler_sample out;
    for (uint64_t id = 0; id < 4; id++) {
        assert_int_equal(assembler_add(a, id, 0, id, 0, &out), ASSEMBLER_WAITS);
    }
    assert_int_equal(assembler_add(a, 4, 0, 3, 0, &out), ASSEMBLER_FULL);
    assert_int_equal(assembler_count(a)->refused, 1);
    assert_int_equal(assembler_count(a)->waiting, 4);
    assert_int_equal(assembler_add(a, 1, 1, 11, 0, &out), ASSEMBLER_COMPLETE); /* those that wait lose nothing */
    assert_int_equal(out.codes[0], 1);
    assert_int_equal(out.codes[1], 11);
    assembler_retire(a, 1);
    assert_int_equal(assembler_add(a, 4, 0, 3, 0, &out), ASSEMBLER_FULL); /* 0 holds the window */
    assert_int_equal(assembler_add(a, 0, 1, 10, 0, &out), ASSEMBLER_COMPLETE);
    assert_int_equal(assembler_add(a, 4, 0, 3, 0, &out), ASSEMBLER_FULL); /* it may still be asked about */
    assembler_retire(a, 0);
    assert_int_equal(assembler_add(a, 4, 0, 3, 0, &out), ASSEMBLER_WAITS);
    assert_int_equal(assembler_add(a, 5, 0, 3, 0, &out), ASSEMBLER_WAITS);
    assert_int_equal(assembler_add(a, 6, 0, 3, 0, &out), ASSEMBLER_FULL);
    assembler_free(a);
}

/* However long ago it was, and whatever has come since. */
static void answers_an_id_once(void **state) {
    (void)state;
    enum { CAPACITY = 8, IDS = 1000 };
    assembler *a = make_assembler(CAPACITY, 2, true);
    assembler_sample out;
    for (uint64_t id = 0; id < IDS; id++) {
        assert_int_equal(assembler_add(a, id, 0, 5, id, &out), ASSEMBLER_WAITS);
        if (id % 3 == 0) {
            assert_true(assembler_expire(a, id + DEADLINE, &out));
        } else {
            assert_int_equal(assembler_add(a, id, 1, 6, id, &out), ASSEMBLER_COMPLETE);
        }
        assert_int_equal(out.id, id);
        assembler_retire(a, id);
        for (uint64_t old = 0; old <= id; old++) {
            assert_int_equal(assembler_add(a, old, 1, 7, id, &out), ASSEMBLER_IGNORED);
        }
    }
    assert_int_equal(assembler_count(a)->waiting, 0);
    assert_int_equal(assembler_count(a)->complete + assembler_count(a)->expired, IDS);
    assert_int_equal(assembler_count(a)->late + assembler_count(a)->duplicate, IDS * (IDS + 1) / 2);
    assembler_free(a);
}

/* Samples that nobody will bring hold nothing up; those that wait do. */
static void passes_over_what_never_comes(void **state) {
    (void)state;
    assembler *a = make_assembler(4, 2, true);
    assembler_sample out;
    assert_int_equal(assembler_add(a, 1, 0, 5, 0, &out), ASSEMBLER_WAITS);
    assembler_pass(a, (uint64_t)1 << 60);
    assert_int_equal(assembler_add(a, 0, 0, 5, 0, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_add(a, 5, 0, 5, 0, &out), ASSEMBLER_FULL);
    assert_int_equal(assembler_add(a, 1, 1, 5, 0, &out), ASSEMBLER_COMPLETE);
    assembler_retire(a, 1);
    assert_int_equal(assembler_add(a, 5, 0, 5, 0, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_add(a, (uint64_t)1 << 60, 0, 5, 0, &out), ASSEMBLER_WAITS);
    assembler_free(a);
}

static void takes_announced_samples_only(void **state) {
    (void)state;
    assembler *a = make_assembler(4, 4, false);
    assembler_sample out;
    assert_int_equal(assembler_add(a, 1, 0, 1, 0, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_count(a)->unknown, 1);
    assert_true(assembler_open(a, 1, 0xa, 0)); /* portions 1 and 3 */
    assert_false(assembler_open(a, 1, 0xf, 0));
    assert_int_equal(assembler_count(a)->refused, 1);
    assert_int_equal(assembler_add(a, 1, 0, 90, 0, &out), ASSEMBLER_WAITS); /* not expected, but welcome */
    assert_int_equal(assembler_add(a, 1, 3, 93, 0, &out), ASSEMBLER_WAITS);
    assert_int_equal(assembler_add(a, 1, 1, 91, 0, &out), ASSEMBLER_COMPLETE);
    assert_int_equal(out.have, 0xb);
    assert_int_equal(out.codes[0], 90);
    assert_int_equal(assembler_add(a, 1, 2, 92, 0, &out), ASSEMBLER_IGNORED);
    assert_false(assembler_open(a, 1, 0xf, 0)); /* remembered */
    assert_true(assembler_open(a, 2, 1, 50));
    assert_true(assembler_expire(a, 50 + DEADLINE, &out));
    assert_int_equal(out.id, 2);
    assert_int_equal(out.have, 0);
    for (uint64_t id = 3; id < 7; id++) { /* answered ones make room */
        assert_true(assembler_open(a, id, 1, 50));
    }
    assert_false(assembler_open(a, 7, 1, 50));
    assembler_free(a);
}

static void does_without_a_portion_that_is_gone(void **state) {
    (void)state;
    assembler *a = make_assembler(8, 3, false);
    assembler_sample out;
    const uint64_t expected[] = {7, 7, 4, 3, 7};
    for (uint64_t id = 0; id < 5; id++) {
        assert_true(assembler_open(a, id, expected[id], id));
    }
    for (uint32_t portion = 0; portion < 2;
         portion++) { /* 0 waits for portion 2 alone, 2 has nothing else to wait for */
        assert_int_equal(assembler_add(a, 0, portion, portion + 5, 10, &out), ASSEMBLER_WAITS);
    }
    assert_int_equal(assembler_add(a, 4, 2, 9, 10, &out), ASSEMBLER_WAITS);
    assert_true(assembler_give_up(a, 2, &out));
    assert_int_equal(out.id, 0);
    assert_int_equal(out.have, 3);
    assert_int_equal(out.opened_ns, 0);
    assert_int_equal(out.codes[0], 5);
    assert_int_equal(out.codes[1], 6);
    assert_int_equal(out.codes[2], 0);
    assert_true(assembler_give_up(a, 2, &out));
    assert_int_equal(out.id, 2);
    assert_int_equal(out.have, 0);
    assert_false(assembler_give_up(a, 2, &out));
    assert_int_equal(assembler_count(a)->given_up, 2);
    assert_int_equal(assembler_count(a)->waiting, 3);
    assert_int_equal(assembler_add(a, 1, 0, 1, 20, &out), ASSEMBLER_WAITS); /* no longer waits for portion 2 */
    assert_int_equal(assembler_add(a, 1, 1, 1, 20, &out), ASSEMBLER_COMPLETE);
    assert_int_equal(assembler_add(a, 0, 2, 1, 20, &out), ASSEMBLER_IGNORED);
    assert_int_equal(assembler_count(a)->late, 1);
    assembler_free(a);
}

static void takes_64_portions(void **state) {
    (void)state;
    assembler *a = make_assembler(2, 64, true);
    assembler_sample out;
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t portion = (i * 37 + 5) % 64;
        assert_int_equal(assembler_add(a, 1, portion, ~(uint64_t)0 - portion, 0, &out),
                         i < 63 ? ASSEMBLER_WAITS : ASSEMBLER_COMPLETE);
    }
    assert_true(out.have == UINT64_MAX);
    for (uint32_t k = 0; k < 64; k++) {
        assert_true(out.codes[k] == ~(uint64_t)0 - k);
    }
    assembler_free(a);
}

/* The same as simply as can be: every sample there has ever been, searched from the first on. */
enum { MODEL_PLACES = 16, MODEL_PORTIONS = 5, MODEL_IDS = 1 << 16 };

typedef enum model_state { MODEL_NEW, MODEL_WAITS, MODEL_OUT, MODEL_RETIRED } model_state;

typedef struct model_place {
    model_state state;
    uint8_t stage;
    uint64_t id, have, got, to_ack, expected, opened, codes[MODEL_PORTIONS];
} model_place;

typedef struct model {
    model_place places[MODEL_IDS]; /* by id */
    bool is_streamed, owes;
    uint64_t low, passed, end; /* `end`: behind the highest id that was opened */
    assembler_counters counters;
} model;

/* An on-demand sample is remembered until another one needs its place. */
static model_place *model_find(model *m, uint64_t id) {
    model_place *p = &m->places[id];
    for (uint64_t i = id % MODEL_PLACES; i < m->end && !m->is_streamed; i += MODEL_PLACES) {
        if (i != id && m->places[i].state != MODEL_NEW && m->places[i].opened > p->opened) {
            return NULL;
        }
    }
    return p->state == MODEL_NEW ? NULL : p;
}

static model_place *model_open(model *m, uint64_t id, uint64_t expected, uint64_t now) {
    for (uint64_t i = id % MODEL_PLACES; i < m->end; i += MODEL_PLACES) {
        if (m->places[i].state == MODEL_WAITS) {
            return NULL;
        }
    }
    m->places[id] = (model_place){.state = MODEL_WAITS, .id = id, .expected = expected, .opened = now};
    m->end = id >= m->end ? id + 1 : m->end;
    m->counters.waiting++;
    return &m->places[id];
}

/* Where the window begins. */
static void model_slide(model *m) {
    while (m->places[m->low].state == MODEL_RETIRED || (m->places[m->low].state == MODEL_NEW && m->low < m->passed)) {
        m->low++;
    }
}

static assembler_sample model_answer(model *m, model_place *p) {
    assembler_sample out = {.id = p->id,
                            .have = p->have,
                            .got = p->got,
                            .to_ack = p->to_ack,
                            .stage = p->stage,
                            .opened_ns = p->opened,
                            .codes = p->codes};
    p->state = MODEL_OUT;
    m->counters.waiting--;
    m->counters.incomplete += p->stage > 0 && p->got != p->have;
    return out;
}

static assembler_outcome model_add(model *m, uint64_t id, uint32_t portion, uint64_t code, uint64_t now,
                                   assembler_sample *out) {
    if (m->is_streamed && id < m->low) {
        m->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    model_place *p = model_find(m, id);
    if (!p && !m->is_streamed) {
        m->counters.unknown++;
        return ASSEMBLER_IGNORED;
    }
    if (!p && id >= m->low + MODEL_PLACES) {
        m->counters.refused++;
        return ASSEMBLER_FULL;
    }
    p = p ? p : model_open(m, id, (1 << MODEL_PORTIONS) - 1, now);
    assert_non_null(p);
    bool has = p->have >> portion & 1;
    if (has || p->state != MODEL_WAITS || p->stage > 0) {
        m->counters.duplicate += has;
        m->counters.late += !has;
        return ASSEMBLER_IGNORED;
    }
    p->to_ack |= (uint64_t)m->owes << portion;
    p->got = p->have |= (uint64_t)1 << portion;
    p->codes[portion] = code;
    if (p->expected & ~p->got) {
        return ASSEMBLER_WAITS;
    }
    m->counters.complete++;
    *out = model_answer(m, p);
    return ASSEMBLER_COMPLETE;
}

static bool model_extend(model *m, uint64_t id, uint64_t expected) {
    model_place *p = model_find(m, id);
    if (!p || p->state != MODEL_OUT || p->stage + 1 == REFINEMENT_STAGES_MAX) {
        return false;
    }
    p->state = MODEL_WAITS;
    p->stage++;
    p->got = 0;
    p->expected = expected;
    m->counters.asked++;
    m->counters.waiting++;
    return true;
}

/* A stage of a portion; without bits: the portion will not send it. */
static assembler_outcome model_add_stage(model *m, uint64_t id, uint32_t portion, uint8_t stage, const uint64_t *bits,
                                         assembler_sample *out) {
    model_place *p = model_find(m, id);
    if (!p || p->state != MODEL_WAITS || p->stage != stage || !((p->expected & ~p->got) >> portion & 1)) {
        m->counters.late++;
        return ASSEMBLER_IGNORED;
    }
    if (bits) {
        p->got |= (uint64_t)1 << portion;
        p->codes[portion] |= *bits;
    } else {
        p->expected &= ~((uint64_t)1 << portion);
    }
    if (p->expected & ~p->got) {
        return ASSEMBLER_WAITS;
    }
    *out = model_answer(m, p);
    return ASSEMBLER_COMPLETE;
}

/* Whoever waits longest; times never repeat, so there is only one. */
static model_place *model_first(model *m) {
    model_place *first = NULL;
    for (model_place *p = m->places + m->low; p < m->places + m->end; p++) {
        if (p->state == MODEL_WAITS && (!first || p->opened < first->opened)) {
            first = p;
        }
    }
    return first;
}

static void assert_same_sample(const assembler_sample *ours, const assembler_sample *theirs) {
    assert_int_equal(ours->id, theirs->id);
    assert_int_equal(ours->have, theirs->have);
    assert_int_equal(ours->got, theirs->got);
    assert_int_equal(ours->to_ack, theirs->to_ack);
    assert_int_equal(ours->stage, theirs->stage);
    assert_int_equal(ours->opened_ns, theirs->opened_ns);
    assert_memory_equal(ours->codes, theirs->codes, MODEL_PORTIONS * sizeof *ours->codes);
}

/* Of samples in stage `first` or a later one, nobody waits for a portion any more: those that waited for it alone are
 * answered. */
static void give_up(assembler *a, model *m, uint8_t first, uint32_t portion) {
    assembler_sample ours;
    while (first ? assembler_give_up_stages(a, portion, &ours) : assembler_give_up(a, portion, &ours)) {
        model_place *p = model_find(m, ours.id);
        assert_non_null(p);
        assert_int_equal(p->state, MODEL_WAITS);
        assert_true(p->stage >= first);
        assert_int_equal(p->expected & ~p->got, (uint64_t)1 << portion);
        assembler_sample theirs = model_answer(m, p);
        m->counters.given_up += p->stage == 0;
        assert_same_sample(&ours, &theirs);
    }
    for (model_place *p = m->places + m->low; p < m->places + m->end; p++) {
        if (p->state == MODEL_WAITS && p->stage >= first) {
            p->expected &= ~((uint64_t)1 << portion);
            assert_true((p->expected & ~p->got) != 0);
        }
    }
}

static void expire(assembler *a, model *m, uint64_t now) {
    model_place *first = model_first(m);
    bool is_due = first && now >= first->opened + DEADLINE;
    assembler_sample ours;
    assert_int_equal(assembler_expire(a, now, &ours), is_due);
    if (is_due) {
        assembler_sample theirs = model_answer(m, first);
        m->counters.expired += first->stage == 0;
        assert_same_sample(&ours, &theirs);
    }
}

static void disown(assembler *a, model *m, uint32_t portion) {
    assembler_drop_acks(a, portion);
    for (model_place *p = m->places + m->low; p < m->places + m->end; p++) {
        p->to_ack &= ~((uint64_t)1 << portion);
    }
}

static void retire(assembler *a, model *m, uint64_t id) {
    if (m->is_streamed) {
        assembler_retire(a, id);
        m->places[id].state = m->places[id].state == MODEL_OUT ? MODEL_RETIRED : m->places[id].state;
        model_slide(m);
    }
}

static void pass(assembler *a, model *m, uint64_t id) {
    if (m->is_streamed) {
        assembler_pass(a, id);
        m->passed = id > m->passed ? id : m->passed;
        model_slide(m);
    }
}

/* Near the window; of the 24 lowest, without one. */
static uint64_t random_id(const model *m, rng *r) {
    uint64_t from = m->low > 6 ? m->low - 6 : 0;
    return (m->is_streamed ? from : 0) + rng_below(r, 24);
}

static void take_random_turn(assembler *a, model *m, rng *r, uint64_t now) {
    uint64_t id = random_id(m, r), code = rng_u32(r);
    uint32_t portion = rng_below(r, MODEL_PORTIONS), expected = 1 + rng_below(r, (1 << MODEL_PORTIONS) - 1);
    uint8_t stage = (uint8_t)(1 + rng_below(r, REFINEMENT_STAGES_MAX - 1));
    assembler_sample ours = {0}, theirs = {0};
    assembler_outcome outcome = ASSEMBLER_IGNORED;
    uint32_t what = rng_below(r, 42);
    if (what < 4) {
        bool is_new = !m->is_streamed && !model_find(m, id) && model_open(m, id, expected, now);
        m->counters.refused += !is_new && !m->is_streamed;
        assert_int_equal(!m->is_streamed && assembler_open(a, id, expected, now), is_new);
    } else if (what < 18) {
        outcome = model_add(m, id, portion, code, now, &theirs);
        assert_int_equal(assembler_add(a, id, portion, code, now, &ours), outcome);
    } else if (what < 22) {
        assert_int_equal(assembler_extend(a, id, expected), model_extend(m, id, expected));
    } else if (what < 28) {
        outcome = model_add_stage(m, id, portion, stage, &code, &theirs);
        assert_int_equal(assembler_add_stage(a, id, portion, stage, code, &ours), outcome);
    } else if (what < 29) {
        outcome = model_add_stage(m, id, portion, stage, NULL, &theirs);
        assert_int_equal(assembler_skip_stage(a, id, portion, stage, &ours), outcome);
    } else if (what < 31) {
        give_up(a, m, what == 30, portion);
    } else if (what < 32) {
        expire(a, m, now);
    } else if (what < 33) {
        disown(a, m, portion);
    } else if (what < 40) {
        retire(a, m, id);
    } else if (what < 41) {
        pass(a, m, id);
    } else {
        m->owes = rng_below(r, 4) > 0;
        assembler_set_wants_ack(a, m->owes);
    }
    if (outcome == ASSEMBLER_COMPLETE) {
        assert_same_sample(&ours, &theirs);
    }
}

static void assert_same_counts(const assembler_counters *ours, const assembler_counters *theirs) {
    assert_int_equal(ours->complete, theirs->complete);
    assert_int_equal(ours->expired, theirs->expired);
    assert_int_equal(ours->given_up, theirs->given_up);
    assert_int_equal(ours->late, theirs->late);
    assert_int_equal(ours->unknown, theirs->unknown);
    assert_int_equal(ours->duplicate, theirs->duplicate);
    assert_int_equal(ours->refused, theirs->refused);
    assert_int_equal(ours->waiting, theirs->waiting);
    assert_int_equal(ours->asked, theirs->asked);
    assert_int_equal(ours->incomplete, theirs->incomplete);
}

static void agrees_with_a_naive_one(void **state) {
    (void)state;
    static model m;
    for (int is_streamed = 0; is_streamed < 2; is_streamed++) {
        assembler *a = make_assembler(MODEL_PLACES, MODEL_PORTIONS, is_streamed);
        m = (model){.is_streamed = is_streamed, .owes = true};
        rng r = rng_at(1, rng_stream(RNG_TEST, 0), (uint32_t)is_streamed);
        uint64_t now = 1;
        for (int turn = 0; turn < 300000; turn++) {
            now += 1 + rng_below(&r, 60);
            take_random_turn(a, &m, &r, now);
            const model_place *first = model_first(&m);
            assert_true(assembler_next_deadline(a) == (first ? first->opened + DEADLINE : UINT64_MAX));
            assert_same_counts(assembler_count(a), &m.counters);
        }
        assert_true(m.counters.complete > 500 && m.counters.expired > 500 && m.counters.late > 500);
        assert_true(m.counters.given_up > 500 && m.counters.duplicate > 500 && m.counters.refused > 500);
        assert_true(m.counters.asked > 500 && m.counters.incomplete > 500);
        assembler_free(a);
    }
}

/* Against the sum of the stages that are here, for every mask. */
static void tells_the_bits_of_each_portion(void **state) {
    (void)state;
    const codeword layouts[] = {uneven_whole(), uneven_staged()};
    for (uint64_t masks = 0; masks < 256; masks++) {
        uint64_t have = masks >> 4, got = masks & 15;
        for (uint32_t stage = 0; stage < 4 && (got & ~have) == 0; stage++) {
            const codeword *layout = &layouts[stage > 0];
            uint8_t waited = (uint8_t)(stage > 0 ? stage - 1 : 0); /* for its last stage */
            assembler_sample s = {.have = have, .got = waited > 0 ? got : have, .stage = waited};
            for (uint32_t k = 0; k < UNEVEN_PORTIONS; k++) {
                uint32_t bits = 0;
                for (uint32_t i = 0; i <= waited && have >> k & 1; i++) {
                    bool is_here = i < waited || s.got >> k & 1;
                    bits += is_here ? refinement_width(&layout->portion[k], i) : 0;
                }
                assert_int_equal(assembler_sample_bits(&s, layout, k), bits);
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_every_order),
        cmocka_unit_test(counts_duplicate_and_late_portions),
        cmocka_unit_test(gives_up_at_the_deadline),
        cmocka_unit_test(says_when_it_is_full),
        cmocka_unit_test(answers_an_id_once),
        cmocka_unit_test(passes_over_what_never_comes),
        cmocka_unit_test(takes_announced_samples_only),
        cmocka_unit_test(does_without_a_portion_that_is_gone),
        cmocka_unit_test(takes_64_portions),
        cmocka_unit_test(agrees_with_a_naive_one),
        cmocka_unit_test(tells_the_bits_of_each_portion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
