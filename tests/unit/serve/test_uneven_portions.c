/* The predictor and the engine where portions differ in their bits: against rows that are made bit by bit and go
 * through the net as it is. */
#include "tests/lib/engine_fixture.h"
#include "tests/lib/uneven_codes.h"
#include "wire/id_set.h"

enum { EVERY_PORTION = (1 << PORTIONS) - 1, SAMPLES = 300, ROW_MAX = CODEWORD_PORTIONS_MAX * 64 };

/* 12 bits in two stages: 7, then all. */
static codeword short_layout(void) {
    static const refinement each[PORTIONS] = {{2, {1, 2}}, {2, {3, 5}}, {2, {1, 2}}, {2, {2, 3}}};
    codeword c = codeword_empty();
    for (uint32_t k = 0; k < PORTIONS; k++) {
        codeword_append(&c, &each[k]);
    }
    return c;
}

static void set_layout(experiment *e, const codeword *c) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const refinement *r = &c->portion[k];
        e->portions[k].encoder.bits = r->upto[r->count - 1];
        e->portions[k].refinement_count = r->count > 1 ? r->count : 0;
        for (uint32_t stage = 0; stage < r->count; stage++) {
            e->portions[k].refinement[stage] = refinement_width(r, stage);
        }
    }
}

static int set_table_laid_out(void **state, codeword layout, float confidence) {
    const engine_options options = {
        .deadline_ns = deadline_ns, .predictor = predictor_with_all, .confidence = confidence};
    experiment e;
    assert_int_equal(experiment_parse("the test", experiment_text, strlen(experiment_text), &e), ERR_OK);
    set_layout(&e, &layout);
    return set_table_for(state, &e, &options);
}

static int set_short(void **state) {
    return set_table_laid_out(state, short_layout(), 0);
}

static int set_long(void **state) {
    return set_table_laid_out(state, uneven_whole(), 0);
}

static int set_staged(void **state) {
    return set_table_laid_out(state, uneven_staged(), 1.01f);
}

/* The net's own answer to a codeword of which the first here[k] bits of portion k are known. */
static uint32_t plain_answer(table *t, const codeword *layout, const uint64_t *codes, const uint32_t *here,
                             float *probabilities) {
    float row[ROW_MAX];
    size_t at = 0;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        uint32_t bits = layout->portion[k].upto[layout->stages - 1];
        for (uint32_t b = 0; b < bits; b++) {
            row[at++] = b >= here[k] ? 0.5f : codes[k] >> b & 1 ? 1.0f : 0.0f;
        }
    }
    const float *logits = nn_net_forward(t->head, row, 1, NN_EVALUATE);
    double sum = 0;
    uint32_t best = 0;
    for (uint32_t c = 0; c < CLASSES; c++) {
        best = logits[c] > logits[best] ? c : best;
        sum += exp((double)logits[c]);
    }
    for (uint32_t c = 0; c < CLASSES; c++) {
        probabilities[c] = (float)(exp((double)logits[c]) / sum);
    }
    return best;
}

/* The predictor. */

static void assert_predicts(table *t, predictor *p, const codeword *layout, const assembler_sample *s) {
    uint32_t here[PORTIONS];
    float wanted[CLASSES];
    for (uint32_t k = 0; k < PORTIONS; k++) {
        bool is_here = s->have >> k & 1, is_asked = s->stage > 0 && !(s->got >> k & 1);
        here[k] = is_here ? layout->portion[k].upto[s->stage - is_asked] : 0;
    }
    uint32_t class = plain_answer(t, layout, s->codes, here, wanted);
    const prediction *got = predictor_run(p, s, 1);
    assert_int_equal(got->class, class);
    for (uint32_t c = 0; c < CLASSES; c++) {
        assert_true(fabsf(got->probabilities[c] - wanted[c]) < 1e-5f);
    }
}

static void a_table_holds_every_codeword(void **state) {
    table *t = *state;
    const codeword staged = short_layout(), layout = codeword_whole(&staged);
    predictor *p = make_predictor(t, (predictor_options){.table_bytes = 64 << 20});
    uint32_t size = 1u << 12;
    assert_true(codeword_equal(predictor_layout(p), &layout));
    assert_int_equal(counters_of(p).table_size, size);
    for (uint32_t i = 0; i < size; i++) {
        uint64_t codes[PORTIONS] = {i & 3, i >> 2 & 31, i >> 7 & 3, i >> 9};
        const assembler_sample s = {.have = EVERY_PORTION, .got = EVERY_PORTION, .codes = codes};
        assert_predicts(t, p, &layout, &s);
    }
    assert_int_equal(counters_of(p).from_table, size);
    predictor_free(p);
}

