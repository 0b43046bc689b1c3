/* The classifier: codewords in, class probabilities out. The trained decoder and classifier, frozen. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_CLASSIFIER_H
#define FEWBIT_DECODER_SERVER_SERVE_CLASSIFIER_H

#include "decoder_server/run.h"
#include "decoder_server/serve/assembler.h"

typedef struct classifier classifier;

enum { CLASSIFIER_ROWS = 1000 };

/* Loads the head of the run's served commit. */
err classifier_new(classifier **c, const run *r, const run_commit *commit);
void classifier_free(classifier *c);

uint32_t classifier_classes(const classifier *c);

/* Up to CLASSIFIER_ROWS samples at once. Returns [count, classes], each row adding up to 1; the classifier's until the
 * next call. A missing portion's bits count as 0.5, neither 0 nor 1. */
const float *classifier_run(classifier *c, const assembled *samples, size_t count);

#endif
