#include "decoder_server/serve/predictor.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/machine.h"
#include "bits/binarize.h"
#include "decoder_server/serve/prediction_table.h"
#include "experiment/derive.h"
#include "nn/fold.h"
#include "nn/loss.h"
#include "nn/shape_infer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct predictor {
    nn_net *head;
    uint32_t classes;
    codeword layout;
    /* Where the portions lie in a codeword of the first stages, up to each. */
    uint32_t offsets[REFINEMENT_STAGES_MAX][CODEWORD_PORTIONS_MAX];
    uint32_t key_words; /* of a codeword, and one for the portions that are there; by stage, two more for how far */
    uint64_t whole;     /* `have` of a sample that misses nothing */
    size_t net_rows;    /* what the head takes at once */
    double row_macs;    /* multiply-adds of a row through the head */
    prediction_table *tables[REFINEMENT_STAGES_MAX]; /* by stage; NULL: none */
    prediction_cache *cache;                         /* NULL: none */
    arena buffers;
    float *codes;            /* [PREDICTOR_ROWS, codeword_bits]: what goes through the nets */
    float *probabilities;    /* [PREDICTOR_ROWS, classes] */
    prediction *predictions; /* [PREDICTOR_ROWS] */
    uint32_t *unknown;       /* [PREDICTOR_ROWS]: the samples that the nets have to answer */
    uint64_t *key;           /* [key_words]: the sample's that is looked up or remembered */
    predictor_counters counters;
};

static err plan_buffers(predictor *c) {
    c->key_words = (codeword_bits(&c->layout) + 63) / 64 + (c->layout.stages > 1 ? 3 : 1);
    size_t codes = (size_t)PREDICTOR_ROWS * codeword_bits(&c->layout) * sizeof(float),
           key = c->key_words * sizeof *c->key;
    size_t probabilities = (size_t)PREDICTOR_ROWS * c->classes * sizeof(float);
    size_t predictions = PREDICTOR_ROWS * sizeof(prediction), unknown = PREDICTOR_ROWS * sizeof(uint32_t);
    err e = arena_init(&c->buffers, arena_rounded(codes) + arena_rounded(probabilities) + arena_rounded(predictions) +
                                        arena_rounded(unknown) + arena_rounded(key));
    if (!e) {
        c->codes = arena_take(&c->buffers, codes);
        c->probabilities = arena_take(&c->buffers, probabilities);
        c->predictions = arena_take(&c->buffers, predictions);
        c->unknown = arena_take(&c->buffers, unknown);
        c->key = arena_take(&c->buffers, key);
    }
    return e;
}

/* Of all dense layers, for a row. */
static double dense_macs(nn_net *net) {
    double macs = 0;
    for (size_t i = 0; i < nn_net_tensor_count(net); i++) {
        const nn_tensor *t = nn_net_tensor(net, i);
        macs += t->rank == 2 ? (double)t->count : 0;
    }
    return macs;
}

static err load_head(predictor *c, const run_dir *r, const manifest_commit *commit, bool plain) {
    nn_spec spec;
    c->classes = r->identity.classes.count;
    experiment_describe_head(&r->experiment, c->classes, &spec);
    c->net_rows = nn_rows_at_once(&spec, r->experiment.training.batch_size, PREDICTOR_ROWS);
    nn_net_options options = {
        .max_rows = c->net_rows, .max_bytes = machine_memory(), .precision = r->experiment.training.precision};
    err e = nn_net_new(&c->head, &spec, &options);
    e = e ? e : run_dir_load_head(r, commit, c->head, NULL);
    /* The products of bf16 numbers are rounded by the weights they are made of: other weights, other answers. */
    double unfolded = e ? 0 : dense_macs(c->head);
    if (!e && !plain && options.precision == NN_F32) {
        e = nn_fold(&c->head, &spec, &options);
    }
    c->row_macs = e ? 0 : nn_spec_row_macs(&spec) - unfolded + dense_macs(c->head);
    return e;
}

/* Codewords as rows. */