/* 7 bits after the first stage: its own table. Where portions have come to other stages, the nets answer. */
static void each_stage_has_a_table(void **state) {
    table *t = *state;
    const codeword layout = short_layout();
    predictor *p = make_predictor(t, (predictor_options){.table_bytes = 64 << 20, .by_stage = true});
    assert_true(codeword_equal(predictor_layout(p), &layout));
    assert_int_equal(counters_of(p).table_size, (1u << 7) + (1u << 12));
    for (uint32_t i = 0; i < 1u << 7; i++) {
        uint64_t codes[PORTIONS] = {i & 1, i >> 1 & 7, i >> 4 & 1, i >> 5};
        const assembler_sample s = {.have = EVERY_PORTION, .got = EVERY_PORTION, .codes = codes};
        assert_predicts(t, p, &layout, &s);
    }
    for (uint32_t i = 0; i < 1u << 12; i++) {
        uint64_t codes[PORTIONS] = {i & 3, i >> 2 & 31, i >> 7 & 3, i >> 9};
        const assembler_sample s = {.have = EVERY_PORTION, .got = EVERY_PORTION, .stage = 1, .codes = codes};
        assert_predicts(t, p, &layout, &s);
    }
    assert_int_equal(counters_of(p).from_table, (1u << 7) + (1u << 12));
    for (uint32_t i = 0; i < 1u << 12; i++) {
        uint64_t codes[PORTIONS] = {i & 3, i >> 2 & 31, i >> 7 & 3, i >> 9}, got = i % 15;
        for (uint32_t k = 0; k < PORTIONS; k++) {
            codes[k] = uneven_cut(codes[k], 0, layout.portion[k].upto[got >> k & 1]);
        }
        const assembler_sample s = {.have = EVERY_PORTION, .got = got, .stage = 1, .codes = codes};
        assert_predicts(t, p, &layout, &s);
    }
    predictor_free(p);
}

/* 84 bits: no table. A key has every bit of the codeword in a place of its own. */
static void codewords_that_differ_in_one_bit_are_told_apart(void **state) {
    table *t = *state;
    const codeword layout = uneven_whole();
    predictor *p = make_predictor(t, (predictor_options){.table_bytes = 64 << 20, .cache_bytes = 1 << 20});
    uint64_t distinct = 1;
    assert_int_equal(counters_of(p).table_size, 0);
    for (int round = 0; round < 2; round++) {
        uint64_t codes[PORTIONS];
        for (uint32_t k = 0; k < PORTIONS; k++) {
            codes[k] = uneven_code(&layout, 5, k);
        }
        assembler_sample s = {.have = EVERY_PORTION, .got = EVERY_PORTION, .codes = codes};
        assert_predicts(t, p, &layout, &s);
        for (uint32_t k = 0; k < PORTIONS; k++) {
            for (uint32_t b = 0; b < codeword_portion_bits(&layout, k); b++) {
                codes[k] ^= (uint64_t)1 << b;
                assert_predicts(t, p, &layout, &s);
                codes[k] ^= (uint64_t)1 << b;
                distinct += round == 0;
            }
        }
        for (uint64_t have = 1; have < EVERY_PORTION; have++) {
            uint64_t some[PORTIONS];
            for (uint32_t k = 0; k < PORTIONS; k++) {
                some[k] = have >> k & 1 ? codes[k] : 0;
            }
            s = (assembler_sample){.have = have, .got = have, .codes = some};
            assert_predicts(t, p, &layout, &s);
            distinct += round == 0;
        }
    }
    assert_int_equal(distinct, 1 + 84 + 14);
    assert_int_equal(counters_of(p).from_nets, distinct);
    assert_int_equal(counters_of(p).from_cache, distinct);
    predictor_free(p);
}

/* Models. */

static served_model *model_of(const table *t) {
    const predictor_options options = {.by_stage = true};
    served_model *m;
    assert_int_equal(served_model_new(&m, &t->run, &options), ERR_OK);
    return m;
}

/* Whether a model of that experiment may follow that of the table; with what differs, where it may not. */
static void assert_fits(table *t, const experiment *e, const char *differs) {
    const engine_options options = {.deadline_ns = deadline_ns};
    experiment named = *e; /* as the labels name them */
    void *state;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        memcpy(named.portions[k].name, t->run.experiment.portions[k].name, sizeof named.portions[k].name);
    }
    assert_int_equal(set_table_for(&state, &named, &options), 0);
    table *next = state;
    next->run.experiment = *e;
    served_model *here = model_of(t), *there = model_of(next);
    assert_int_equal(served_model_fits(here, there), differs ? ERR_INPUT : ERR_OK);
    if (differs && !strstr(err_text(), differs)) {
        fail_msg("'%s' does not tell '%s'", err_text(), differs);
    }
    served_model_free(here);
    served_model_free(there);
    clear_table(&state);
}

