/* A model as it is served: a run's commit, and the classifier made of its head, with its table and its cache. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_MODEL_H
#define FEWBIT_DECODER_SERVER_SERVE_MODEL_H

#include "decoder_server/run.h"
#include "decoder_server/serve/classifier.h"

typedef struct model {
    const run *run;
    const run_commit *commit; /* the run's */
    classifier *classifier;
    char *text; /* the resolved experiment, as nodes are told it */
    run own;    /* what `run` is, where the model opened it itself */
} model;

/* Of a run that is open and stays so; borrowed. */
err model_new(model **m, const run *r, const classifier_options *options);

/* What tells a model from every other. */
typedef struct model_identity {
    uint64_t run, step;
    uint8_t head[SHA256_BYTES];
    uint8_t encoders[PARTITION_PORTIONS_MAX][SHA256_BYTES];
} model_identity;

void model_identify(const run *r, const run_commit *commit, model_identity *id);

/* Opens the run in a folder; takes as long as classifier_new. *m is NULL where the folder holds `known` (may be NULL).
 */
err model_open(model **m, const char *folder, const model_identity *known, const classifier_options *options);
void model_free(model *m);

/* Whether nodes and requests of one are good for the other: data set, split, portions and bits, with
 * --confidence their stages too; else ERR_INPUT with what differs. */
err model_fits(const model *m, const model *other);

#endif