static void unpack_sample(const predictor *c, const assembler_sample *sample, float *to) {
    for (uint32_t k = 0; k < c->layout.portions; k++) {
        uint32_t here = assembler_sample_bits(sample, &c->layout, k), bits = codeword_portion_bits(&c->layout, k);
        for (uint32_t b = 0; b < bits; b++) {
            *to++ = b < here ? (float)(sample->codes[k] >> b & 1) : BINARIZE_UNKNOWN;
        }
    }
}

/* The first `count` rows of `codes` through the nets: row i is of sample unknown[i]. */
static void run_nets(predictor *c, size_t count) {
    size_t width = codeword_bits(&c->layout);
    for (size_t done = 0, piece; done < count; done += piece) {
        piece = count - done < c->net_rows ? count - done : c->net_rows;
        const float *logits = nn_net_forward(c->head, c->codes + done * width, piece, NN_EVALUATE);
        for (size_t i = 0; i < piece; i++) {
            uint32_t sample = c->unknown[done + i];
            float *row = c->probabilities + (size_t)sample * c->classes;
            memcpy(row, logits + i * c->classes, c->classes * sizeof(float));
            loss_softmax(row, c->classes);
            size_t class = loss_largest(row, c->classes);
            /* One output that is no number leaves none in the row: the nets found no memory, or diverged. */
            c->predictions[sample] = isnan(row[class]) ? (prediction){0} : (prediction){(uint32_t) class, row};
        }
    }
}

/* The table. */

/* The table of samples that have come so far, all portions alike; NULL: there is none. */
static prediction_table *table_of(const predictor *c, const assembler_sample *sample) {
    bool is_even = sample->stage == 0 || sample->got == c->whole || sample->got == 0;
    return sample->have == c->whole && is_even ? c->tables[assembler_sample_stages(sample) - 1] : NULL;
}

/* Portion 0's first bit is the lowest, as in a row. */
static uint32_t codeword_of(const predictor *c, const assembler_sample *sample) {
    const uint32_t *offsets = c->offsets[assembler_sample_stages(sample) - 1];
    uint32_t bits = 0;
    for (uint32_t k = 0; k < c->layout.portions; k++) {
        bits |= (uint32_t)sample->codes[k] << offsets[k];
    }
    return bits;
}

static err fill_piece(predictor *c, uint32_t stage, uint32_t first, uint32_t count) {
    size_t width = codeword_bits(&c->layout);
    uint64_t codes[PARTITION_PORTIONS_MAX];
    assembler_sample sample = {.have = c->whole, .got = c->whole, .stage = (uint8_t)stage, .codes = codes};
    for (uint32_t i = 0; i < count; i++) {
        c->unknown[i] = i;
        for (uint32_t k = 0; k < c->layout.portions; k++) {
            codes[k] = refinement_prefix(&c->layout.portion[k], stage, (first + i) >> c->offsets[stage][k]);
        }
        unpack_sample(c, &sample, c->codes + i * width);
    }
    run_nets(c, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!c->predictions[i].probabilities) {
            return err_fail(ERR_INPUT, "the nets give no numbers for codeword %u: too little memory, or they diverged",
                            first + i);
        }
        prediction_table_put(c->tables[stage], first + i, c->predictions[i].class, c->predictions[i].probabilities);
    }
    return ERR_OK;
}

static err fill_table(predictor *c, uint32_t stage, size_t bytes) {
    uint32_t size = prediction_table_size(c->tables[stage]),
             piece = (uint32_t)(c->net_rows < PREDICTOR_ROWS ? c->net_rows : PREDICTOR_ROWS);
    double mib = (double)bytes / (1 << 20), told = 0;
    uint64_t from = clock_now_ns();
    for (uint32_t done = 0; done < size;) {
        uint32_t count = size - done < piece ? size - done : piece;
        err e = interrupt_check();
        e = e ? e : fill_piece(c, stage, done, count);
        if (e) {
            return e;
        }
        done += count;
        double seconds = clock_seconds_since(from), expected = seconds / done * size;
        if (expected > PREDICTOR_TABLE_SECONDS) {
            log_event(
                LOG_INFO, "prediction_table_lazy",
                "prediction table: %u codewords, %.1f MiB; to fill it would take %.0f s, so each is kept as it is "
                "first seen",
                size, mib, expected);
            return ERR_OK;
        }
        if (seconds - told >= 1) {
            told = seconds;
            log_info("prediction table: %u of %u codewords, %.0f s to go", done, size, expected - seconds);
        }
    }
    log_event(LOG_INFO, "prediction_table_filled", "prediction table: %u codewords, %.1f MiB, filled in %.2f s", size,
              mib, clock_seconds_since(from));
    return ERR_OK;
}

