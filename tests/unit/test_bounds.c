/* The corners of all documented ranges of an experiment (docs/experiment.md), together: each one is refused with file,
 * line and key, or its training ends with a line, or it trains, serves, pushes and answers. The cases cover every pair
 * of two keys' values. Data sets are as small as the ranges let them be, down to one sample. */
#include "base/log.h"
#include "base/rng.h"
#include "decoder_server/http/json_views.h"
#include "decoder_server/serve/engine.h"
#include "decoder_server/train/train.h"
#include "encoder_node/node_protocol.h"
#include "experiment/derive.h"
#include "experiment/load.h"
#include "experiment/serialize.h"
#include "tests/lib/folder.h"
#include "tests/lib/portion_info.h"
#include "tests/lib/whole_sample.h"
#include "wire/inproc.h"

#include <inttypes.h>
#include <jansson.h>
#include <sys/prctl.h>

enum { VALUES_MAX = 6, TEXT_BYTES = 4096, ASKS = 3, ATTEMPTS = 8, CASES_MAX = 48 };

/* One key or a few that go together, and the corners of what they take: "key: value" lines, each with its section. */
typedef struct axis {
    const char *name;
    const char *values[VALUES_MAX];
} axis;

static const axis axes[] = {
    {"split",
     {"dataset.name: mnist\ndataset.partition: slices\ndataset.portions: 1",
      "dataset.name: mnist\ndataset.partition: slices\ndataset.portions: 56",
      "dataset.name: cifar100\ndataset.partition: slices\ndataset.portions: 64",
      "dataset.name: fashion-mnist\ndataset.partition: quadrants\ndataset.portions: 4",
      "dataset.name: cifar10\ndataset.partition: planes\ndataset.portions: 3",
      "dataset.name: mnist\ndataset.partition: slices\ndataset.portions: 2"}},
    {"samples", {"1 1", "2 1", "3 2", "5 1003"}},
    {"labels", {"one", "all"}},
    {"bits",
     {"encoder.bits: 1", "encoder.bits: 64", "encoder.bits: 8\nencoder.refinement: [1, 1, 1, 1, 1, 1, 1, 1]",
      "encoder.bits: 64\nencoder.refinement: [1, 1, 1, 1, 1, 1, 1, 57]",
      "encoder.bits: 63\nencoder.refinement: [62, 1]",
      "encoder.bits: 2\nencoder.refinement: [1, 1]\ntraining.confidence_thresholds: [0, 1.1]"}},
    {"batch", {"training.batch_size: 1", "training.batch_size: 8192"}},
    {"epochs", {"training.epochs: 1", "training.epochs: 2"}},
    {"seed", {"training.seed: 0", "training.seed: 18446744073709551615"}},
    {"validation",
     {"dataset.validation: 0", "dataset.validation: 1\ntraining.keep_best: true",
      "dataset.validation: 1\ndataset.evaluate_test: false"}},
    {"input", {"", "dataset.mean: -10\ndataset.std: 0.0001", "dataset.mean: 10\ndataset.std: 100"}},
    {"augment",
     {"", "augment.shift: 1000\naugment.rotation: 180\naugment.scale: 0.9\naugment.shear: 2", "augment.flip: true"}},
    {"encoder",
     {"encoder.net: simple-1d\nencoder.hidden: 1", "encoder.net: simple-1d\nencoder.hidden: 64",
      "encoder.net: conv-norm\nencoder.hidden: 1"}},
    {"norm", {"encoder.batch_norm: false", "encoder.batch_norm: true"}},
    {"activation", {"encoder.activation: sigmoid", "encoder.activation: resigmoid"}},
    {"binarize", {"encoder.binarize: after-training", "encoder.binarize: straight-through"}},
    {"noise", {"encoder.noise: none", "encoder.noise: logistic"}},
    {"temperature", {"encoder.temperature: 0", "encoder.temperature: 0.001", "encoder.temperature: 1"}},
    {"tta", {"", "tta.flip: true", "tta.shift: 16", "tta.flip: true\ntta.shift: 1"}},
    {"decoder", {"decoder.net: linear", "decoder.net: identity"}},
    {"classifier",
     {"classifier.net: mnist\nclassifier.hidden: 1", "classifier.net: mlp\nclassifier.hidden: 1",
      "classifier.net: mnist\nclassifier.hidden: 64"}},
    {"loss", {"", "loss.quantization: 1000000\nloss.label_smoothing: 0.9\nloss.class_weights: balanced"}},
    {"optimiser",
     {"optimiser.kind: adam", "optimiser.kind: adamw\noptimiser.weight_decay: 10",
      "optimiser.kind: sgd\noptimiser.momentum: 0.9999\noptimiser.weight_decay: 10"}},
    {"rate", {"optimiser.learning_rate: 1e-45", "optimiser.learning_rate: 0.001", "optimiser.learning_rate: 100"}},
    {"schedule", {"optimiser.schedule: constant", "optimiser.schedule: cosine", "optimiser.schedule: one-cycle"}},
    {"every",
     {"", "training.checkpoint_every: 1\ntraining.evaluate_every: 1",
      "training.checkpoint_every: 4294967295\ntraining.evaluate_every: 4294967295\ntraining.evaluate_epochs: "
      "4294967295"}},
    {"precision", {"training.precision: f32", "training.precision: bf16"}},
    {"dropout", {"training.portion_dropout: 0", "training.portion_dropout: 0.9"}},
    {"ema_decay", {"training.ema_decay: 0", "training.ema_decay: 0.99999"}},
    {"coding", {"packed", "range"}},
    {"serving", {"table", "cache", "nets"}},
};

