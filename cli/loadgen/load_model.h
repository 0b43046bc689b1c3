/* A server's model, as a load on it needs it: /v1/model says it. */
#ifndef FEWBIT_CLI_LOADGEN_LOAD_MODEL_H
#define FEWBIT_CLI_LOADGEN_LOAD_MODEL_H

#include "bits/codeword.h"
#include "cli/http_client.h"
#include "data/portion_shape.h"

typedef struct load_portion {
    char name[PORTION_NAME_MAX + 1];
    portion_shape shape;
    uint32_t bits; /* of its code */
} load_portion;

typedef struct load_model {
    char data_set[32]; /* its name */
    bool is_whole;     /* a request brings a whole sample: the portions' bytes are those of one */
    uint32_t portions;
    load_portion portion[CODEWORD_PORTIONS_MAX];
} load_model;

/* ERR_REFUSED: what the server says makes no sense. */
err load_model_ask(load_model *m, http_client *h);

/* Of a sample, raw. */
size_t load_model_bytes(const load_model *m);

#endif
