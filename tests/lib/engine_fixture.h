/* A engine with everything it needs, for tests: a real run folder with a committed head, a results file, and a record
 * of what the engine says. No socket, no thread: messages and time come by hand. */
#ifndef FEWBIT_TESTS_LIB_ENGINE_FIXTURE_H
#define FEWBIT_TESTS_LIB_ENGINE_FIXTURE_H

#include "base/file.h"
#include "base/log.h"
#include "bits/pack.h"
#include "decoder_server/serve/engine.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "tests/lib/predictor_with_all.h"
#include "tests/lib/some_labels.h"
#include "tests/lib/temporary.h"
#include "tests/lib/whole_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PORTIONS = 4, BITS = 4, CODE_BITS = PORTIONS * BITS, CLASSES = 10, ELEMENTS = 196, STEP = 600 };
enum { TELLS_MAX = 64, REQUESTS_MAX = 16384 };

static const uint64_t deadline_ns = 1000000000;

#define EXPERIMENT_WITH(hidden)                                                                                        \
    "name: tiny\n"                                                                                                     \
    "dataset: {name: mnist, partition: slices, portions: 4, mean: 0.1, std: 0.3}\n"                                    \
    "encoder: {net: simple-1d, hidden: 4, bits: 4, refinement: [1, 3], batch_norm: false, activation: sigmoid,\n"      \
    "          binarize: after-training}\n"                                                                            \
    "decoder: {net: linear}\n"                                                                                         \
    "classifier: {net: mnist, hidden: " #hidden "}\n"                                                                  \
    "loss: {quantization: 0}\n"                                                                                        \
    "optimiser: {kind: adam, learning_rate: 0.001}\n"                                                                  \
    "training: {epochs: 1, batch_size: 10, seed: 1}\n"

static const char experiment_text[] = EXPERIMENT_WITH(8);
static const partition tiny_partition = {PARTITION_SLICES, PORTIONS, 1, 28, 28};

/* What the engine said to one node. */
typedef struct told {
    uint32_t portion;
    message_type type;
    uint64_t number; /* step, id of a request, or number of a model */
    uint64_t from;   /* of a Switch */
    uint8_t bytes[ELEMENTS];
    size_t length, frame_bytes;
    Fewbit__PortionFormat format; /* of a Request, as is the next */
    char sample[65];
} told;

/* Everything of one test. */
typedef struct table {
    char folder[TEMPORARY_PATH_MAX], results_path[TEMPORARY_PATH_MAX + 16];
    run_dir run;
    results *results;
    engine *engine;
    nn_net *head;          /* a second copy, for what the classes must be */
    told tells[TELLS_MAX]; /* the last ones */
    size_t tell_count;
    uint32_t drops, pauses[2], ready; /* pauses[1]: of nodes not read from, [0]: let go on */
    uint32_t dropped_portion, paused_portion;
    char dropped_text[256];
    uint64_t session, first;   /* of the last Begin */
    uint32_t begins, holds[2]; /* holds[1]: of nodes ahead, [0]: let go on */
    bool is_held[PORTIONS], is_outside[PORTIONS];
    Fewbit__Reason dropped_reason;
    uint32_t answered[REQUESTS_MAX]; /* times, by request */
    uint32_t answers;
    classification last;
    uint64_t acked[PORTIONS];
    uint32_t served, changes; /* models that nodes were to be welcomed to; changes that have ended */
    uint64_t served_step;
    err change_code;
    char change_text[256];
} table;