/* The shortest codewords first, as long as there is room. */
static err make_tables(predictor *c, const predictor_options *options) {
    err e = ERR_OK;
    for (uint32_t stage = 0; stage < c->layout.stages && !e; stage++) {
        uint32_t bits = codeword_stage_bits(&c->layout, stage);
        size_t bytes = prediction_table_bytes(bits, c->classes);
        if (bytes > options->table_bytes - c->counters.table_bytes) {
            break;
        }
        e = prediction_table_new(&c->tables[stage], bits, c->classes);
        if (!e) {
            c->counters.table_bytes += bytes;
            e = fill_table(c, stage, bytes);
        }
    }
    return e;
}

/* The cache. */

static err make_cache(predictor *c, size_t bytes_max) {
    if (bytes_max == 0) {
        return ERR_OK;
    }
    err e = prediction_cache_new(&c->cache, c->key_words, c->classes, bytes_max);
    if (!e) {
        const prediction_cache_counters *s = prediction_cache_count(c->cache);
        log_info("prediction cache: up to %zu codewords, %.1f MiB", s->capacity, (double)s->bytes / (1 << 20));
    }
    return e;
}

static const uint64_t *key_of(predictor *c, const assembler_sample *sample) {
    uint64_t *key = c->key;
    memset(key, 0, c->key_words * sizeof *key);
    for (uint32_t k = 0; k < c->layout.portions; k++) {
        uint32_t word = c->layout.offset[k] / 64, shift = c->layout.offset[k] % 64;
        key[word] |= sample->codes[k] << shift;
        if (shift + codeword_portion_bits(&c->layout, k) > 64) {
            key[word + 1] |= sample->codes[k] >> (64 - shift);
        }
    }
    key[c->key_words - 1] = sample->have;
    if (c->layout.stages > 1) {
        key[c->key_words - 2] = sample->got;
        key[c->key_words - 3] = sample->stage;
    }
    return key;
}

codeword predictor_layout_of(const experiment *e, const predictor_options *options) {
    codeword layout = experiment_codeword(e);
    return options->by_stage ? layout : codeword_whole(&layout);
}

static void place_portions(predictor *c) {
    for (uint32_t stage = 0; stage < c->layout.stages; stage++) {
        for (uint32_t k = 0, at = 0; k < c->layout.portions; k++) {
            c->offsets[stage][k] = at;
            at += c->layout.portion[k].upto[stage];
        }
    }
}

err predictor_new(predictor **out, const run_dir *r, const manifest_commit *commit, const predictor_options *options) {
    if (experiment_is_classifier_alone(&r->experiment)) {
        return err_fail(ERR_INPUT, "%s: is a classifier alone, without encoders: there are no codes to serve",
                        r->folder);
    }
    predictor *c = calloc(1, sizeof *c);
    if (!c) {
        return err_fail(ERR_MEMORY, "no memory for a predictor");
    }
    c->layout = predictor_layout_of(&r->experiment, options);
    place_portions(c);
    c->whole = UINT64_MAX >> (64 - c->layout.portions);
    err e = load_head(c, r, commit, options->plain);
    e = e ? e : plan_buffers(c);
    if (!e) {
        nn_net_freeze(c->head);
        e = make_tables(c, options);
    }
    e = e ? e : make_cache(c, options->cache_bytes);
    if (e) {
        predictor_free(c);
        return e;
    }
    *out = c;
    return ERR_OK;
}

void predictor_free(predictor *c) {
    if (c) {
        nn_net_free(c->head);
        for (uint32_t stage = 0; stage < REFINEMENT_STAGES_MAX; stage++) {
            prediction_table_free(c->tables[stage]);
        }
        prediction_cache_free(c->cache);
        arena_free(&c->buffers);
        free(c);
    }
}

