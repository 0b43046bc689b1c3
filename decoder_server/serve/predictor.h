/* The predictor: codewords in, class probabilities out. The trained decoder and classifier, frozen and folded.
 *
 * A codeword's answer comes from the first that has it:
 *
 *     the table    whole codewords of few bits (prediction_table.h), filled when the predictor is made
 *     the cache    whatever the nets have answered before (prediction_cache.h)
 *     the nets     in batches
 *
 * Where bits come in stages there is a table a stage, for samples of which every portion has come that far.
 *
 * All of them give what the nets give for that codeword, whichever of them it is. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_PREDICTOR_H
#define FEWBIT_DECODER_SERVER_SERVE_PREDICTOR_H

#include "decoder_server/core/run_dir.h"
#include "decoder_server/serve/assembler.h"
#include "decoder_server/serve/prediction_cache.h"

typedef struct predictor predictor;

enum { PREDICTOR_ROWS = 1000 };

typedef struct predictor_options {
    size_t table_bytes; /* the most that the tables may take; 0: none */
    size_t cache_bytes; /* the most that the cache may take; 0: none */
    bool by_stage;      /* samples may have come in part: a table for each stage, where there is room */
    bool plain;         /* the nets layer by layer, as they were trained */
} predictor_options;

/* What a codeword means. */
typedef struct prediction {
    uint32_t class;
    const float *probabilities; /* [classes], adding up to 1; NULL: the nets gave no numbers, so there is no class */
} prediction;

/* Samples by where their answers came from, and what the table and the cache hold; zeroes where there is none. */
typedef struct predictor_counters {
    uint64_t from_table, from_cache, from_nets;
    uint32_t table_known, table_size;
    size_t table_bytes;
    prediction_cache_counters cache;
} predictor_counters;

/* Loads the head of the run's served commit, and fills the table: that is logged as it goes. Where it would take longer
 * than PREDICTOR_TABLE_SECONDS, the table keeps each codeword as it is first seen instead. ERR_INPUT: the nets give no
 * numbers for what is to be in the table. */
enum { PREDICTOR_TABLE_SECONDS = 10 };
err predictor_new(predictor **c, const run_dir *r, const manifest_commit *commit, const predictor_options *options);
void predictor_free(predictor *c);

uint32_t predictor_classes(const predictor *c);

/* The layout of an experiment's codewords; in one stage, unless by_stage. */
codeword predictor_layout_of(const experiment *e, const predictor_options *options);
const codeword *predictor_layout(const predictor *c);

/* Whether the tables have every whole codeword. */
bool predictor_knows_all(const predictor *c);

/* Whether so many samples would take long (above about 0.1 ms) if all of them had to go through the nets. */
bool predictor_may_take_long(const predictor *c, size_t count);

/* Whether predictor_run would take long: more of these samples than the nets do in a moment are neither in the table
 * nor in the cache. */
bool predictor_takes_long(predictor *c, const assembler_sample *samples, size_t count);

/* Up to PREDICTOR_ROWS samples at once. Returns [count], the predictor's until the next call. A missing portion's
 * bits, and those of stages that have not come, count as 0.5, neither 0 nor 1. What has no class is not kept. */
const prediction *predictor_run(predictor *c, const assembler_sample *samples, size_t count);

void predictor_count(const predictor *c, predictor_counters *out);

#endif