static inline void on_tell(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    table *t = context;
    told *one = &t->tells[t->tell_count++ % TELLS_MAX];
    *one = (told){.portion = portion, .type = type, .frame_bytes = message_frame_size(body)};
    message_body what = {.any = body};
    ProtobufCBinaryData bytes = {0, NULL};
    if (type == MESSAGE_RESTORE) {
        one->number = what.restore->step;
        bytes = what.restore->digest;
    } else if (type == MESSAGE_REQUEST) {
        one->number = what.request->id;
        one->format = what.request->format;
        bytes = what.request->portion;
        snprintf(one->sample, sizeof one->sample, "%s", what.request->sample);
    } else if (type == MESSAGE_PREPARE) {
        one->number = what.prepare->model;
        bytes = what.prepare->digest;
    } else if (type == MESSAGE_SWITCH) {
        one->number = what.switch_to->model;
        one->from = what.switch_to->from;
    } else if (type == MESSAGE_BEGIN) {
        t->begins++;
        t->session = what.begin->session;
        t->first = what.begin->first;
        t->is_held[portion] = t->is_outside[portion] = false;
    } else if (type == MESSAGE_STREAM_HOLD) {
        assert_int_equal(what.stream_hold->outside, what.stream_hold->text[0] != '\0');
        t->holds[what.stream_hold->held]++;
        t->is_held[portion] = what.stream_hold->held;
        t->is_outside[portion] = what.stream_hold->outside;
    } else if (type == MESSAGE_ACK) {
        t->acked[portion] += what.ack->samples;
    }
    assert_true(bytes.len <= sizeof one->bytes);
    one->length = bytes.len;
    if (bytes.len > 0) {
        memcpy(one->bytes, bytes.data, bytes.len);
    }
}

static inline void on_drop(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    table *t = context;
    assert_true(strlen(text) > 0);
    t->drops++;
    t->dropped_portion = portion;
    t->dropped_reason = reason;
    snprintf(t->dropped_text, sizeof t->dropped_text, "%s", text);
}

static inline void on_pause(void *context, uint32_t portion, bool paused) {
    table *t = context;
    t->pauses[paused]++;
    t->paused_portion = portion;
}

static inline void on_answer(void *context, uint64_t request, const classification *a) {
    table *t = context;
    assert_true(request < REQUESTS_MAX);
    t->answered[request]++;
    t->answers++;
    t->last = *a;
}

static inline void on_ready(void *context, uint32_t nodes) {
    ((table *)context)->ready = nodes;
}

static inline void on_serves(void *context, const served_model *m) {
    table *t = context;
    t->served++;
    t->served_step = m->commit->position.step;
}

static inline void on_changed(void *context, err code, const char *text) {
    table *t = context;
    t->changes++;
    t->change_code = code;
    snprintf(t->change_text, sizeof t->change_text, "%s", text);
}

/* A run folder with one committed checkpoint, as training leaves it. */
static inline void make_run(table *t, const experiment *e) {
    nn_spec spec;
    char path[FILE_PATH_MAX];
    assert_int_equal(file_path(path, sizeof path, "%s/run", t->folder), ERR_OK);
    assert_int_equal(run_dir_create(&t->run, path, e, some_labels(e), NULL), ERR_OK);
    experiment_describe_head(e, CLASSES, &spec);
    nn_net_options options = {.max_rows = 1};
    assert_int_equal(nn_net_new(&t->head, &spec, &options), ERR_OK);
    nn_net_init(t->head, 5, 1);
    manifest_commit commit = {.position = {.step = STEP}};
    for (uint8_t k = 0; k < PORTIONS; k++) {
        memset(commit.encoders[k], 16 + k, SHA256_BYTES);
    }
    assert_int_equal(run_dir_save_head(&t->run, STEP, t->head, NULL, commit.head), ERR_OK);
    assert_int_equal(run_dir_commit(&t->run, &commit, false), ERR_OK);
}

static inline int set_table_for(void **state, const experiment *e, const engine_options *options) {
    log_choose_level("none");
    table *t = calloc(1, sizeof *t);
    *state = t;
    assert_true(temporary_make(t->folder, NULL, "fewbit-test-serve"));
    make_run(t, e);
    snprintf(t->results_path, sizeof t->results_path, "%s/results.jsonl", t->folder);
    assert_int_equal(results_open(&t->results, t->results_path, &t->run.identity.classes, PORTIONS), ERR_OK);
    engine_host host = {on_tell, on_drop, on_pause, on_answer, on_ready, on_serves, on_changed, t};
    assert_int_equal(engine_new(&t->engine, &t->run, t->results, options, &host), ERR_OK);
    return 0;
}

static inline int set_table_of(void **state, const char *text, const engine_options *options) {
    experiment e;
    assert_int_equal(experiment_parse("the test", text, strlen(text), &e), ERR_OK);
    return set_table_for(state, &e, options);
}