enum { AXES = sizeof axes / sizeof axes[0], SPLIT = 0, SAMPLES = 1, LABELS = 2, CODING = AXES - 2, SERVING = AXES - 1 };

static uint32_t values_of(size_t a) {
    uint32_t count = 0;
    while (count < VALUES_MAX && axes[a].values[count]) {
        count++;
    }
    return count;
}

/* The text of a case. */

static void add_section(const uint32_t choice[AXES], const char *section, char *text) {
    size_t used = strlen(text), length = strlen(section);
    used += (size_t)snprintf(text + used, TEXT_BYTES - used, "%s:\n", section);
    for (size_t a = 0; a < AXES; a++) {
        for (const char *line = axes[a].values[choice[a]]; *line;) {
            size_t end = strcspn(line, "\n");
            if (strncmp(line, section, length) == 0 && line[length] == '.') {
                used += (size_t)snprintf(text + used, TEXT_BYTES - used, "  %.*s\n", (int)(end - length - 1),
                                         line + length + 1);
            }
            line += end + (line[end] == '\n');
        }
    }
    assert_true(used < TEXT_BYTES);
}

/* ERR_INPUT: it is refused, with file, line and key. */
static err parse_case(const uint32_t choice[AXES], experiment *e) {
    static const char *const sections[] = {"dataset",  "encoder", "decoder", "classifier", "optimiser",
                                           "training", "loss",    "augment", "tta"};
    char text[TEXT_BYTES] = "name: corner\n";
    bool has[] = {true, true, true, true, true, true, false, false, false};
    for (size_t a = 0; a < AXES; a++) {
        has[6] = has[6] || strncmp(axes[a].values[choice[a]], "loss.", 5) == 0;
        has[7] = has[7] || strncmp(axes[a].values[choice[a]], "augment.", 8) == 0;
        has[8] = has[8] || strncmp(axes[a].values[choice[a]], "tta.", 4) == 0;
    }
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        if (has[i]) {
            add_section(choice, sections[i], text);
        }
    }
    err failed = experiment_parse("corner.yaml", text, strlen(text), e);
    unsigned line;
    char key[64];
    if (failed && sscanf(err_text(), "corner.yaml:%u: key %63s ", &line, key) != 2) {
        fail_msg("'%s' names no line and key of\n%s", err_text(), text);
    }
    return failed;
}

/* The cases: drawn until every pair of values of two axes is in one, but for pairs that are always refused. */

typedef struct pairs {
    bool seen[AXES][VALUES_MAX][AXES][VALUES_MAX];
    size_t covered, refused; /* texts */
} pairs;

