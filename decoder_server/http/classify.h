/* POST /v1/classify: about whole samples as images, about one sample by portion, or about samples by their ids. What is
 * asked becomes questions (core/question.h), each is handed to `ask`, and the request is answered once its last answer
 * is there. Loop's thread only. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_CLASSIFY_H
#define FEWBIT_DECODER_SERVER_HTTP_CLASSIFY_H

#include "data/class_names.h"
#include "decoder_server/http/metrics.h"

enum { CLASSIFY_REQUESTS_MAX = 4096 }; /* samples under way at a time */

typedef struct classify classify;

typedef struct classify_config {
    const class_names *classes;   /* borrowed */
    const experiment *experiment; /* whose portions a sample has; borrowed */
    /* Asks the nodes. classify_answer with this number follows, before or after the return. */
    err (*ask)(void *context, uint64_t number, const question *q);
    void *context;
    metrics *metrics;
} classify_config;

err classify_new(classify **c, uv_loop_t *loop, const classify_config *config);

/* A request whose head is here, and the same once all of it is here. Each may answer it. */
void classify_start(classify *c, api_request *r);
void classify_take(classify *c, api_request *r);

/* Does nothing if the request has gone meanwhile. */
void classify_answer(classify *c, uint64_t number, const classification *answer);

/* The request ends: nothing of it may be touched afterwards. */
void classify_forget(api_request *r);

/* Answers all that wait with 503, and accepts nothing more. */
void classify_stop(classify *c);
void classify_free(classify *c);

#endif
