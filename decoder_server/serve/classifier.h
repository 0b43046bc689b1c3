/* The classifier: codewords in, class probabilities out. The trained decoder and classifier, frozen and folded.
 *
 * A codeword's answer comes from the first that has it:
 *
 *     the table    whole codewords of few bits (serve/answers.h), filled when the classifier is made
 *     the cache    whatever the nets have answered before (serve/seen.h)
 *     the nets     in batches
 *
 * Where bits come in stages there is a table a stage, for samples of which every portion has come that far.
 *
 * All of them give what the nets give for that codeword, whichever of them it is. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_CLASSIFIER_H
#define FEWBIT_DECODER_SERVER_SERVE_CLASSIFIER_H

#include "decoder_server/run.h"
#include "decoder_server/serve/assembler.h"
#include "decoder_server/serve/seen.h"

typedef struct classifier classifier;

enum { CLASSIFIER_ROWS = 1000 };

typedef struct classifier_options {
    size_t answers_bytes; /* the most that the tables may take; 0: none */
    size_t seen_bytes;    /* the most that the cache may take; 0: none */
    bool by_round;        /* samples may have come in part: a table for each stage, where there is room */
    bool plain;           /* the nets layer by layer, as they were trained */
} classifier_options;

/* What a codeword means. */
typedef struct verdict {
    uint32_t class;
    const float *probabilities; /* [classes], adding up to 1 */
} verdict;

/* Samples by where their answers came from, and what the table and the cache hold; zeroes where there is none. */
typedef struct classifier_counters {
    uint64_t from_table, from_cache, from_nets;
    uint32_t table_known, table_size;
    size_t table_bytes;
    seen_counters cache;
} classifier_counters;

/* Loads the head of the run's served commit, and fills the table: that is logged as it goes. Where it would take longer
 * than CLASSIFIER_TABLE_SECONDS, the table keeps each codeword as it is first seen instead. */
enum { CLASSIFIER_TABLE_SECONDS = 10 };
err classifier_new(classifier **c, const run *r, const run_commit *commit, const classifier_options *options);
void classifier_free(classifier *c);

uint32_t classifier_classes(const classifier *c);

/* In which stages it takes samples to come; one, unless by_round. */
const refinement *classifier_refinement(const classifier *c);

/* Whether the tables have every whole codeword. */
bool classifier_knows_all(const classifier *c);

/* Up to CLASSIFIER_ROWS samples at once. Returns [count], the classifier's until the next call. A missing portion's
 * bits, and those of stages that have not come, count as 0.5, neither 0 nor 1. */
const verdict *classifier_run(classifier *c, const assembled *samples, size_t count);

void classifier_count(const classifier *c, classifier_counters *out);

#endif