static size_t take_pairs(pairs *p, const uint32_t choice[AXES], bool marks) {
    size_t count = 0;
    for (size_t a = 0; a < AXES; a++) {
        for (size_t b = a + 1; b < AXES; b++) {
            bool *seen = &p->seen[a][choice[a]][b][choice[b]];
            count += !*seen;
            *seen = *seen || marks;
        }
    }
    p->covered += marks ? count : 0;
    return count;
}

/* One that is not refused: a random walk from the first values, an axis at a time, none of whose steps is. */
static void walk(pairs *p, rng *draws, uint32_t choice[AXES]) {
    uint32_t order[AXES];
    for (uint32_t a = 0; a < AXES; a++) {
        order[a] = a;
        choice[a] = 0;
    }
    rng_shuffle(draws, order, AXES);
    for (size_t i = 0; i < AXES; i++) {
        uint32_t before = choice[order[i]];
        choice[order[i]] = rng_below(draws, values_of(order[i]));
        experiment e;
        if (choice[order[i]] != before && parse_case(choice, &e)) {
            p->refused++;
            choice[order[i]] = before;
        }
    }
}

/* Of a few, the one with most pairs that are new; how many those are. */
static size_t draw_case(pairs *p, rng *draws, uint32_t best[AXES]) {
    size_t most = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        uint32_t choice[AXES];
        walk(p, draws, choice);
        size_t count = take_pairs(p, choice, false);
        if (count >= most) {
            most = count;
            memcpy(best, choice, sizeof choice);
        }
    }
    return take_pairs(p, best, true);
}

/* The data. */

typedef struct corner {
    experiment experiment;
    partition partition;
    labels labels;
    uint8_t *samples[2]; /* by part: whole ones */
    const uint32_t *choice;
    uint32_t classes;
} corner;

static void make_data(corner *c) {
    size_t elements = partition_sample_elements(&c->partition), length = partition_portion_elements(&c->partition);
    const char *counts = axes[SAMPLES].values[c->choice[SAMPLES]];
    c->labels = (labels){.has_partition = true,
                         .partition = c->partition,
                         .classes = some_class_names(c->classes),
                         .portions = some_labels_portions(c->partition.portions),
                         .portion_count = c->partition.portions};
    snprintf(c->labels.dataset, sizeof c->labels.dataset, "%s", c->experiment.dataset.name);
    assert_int_equal(sscanf(counts, "%u %u", &c->labels.samples[0], &c->labels.samples[1]), 2);
    uint8_t *parts[2];
    for (int split = 0; split < 2; split++) {
        uint32_t count = c->labels.samples[split];
        c->samples[split] = malloc(count * elements);
        c->labels.values[split] = malloc(count);
        parts[split] = malloc(count * length);
        assert_true(c->samples[split] && c->labels.values[split] && parts[split] && c->labels.portions);
        for (uint32_t i = 0; i < count; i++) {
            c->labels.values[split][i] = (uint8_t)(c->choice[LABELS] == 0 ? c->classes - 1 : i % c->classes);
            for (size_t j = 0; j < elements; j++) {
                c->samples[split][i * elements + j] = (uint8_t)(i * 7 + j * (3 + i % 5) + j / 13);
            }
        }
    }
    for (uint32_t k = 0; k < c->partition.portions; k++) {
        portion_info info = info_of_portion(c->partition, k, c->labels.samples[0], c->labels.samples[1]);
        char name[32];
        snprintf(name, sizeof name, "data/node-%u", k);
        snprintf(info.dataset, sizeof info.dataset, "%s", c->experiment.dataset.name);
        for (int split = 0; split < 2; split++) {
            for (uint32_t i = 0; i < info.samples[split]; i++) {
                partition_take(&c->partition, k, c->samples[split] + i * elements, parts[split] + i * length);
            }
        }
        assert_int_equal(portion_write(in_folder(name), &info, &(portion_contents){.values = {parts[0], parts[1]}}),
                         ERR_OK);
        memcpy(c->labels.portions[k].digest, info.digest, SHA256_HEX);
    }
    free(parts[0]);
    free(parts[1]);
}

