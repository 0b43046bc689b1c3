/* A model as it is served: a run's commit, and the predictor made of its head, with its table and its cache. */
#ifndef FEWBIT_DECODER_SERVER_SERVE_SERVED_MODEL_H
#define FEWBIT_DECODER_SERVER_SERVE_SERVED_MODEL_H

#include "decoder_server/serve/predictor.h"

typedef struct served_model {
    const run_dir *run;
    const manifest_commit *commit; /* the run's */
    predictor *predictor;
    char *text;  /* the resolved experiment, as nodes get it */
    run_dir own; /* what `run` is, where the model opened it itself */
} served_model;

/* Of a run that is open and stays so; borrowed. */
err served_model_new(served_model **m, const run_dir *r, const predictor_options *options);

/* What tells a model from every other. */
typedef struct served_model_identity {
    uint64_t run, step;
    uint8_t head[SHA256_BYTES];
    uint8_t encoders[PARTITION_PORTIONS_MAX][SHA256_BYTES];
} served_model_identity;

void served_model_identify(const run_dir *r, const manifest_commit *commit, served_model_identity *id);

/* Opens the run in a folder; takes as long as predictor_new. *m is NULL where the folder holds `known` (may be NULL).
 */
err served_model_open(served_model **m, const char *folder, const served_model_identity *known,
                      const predictor_options *options);
void served_model_free(served_model *m);

/* Whether nodes and requests of one are good for the other: data set, and of each portion name, shape and bits, with
 * --confidence its stages too; else ERR_INPUT with what differs. */
err served_model_fits(const served_model *m, const served_model *other);

#endif