uint32_t predictor_classes(const predictor *c) {
    return c->classes;
}

const codeword *predictor_layout(const predictor *c) {
    return &c->layout;
}

bool predictor_knows_all(const predictor *c) {
    bool knows = true;
    for (uint32_t stage = 0; stage < c->layout.stages; stage++) {
        const prediction_table *table = c->tables[stage];
        knows = knows && table && prediction_table_known(table) == prediction_table_size(table);
    }
    return knows;
}

/* What takes about 0.1 ms on one core; a single row reads all weights for few multiply-adds, so it is the slower one.
 */
static const double long_macs = 1 << 20;

bool predictor_may_take_long(const predictor *c, size_t count) {
    return c->row_macs * (double)count > long_macs;
}

static bool is_known(predictor *c, const assembler_sample *sample) {
    const prediction_table *table = table_of(c, sample);
    if (table) {
        return prediction_table_class(table, codeword_of(c, sample)) != PREDICTION_TABLE_UNKNOWN;
    }
    return c->cache && prediction_cache_has(c->cache, key_of(c, sample));
}

bool predictor_takes_long(predictor *c, const assembler_sample *samples, size_t count) {
    size_t unknown = 0;
    bool is_long = predictor_may_take_long(c, count), knows_all = is_long && predictor_knows_all(c);
    for (size_t i = 0; i < count && is_long; i++) {
        unknown += knows_all ? !table_of(c, &samples[i]) : !is_known(c, &samples[i]);
        is_long = predictor_may_take_long(c, unknown + count - i - 1);
    }
    return is_long;
}

/* Whether the table or the cache knows sample `i`. */
static bool look_up(predictor *c, const assembler_sample *sample, size_t i) {
    prediction *v = &c->predictions[i];
    const prediction_table *table = table_of(c, sample);
    if (table) {
        uint32_t codeword = codeword_of(c, sample);
        *v = (prediction){prediction_table_class(table, codeword), prediction_table_probabilities(table, codeword)};
        c->counters.from_table += v->class != PREDICTION_TABLE_UNKNOWN;
        return v->class != PREDICTION_TABLE_UNKNOWN;
    }
    if (!c->cache) {
        return false;
    }
    const float *known = prediction_cache_find(c->cache, key_of(c, sample), &v->class);
    if (!known) {
        return false;
    }
    /* A copy: a new codeword of the same batch may take the place. */
    v->probabilities = memcpy(c->probabilities + i * c->classes, known, c->classes * sizeof(float));
    c->counters.from_cache++;
    return true;
}

static void remember(predictor *c, const assembler_sample *sample, const prediction *v) {
    prediction_table *table = table_of(c, sample);
    if (!v->probabilities) {
        return;
    }
    if (table) {
        prediction_table_put(table, codeword_of(c, sample), v->class, v->probabilities);
    } else if (c->cache) {
        prediction_cache_put(c->cache, key_of(c, sample), v->class, v->probabilities);
    }
}

const prediction *predictor_run(predictor *c, const assembler_sample *samples, size_t count) {
    size_t width = codeword_bits(&c->layout), unknown = 0;
    for (size_t i = 0; i < count; i++) {
        if (!look_up(c, &samples[i], i)) {
            c->unknown[unknown] = (uint32_t)i;
            unpack_sample(c, &samples[i], c->codes + unknown++ * width);
        }
    }
    if (unknown > 0) {
        run_nets(c, unknown);
        c->counters.from_nets += unknown;
    }
    for (size_t i = 0; i < unknown; i++) {
        remember(c, &samples[c->unknown[i]], &c->predictions[c->unknown[i]]);
    }
    return c->predictions;
}

void predictor_count(const predictor *c, predictor_counters *out) {
    *out = c->counters;
    for (uint32_t stage = 0; stage < c->layout.stages; stage++) {
        out->table_size += c->tables[stage] ? prediction_table_size(c->tables[stage]) : 0;
        out->table_known += c->tables[stage] ? prediction_table_known(c->tables[stage]) : 0;
    }
    if (c->cache) {
        out->cache = *prediction_cache_count(c->cache);
    }
}