static void free_data(corner *c) {
    labels_close(&c->labels);
    free(c->samples[0]);
    free(c->samples[1]);
}

/* Serving it: nodes joined to an engine by memory. */

typedef struct node {
    portion *data;
    node_protocol *protocol;
    inproc in, out;
    char state[FILE_PATH_MAX];
} node;

typedef struct fleet {
    const corner *corner;
    node nodes[PARTITION_PORTIONS_MAX];
    engine *engine;
    arena unpacked;
    uint64_t now_ns, answers;
    classification last;
} fleet;

static void tell_node(void *context, uint32_t portion, message_type type, const ProtobufCMessage *body) {
    inproc_send(&((fleet *)context)->nodes[portion].in, type, body);
}

static void send_up(void *context, message_type type, const ProtobufCMessage *body) {
    inproc_send(&((node *)context)->out, type, body);
}

static void drop_node(void *context, uint32_t portion, Fewbit__Reason reason, const char *text) {
    (void)context, (void)reason;
    fail_msg("portion %u is dropped: %s", portion, text);
}

static void pause_nobody(void *context, uint32_t portion, bool paused) {
    (void)context, (void)portion, (void)paused;
    fail_msg("a node is paused");
}

static void take_answer(void *context, uint64_t request, const classification *a) {
    fleet *f = context;
    assert_int_equal(request, f->answers);
    assert_int_equal(a->outcome, CLASSIFICATION_DONE);
    f->answers++;
    f->last = *a;
}

static void take_ready(void *context, uint32_t nodes) {
    (void)context, (void)nodes;
}

static bool receive_next(fleet *f, inproc *from, message *m) {
    size_t size;
    assert_int_equal(inproc_receive(from, &f->unpacked, m, &size), ERR_OK);
    assert_true(size <= FRAME_HEADER + FRAME_PAYLOAD_MAX);
    return size > 0;
}

/* Every message there is, there and back, until none is left. */
static void run_rounds(fleet *f) {
    for (bool any = true; any;) {
        any = false;
        for (uint32_t k = 0; k < f->corner->partition.portions; k++) {
            node *n = &f->nodes[k];
            message m;
            for (; receive_next(f, &n->in, &m); any = true) {
                assert_int_equal(node_protocol_receive(n->protocol, &m), NODE_PROTOCOL_GO_ON);
            }
            node_serve_flush(node_protocol_serve(n->protocol));
            for (; receive_next(f, &n->out, &m); any = true) {
                engine_receive(f->engine, k, &m, f->now_ns);
            }
        }
        engine_poll(f->engine, f->now_ns);
    }
}

static void open_node(fleet *f, uint32_t k, const run_dir *r) {
    node *n = &f->nodes[k];
    char name[32], text[EXPERIMENT_TEXT_MAX + 1];
    size_t length;
    n->in = inproc_make();
    n->out = inproc_make();
    snprintf(name, sizeof name, "data/node-%u", k);
    assert_int_equal(portion_open(&n->data, in_folder(name)), ERR_OK);
    assert_int_equal(file_path(n->state, sizeof n->state, "%s/run/nodes/node-%u", folder, k), ERR_OK);
    node_protocol_config config = {.name = "corner", .data = n->data, .state = n->state, .streams = true};
    node_host host = {send_up, n};
    assert_int_equal(node_protocol_new(&n->protocol, &config, &host), ERR_OK);
    assert_int_equal(experiment_serialize(&r->experiment, text, &length), ERR_OK);
    text[length] = '\0';
    Fewbit__Welcome w = FEWBIT__WELCOME__INIT;
    w.protocol = MESSAGE_PROTOCOL;
    w.run = r->id;
    w.mode = FEWBIT__MODE__MODE_SERVE;
    w.experiment = text;
    inproc_send(&n->in, MESSAGE_WELCOME, &w.base);
    engine_joined(f->engine, k);
}