static inline int set_table_with(void **state, const engine_options *options) {
    return set_table_of(state, experiment_text, options);
}

static inline int set_table(void **state) {
    const engine_options options = {.deadline_ns = deadline_ns, .predictor = predictor_with_all};
    return set_table_with(state, &options);
}

static inline int clear_table(void **state) {
    table *t = *state;
    engine_free(t->engine);
    results_close(t->results);
    run_dir_close(&t->run);
    nn_net_free(t->head);
    int removed = temporary_remove(t->folder);
    free(t);
    return removed;
}

static const told *last_told(const table *t, size_t back) {
    assert_true(t->tell_count > back);
    return &t->tells[(t->tell_count - 1 - back) % TELLS_MAX];
}

/* As a process that was in that session, or in none (0), and would push sample `next` now. */
static inline void say_ready_in(table *t, uint32_t portion, uint64_t step, Fewbit__Stream stream, uint64_t session,
                                uint64_t next) {
    Fewbit__Ready ready = FEWBIT__READY__INIT;
    ready.step = step;
    ready.stream = stream;
    ready.session = session;
    ready.next = next;
    const message m = {MESSAGE_READY, {.ready = &ready}};
    engine_receive(t->engine, portion, &m, 0);
}

static inline void say_ready(table *t, uint32_t portion, uint64_t step) {
    say_ready_in(t, portion, step, FEWBIT__STREAM__STREAM_NEW, 0, 0);
}

/* A new process. */
static inline void join(table *t, uint32_t portion) {
    engine_joined(t->engine, portion);
    say_ready(t, portion, STEP);
}

/* The process that was there before, which has lost its link alone. */
static inline void come_back(table *t, uint32_t portion, uint64_t next) {
    engine_joined(t->engine, portion);
    say_ready_in(t, portion, STEP, FEWBIT__STREAM__STREAM_NEW, t->session, next);
}

static inline void end_stream(table *t, uint32_t portion) {
    Fewbit__StreamEnd over = FEWBIT__STREAM_END__INIT;
    const message m = {MESSAGE_STREAM_END, {.stream_end = &over}};
    engine_receive(t->engine, portion, &m, 0);
}

static inline void join_all(table *t) {
    for (uint32_t k = 0; k < PORTIONS; k++) {
        join(t, k);
    }
}

/* Codes as they may come from a node, fitting or not. */
typedef struct sent_codes {
    message_type type;
    uint32_t model;
    uint64_t first;
    uint32_t more;
    size_t length;
    const uint8_t *bits;
} sent_codes;

static inline void send(table *t, uint32_t portion, sent_codes p, uint64_t now_ns) {
    Fewbit__Codes codes = FEWBIT__CODES__INIT;
    codes.model = p.model;
    codes.first = p.first;
    codes.more = p.more;
    codes.bits = (ProtobufCBinaryData){p.length, (uint8_t *)(uintptr_t)p.bits};
    const message m = {p.type, {.codes = &codes}};
    engine_receive(t->engine, portion, &m, now_ns);
}

/* The made-up code of a portion of a sample. */
static inline uint8_t code_of(uint64_t sample, uint32_t portion) {
    return (uint8_t)((sample * 7 + portion * 5 + (sample >> 4)) & 15);
}

static inline void stream_of(table *t, uint32_t model, uint32_t portion, uint64_t first, uint32_t count,
                             uint64_t now_ns) {
    size_t length = pack_bytes((size_t)count * BITS);
    uint8_t *bits = calloc(1, length);
    for (uint32_t i = 0; i < count; i++) {
        pack_put(bits, (size_t)i * BITS, BITS, code_of(first + i, portion));
    }
    send(t, portion, (sent_codes){MESSAGE_CODES, model, first, count - 1, length, bits}, now_ns);
    free(bits);
}

static inline void stream_codes(table *t, uint32_t portion, uint64_t first, uint32_t count, uint64_t now_ns) {
    stream_of(t, STEP, portion, first, count, now_ns);
}

static inline void reply_of(table *t, uint32_t model, uint32_t portion, uint64_t id, uint8_t code, uint64_t now_ns) {
    send(t, portion, (sent_codes){MESSAGE_ANSWER, model, id, 0, 1, &code}, now_ns);
}