static void a_model_of_other_classes_does_not_fit(void **state) {
    table *t = *state;
    served_model *here = model_of(t), *there = model_of(t);
    static run_dir other;
    other = t->run;
    there->run = &other;
    assert_int_equal(served_model_fits(here, there), ERR_OK);
    uint32_t count = other.identity.classes.count;
    for (uint32_t c = 0; c < count; c++) {
        char differs[80];
        other.identity.classes = t->run.identity.classes;
        strcpy(other.identity.classes.names[c], "other");
        snprintf(differs, sizeof differs, "class %u is 'other'; it is '%s' in what is served here", c,
                 t->run.identity.classes.names[c]);
        assert_int_equal(served_model_fits(here, there), ERR_INPUT);
        assert_non_null(strstr(err_text(), differs));
    }
    other.identity.classes.count--;
    assert_int_equal(served_model_fits(here, there), ERR_INPUT);
    assert_non_null(strstr(err_text(), "classes; there are "));
    served_model_free(here);
    served_model_free(there);
}

static void a_model_of_other_portions_does_not_fit(void **state) {
    table *t = *state;
    const experiment *served = &t->run.experiment;
    assert_fits(t, served, NULL);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        char differs[160];
        experiment e = *served;
        uint32_t bits = e.portions[k].encoder.bits, *stages = e.portions[k].refinement;
        e.portions[k].encoder.bits++;
        stages[1]++;
        snprintf(differs, sizeof differs, "portion %u has %u bits; it has %u in what", k, bits + 1, bits);
        assert_fits(t, &e, differs);
        e = *served;
        uint32_t widest = stages[0] > stages[1] ? 0 : 1;
        stages[widest]--, stages[2]++;
        assert_fits(t, &e, "its bits come in other stages");
        e = *served;
        snprintf(e.portions[k].name, sizeof e.portions[k].name, "host");
        snprintf(differs, sizeof differs, "portion %u is host of u8 [1, 7, 28]; it is %u of u8 [1, 7, 28] in", k, k);
        assert_fits(t, &e, differs);
        e = *served;
        e.portions[k].shape = (portion_shape){PORTION_F32, 1, {7}};
        snprintf(differs, sizeof differs, "portion %u is %u of f32 [7]; it is %u of u8", k, k, k);
        assert_fits(t, &e, differs);
    }
    experiment e = *served;
    snprintf(e.dataset.name, sizeof e.dataset.name, "fashion-mnist");
    assert_fits(t, &e, "fashion-mnist in 4 slices; what is served here is mnist in 4 slices");
}

/* The engine. */

/* Codes `first` and on of a portion, as wide as its first stage. */
static void stream_piece(table *t, const codeword *layout, uint32_t portion, uint64_t first, uint32_t count) {
    static uint8_t stream[SAMPLES * 8];
    size_t bits = 0;
    memset(stream, 0, sizeof stream);
    for (uint32_t i = 0; i < count; i++) {
        uneven_put(stream, &bits, uneven_code(layout, first + i, portion), 0, layout->portion[portion].upto[0]);
    }
    send(t, portion, (sent_codes){MESSAGE_CODES, STEP, first, count - 1, pack_bytes(bits), stream}, 0);
}

static void poll_all(table *t, uint64_t now_ns) {
    while (engine_poll(t->engine, now_ns) == 0) {
    }
}

/* What is written of sample `id`: all bits of every portion, and the net's own class. */
static void assert_line(table *t, const codeword *layout, const json_t *line, uint64_t id) {
    uint64_t codes[PORTIONS];
    uint32_t bits[PORTIONS];
    float wanted[CLASSES];
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const char *said = json_string_value(json_array_get(json_object_get(line, "bits"), k));
        bits[k] = layout->portion[k].upto[layout->stages - 1];
        codes[k] = uneven_code(layout, id, k);
        assert_non_null(said);
        assert_int_equal(strlen(said), bits[k]);
        for (uint32_t b = 0; b < bits[k]; b++) {
            assert_int_equal(said[b], codes[k] >> b & 1 ? '1' : '0');
        }
    }
    uint32_t class = plain_answer(t, layout, codes, bits, wanted);
    assert_int_equal(json_integer_value(json_object_get(line, "class")), class);
    assert_true(fabs(json_number_value(json_object_get(line, "probability")) - (double)wanted[class]) < 1e-5);
    assert_false(json_is_true(json_object_get(line, "degraded")));
}