static void push_all(fleet *f) {
    for (uint32_t first = 0; first < f->corner->labels.samples[1]; first += NODE_SERVE_ROWS) {
        uint32_t left = f->corner->labels.samples[1] - first, count = left < NODE_SERVE_ROWS ? left : NODE_SERVE_ROWS;
        for (uint32_t k = 0; k < f->corner->partition.portions; k++) {
            node *n = &f->nodes[k];
            assert_true(node_serve_may_stream(node_protocol_serve(n->protocol)));
            node_serve_stream(node_protocol_serve(n->protocol), portion_sample(n->data, DATASET_TEST, first), count);
        }
        run_rounds(f);
    }
}

/* The bits of one code as JSON has it. */
static void assert_codes(const json_t *codes, const experiment *e) {
    assert_int_equal(json_array_size(codes), e->dataset.portions);
    for (size_t k = 0; k < e->dataset.portions; k++) {
        const char *text = json_string_value(json_array_get(codes, k));
        assert_non_null(text);
        assert_int_equal(strspn(text, "01"), strlen(text));
        assert_in_range(strlen(text), 1, e->encoder.bits);
        assert_true(e->refinement.bits_count > 1 || strlen(text) == e->encoder.bits);
    }
}

static void assert_answer(const fleet *f) {
    const class_names *classes = &f->corner->labels.classes;
    dynbuf t = dynbuf_make(JSON_VIEWS_MAX);
    json_writer w = json_writer_make(&t);
    json_views_classification(&w, &(json_views_answer){"a request", "a sample", &f->last, classes, 784, 1, 2});
    assert_false(t.has_failed);
    json_t *reply = json_loads(t.bytes, 0, NULL);
    assert_non_null(reply);
    assert_codes(json_object_get(reply, "bits"), &f->corner->experiment);
    assert_int_equal(json_array_size(json_object_get(reply, "probabilities")), classes->count);
    double sum = 0;
    for (size_t c = 0; c < classes->count; c++) {
        sum += json_number_value(json_array_get(json_object_get(reply, "probabilities"), c));
    }
    if (!(sum > 0.999 && sum < 1.001)) {
        fail_msg("probabilities add up to %f in %s", sum, t.bytes);
    }
    json_decref(reply);
    dynbuf_free(&t);
}

/* Asked a second time, the answer comes from the table or the cache, where there is one; it is the same. */
static void ask_some(fleet *f) {
    for (uint32_t i = 0; i < ASKS; i++) {
        classification first;
        const uint8_t *sample =
            f->corner->samples[1] + i % f->corner->labels.samples[1] * partition_sample_elements(&f->corner->partition);
        for (int time = 0; time < 2; time++) {
            uint64_t before = f->answers;
            classify_whole(f->engine, f->answers, &f->corner->partition, sample, f->now_ns);
            run_rounds(f);
            assert_int_equal(f->answers, before + 1);
            assert_answer(f);
            first = time == 0 ? f->last : first;
        }
        assert_memory_equal(first.codes, f->last.codes, sizeof first.codes);
        assert_memory_equal(first.probabilities, f->last.probabilities, sizeof first.probabilities);
        assert_int_equal(first.class, f->last.class);
    }
}

static void assert_results(const corner *c) {
    size_t length, lines = 0;
    char *bytes = (char *)bytes_of("results.jsonl", &length);
    for (char *line = bytes, *end; line < bytes + length; line = end + 1, lines++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        json_t *one = json_loadb(line, (size_t)(end - line), 0, NULL);
        assert_non_null(one);
        assert_codes(json_object_get(one, "bits"), &c->experiment);
        assert_true(json_is_false(json_object_get(one, "degraded")));
        json_decref(one);
    }
    free(bytes);
    assert_int_equal(lines, c->labels.samples[1] + 2 * ASKS);
}