static inline void reply(table *t, uint32_t portion, uint64_t id, uint8_t code, uint64_t now_ns) {
    reply_of(t, STEP, portion, id, code, now_ns);
}

/* Answers the probes among what was told last. */
static inline uint32_t answer_probes(table *t, uint64_t now_ns) {
    uint32_t count = 0;
    for (size_t back = 0; back < PORTIONS && back < t->tell_count; back++) {
        const told *one = last_told(t, back);
        if (one->type == MESSAGE_REQUEST && one->number >= 1 << 21) {
            reply(t, one->portion, one->number, 0, now_ns);
            count++;
        }
    }
    return count;
}

/* A request for a sample whose element i is (i + request) % 251; returns the id that the nodes were given. */
static inline uint64_t ask(table *t, uint64_t request, uint64_t now_ns) {
    uint8_t sample[PORTIONS * ELEMENTS];
    for (size_t i = 0; i < sizeof sample; i++) {
        sample[i] = (uint8_t)((i + request) % 251);
    }
    size_t before = t->tell_count;
    classify_whole(t->engine, request, &tiny_partition, sample, now_ns);
    return t->tell_count > before ? last_told(t, 0)->number : 0;
}

/* Class and probability of a codeword by the net itself; missing portions count as 0.5. */
static inline uint32_t class_of(table *t, const uint8_t codes[PORTIONS], unsigned have, float *probability) {
    float row[CODE_BITS];
    for (uint32_t i = 0; i < CODE_BITS; i++) {
        row[i] = have >> i / BITS & 1 ? (float)(codes[i / BITS] >> i % BITS & 1) : 0.5f;
    }
    const float *logits = nn_net_forward(t->head, row, 1, NN_EVALUATE);
    double sum = 0;
    uint32_t best = 0;
    for (uint32_t c = 0; c < CLASSES; c++) {
        best = logits[c] > logits[best] ? c : best;
        sum += exp((double)logits[c]);
    }
    *probability = (float)(exp((double)logits[best]) / sum);
    return best;
}

static inline const stats *stats_of(const table *t) {
    static stats s;
    memset(&s, 0, sizeof s);
    engine_stats(t->engine, &s);
    return &s;
}

/* The whole lines that results.jsonl has on disk now. The caller ends it with json_decref. */
static inline json_t *written(const table *t) {
    json_t *list = json_array();
    FILE *file = fopen(t->results_path, "r");
    char line[512];
    assert_non_null(file);
    while (fgets(line, sizeof line, file) && strchr(line, '\n')) {
        json_error_t problem;
        json_t *one = json_loads(line, JSON_REJECT_DUPLICATES, &problem);
        if (!one) {
            fail_msg("'%s': %s", line, problem.text);
        }
        json_array_append_new(list, one);
    }
    fclose(file);
    return list;
}

static inline void assert_written(table *t, const json_t *line, const char *from, const uint8_t codes[PORTIONS],
                                  unsigned have) {
    float probability;
    assert_int_equal(json_object_size(line), 8);
    assert_string_equal(json_string_value(json_object_get(line, "from")), from);
    assert_int_equal(json_integer_value(json_object_get(line, "class")), class_of(t, codes, have, &probability));
    assert_true(fabs(json_number_value(json_object_get(line, "probability")) - (double)probability) < 1e-5);
    assert_int_equal(json_is_true(json_object_get(line, "degraded")), have != 15);
    for (uint32_t k = 0; k < PORTIONS; k++) {
        const char *bits = json_string_value(json_array_get(json_object_get(line, "bits"), k));
        assert_int_equal(bits != NULL, have >> k & 1);
        for (uint32_t b = 0; bits && b < BITS; b++) {
            assert_int_equal(bits[b], codes[k] >> b & 1 ? '1' : '0');
        }
    }
}

/* Predictors of the table's run. */
static inline predictor *make_predictor(const table *t, predictor_options options) {
    predictor *c = NULL;
    assert_int_equal(predictor_new(&c, &t->run, &t->run.manifest.last, &options), ERR_OK);
    return c;
}

static inline predictor_counters counters_of(const predictor *c) {
    predictor_counters counters;
    predictor_count(c, &counters);
    return counters;
}

#endif
