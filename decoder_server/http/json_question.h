/* A JSON question: the body of a request that asks in JSON, {"portions": {...}} or {"samples": ["ID", ...]}. Pure; the
 * input is not trusted. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_JSON_QUESTION_H
#define FEWBIT_DECODER_SERVER_HTTP_JSON_QUESTION_H

#include "base/err.h"
#include "decoder_server/http/span.h"

#include <jansson.h>

enum { JSON_QUESTION_SAMPLES_MAX = 1000 };

typedef struct json_question {
    json_t *root;
    const json_t *portions; /* an object; NULL: samples are asked for by id */
    uint32_t samples;       /* 1 to JSON_QUESTION_SAMPLES_MAX; each an id that may be one */
} json_question;

/* ERR_INPUT: it is not JSON, or says anything else. ERR_FULL: too long, or more samples than that. The caller ends it
 * with json_question_free, also after a failure. */
err json_question_read(json_question *q, span body);
void json_question_free(json_question *q);

const char *json_question_sample(const json_question *q, uint32_t index);

#endif