static void serve(const corner *c, const run_dir *r) {
    static fleet f;
    f = (fleet){.corner = c, .now_ns = 1000000000};
    const char *from = axes[SERVING].values[c->choice[SERVING]];
    engine_options options = {.deadline_ns = 1000000000,
                              .confidence = c->experiment.refinement.bits_count > 1 ? 0.9f : 0};
    options.predictor.table_bytes = strcmp(from, "table") == 0 ? 1 << 20 : 0;
    options.predictor.cache_bytes = strcmp(from, "cache") == 0 ? 1 << 20 : 0;
    engine_host host = {tell_node, drop_node, pause_nobody, take_answer, take_ready, NULL, NULL, &f};
    results *results;
    assert_int_equal(results_open(&results, in_folder("results.jsonl"), &c->labels.classes, c->partition.portions),
                     ERR_OK);
    assert_int_equal(arena_init(&f.unpacked, message_arena_size(FRAME_PAYLOAD_MAX)), ERR_OK);
    if (engine_new(&f.engine, r, results, &options, &host)) {
        fail_msg("%s", err_text());
    }
    for (uint32_t k = 0; k < c->partition.portions; k++) {
        open_node(&f, k, r);
    }
    run_rounds(&f);
    push_all(&f);
    ask_some(&f);
    engine_free(f.engine);
    results_close(results);
    for (uint32_t k = 0; k < c->partition.portions; k++) {
        node_protocol_free(f.nodes[k].protocol);
        portion_close(f.nodes[k].data);
        inproc_free(&f.nodes[k].in);
        inproc_free(&f.nodes[k].out);
    }
    arena_free(&f.unpacked);
    assert_results(c);
}

/* One case. */

typedef struct outcomes {
    size_t served, ended;
} outcomes;

/* Training may end before its end with what the experiment or its data asks too much of, said in a line. */
static void assert_ended_by_name(err failed, const uint32_t choice[AXES]) {
    static const char *const reasons[] = {"a lower learning rate may keep it finite", "too few", "not a finite number"};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if ((failed == ERR_INPUT || failed == ERR_IO) && strstr(err_text(), reasons[i])) {
            return;
        }
    }
    for (size_t a = 0; a < AXES; a++) {
        print_message("%s\n", axes[a].values[choice[a]]);
    }
    fail_msg("ended with %d: %s", failed, err_text());
}

static void try_case(const uint32_t choice[AXES], outcomes *o) {
    void *state = NULL;
    corner c = {.choice = choice};
    assert_int_equal(parse_case(choice, &c.experiment), ERR_OK);
    assert_int_equal(experiment_partition(&c.experiment, &c.partition, &c.classes), ERR_OK);
    assert_int_equal(make_folder(&state), 0);
    make_data(&c);
    char data[FILE_PATH_MAX];
    assert_int_equal(file_path(data, sizeof data, "%s", in_folder("data")), ERR_OK);
    bool is_coded = strcmp(axes[CODING].values[choice[CODING]], "range") == 0;
    train_inproc_options options = {data, 2, is_coded ? FEWBIT__CODING__CODING_RANGE : FEWBIT__CODING__CODING_PACKED};
    run_dir r;
    assert_int_equal(run_dir_create(&r, in_folder("run"), &c.experiment, &c.labels, NULL), ERR_OK);
    bool has_data;
    err failed = train_inproc_run(&r, &c.labels, &options, &has_data);
    if (failed) {
        assert_ended_by_name(failed, choice);
        o->ended++;
    } else {
        serve(&c, &r);
        o->served++;
    }
    run_dir_close(&r);
    free_data(&c);
    remove_folder(&state);
}

static void corners(void **state) {
    (void)state;
    static pairs p;
    outcomes o = {0};
    rng draws = rng_at(1, rng_stream(RNG_TEST, 0), 0);
    log_choose_level("none");
    size_t fruitless = 0, cases = 0;
    while (fruitless < 3 && cases < CASES_MAX) {
        uint32_t choice[AXES];
        fruitless = draw_case(&p, &draws, choice) == 0 ? fruitless + 1 : 0;
        try_case(choice, &o);
        cases++;
    }
    print_message("%zu pairs of values in %zu cases: %zu trained and served, %zu ended by name; %zu texts refused\n",
                  p.covered, cases, o.served, o.ended, p.refused);
    assert_true(o.served > cases / 2);
}

int main(void) {
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* of the memory of 64 nodes little is touched */
    const struct CMUnitTest tests[] = {cmocka_unit_test(corners)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