static void assert_lines(table *t, const codeword *layout) {
    json_t *lines = written(t), *line;
    size_t index;
    bool seen[SAMPLES] = {false};
    assert_int_equal(json_array_size(lines), SAMPLES);
    json_array_foreach(lines, index, line) {
        uint64_t id = (uint64_t)json_integer_value(json_object_get(line, "id"));
        assert_true(id < SAMPLES && !seen[id]);
        seen[id] = true;
        assert_line(t, layout, line, id);
    }
    json_decref(lines);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        uint64_t payload = stats_of(t)->nodes[k].payload_bits[TRAFFIC_IN];
        assert_int_equal(payload, (uint64_t)SAMPLES * layout->portion[k].upto[layout->stages - 1]);
    }
}

static void streamed_codes_are_answered(void **state) {
    table *t = *state;
    const codeword layout = uneven_whole();
    join_all(t);
    for (uint64_t first = 0; first < SAMPLES; first += 75) {
        for (uint32_t k = 0; k < PORTIONS; k++) {
            stream_piece(t, &layout, k, first, 75);
        }
    }
    poll_all(t, 0);
    assert_int_equal(t->drops, 0);
    assert_lines(t, &layout);
}

static void requests_are_answered(void **state) {
    table *t = *state;
    const codeword layout = uneven_whole();
    join_all(t);
    uint64_t id = ask(t, 3, 0);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        uint8_t stream[8] = {0};
        size_t bits = 0;
        uneven_put(stream, &bits, uneven_code(&layout, 9, k), 0, codeword_portion_bits(&layout, k));
        send(t, k, (sent_codes){MESSAGE_ANSWER, STEP, id, 0, pack_bytes(bits), stream}, 0);
    }
    poll_all(t, 0);
    assert_int_equal(t->answers, 1);
    assert_int_equal(t->last.outcome, CLASSIFICATION_DONE);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        assert_int_equal(t->last.bits[k], codeword_portion_bits(&layout, k));
        assert_true(t->last.codes[k] == uneven_code(&layout, 9, k));
    }
}

/* 8 codes take as many bytes as the code has bits: those of every other portion do not fit. */
static void codes_as_wide_as_another_portion_are_refused(void **state) {
    table *t = *state;
    const codeword layout = uneven_whole();
    static const uint8_t stream[8 * 8] = {0};
    uint32_t drops = 0;
    for (uint32_t k = 0; k < PORTIONS; k++) {
        for (uint32_t other = 0; other < PORTIONS; other++) {
            join(t, k);
            sent_codes sent = {MESSAGE_CODES, STEP, t->first, 7, codeword_portion_bits(&layout, other), stream};
            if (other != k) {
                send(t, k, sent, 0);
                drops++;
            }
            assert_int_equal(t->drops, drops);
            engine_left(t->engine, k, 0);
        }
    }
}

/* Asks for everything: each portion is asked for its next stage, and gives it. */
static void stages_are_asked_for_and_put_together(void **state) {
    table *t = *state;
    const codeword layout = uneven_staged();
    join_all(t);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        stream_piece(t, &layout, k, 0, SAMPLES);
    }
    for (uint32_t stage = 1; stage < layout.stages; stage++) {
        poll_all(t, 0);
        for (uint32_t k = 0; k < PORTIONS; k++) {
            static uint8_t stream[SAMPLES * 8];
            size_t bits = 0;
            memset(stream, 0, sizeof stream);
            for (uint64_t id = 0; id < SAMPLES; id++) {
                uneven_put(stream, &bits, uneven_code(&layout, id, k), layout.portion[k].upto[stage - 1],
                           layout.portion[k].upto[stage]);
            }
            Fewbit__Refinement reply = FEWBIT__REFINEMENT__INIT;
            reply.stage = stage;
            reply.bits = (ProtobufCBinaryData){pack_bytes(bits), stream};
            const message m = {MESSAGE_REFINEMENT, {.refinement = &reply}};
            engine_receive(t->engine, k, &m, 0);
        }
    }
    poll_all(t, 0);
    assert_int_equal(t->drops, 0);
    assert_lines(t, &layout);
}

#define TEST_WITH(setup, f) cmocka_unit_test_setup_teardown(f, setup, clear_table)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST_WITH(set_short, a_table_holds_every_codeword),
        TEST_WITH(set_short, each_stage_has_a_table),
        TEST_WITH(set_long, codewords_that_differ_in_one_bit_are_told_apart),
        TEST_WITH(set_staged, a_model_of_other_portions_does_not_fit),
        TEST_WITH(set_staged, a_model_of_other_classes_does_not_fit),
        TEST_WITH(set_long, streamed_codes_are_answered),
        TEST_WITH(set_long, requests_are_answered),
        TEST_WITH(set_long, codes_as_wide_as_another_portion_are_refused),
        TEST_WITH(set_staged, stages_are_asked_for_and_put_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
