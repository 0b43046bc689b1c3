/* The JSON of the API's answers: docs/openapi.yaml says what each field means. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_JSON_VIEWS_H
#define FEWBIT_DECODER_SERVER_HTTP_JSON_VIEWS_H

#include "base/json_writer.h"
#include "decoder_server/core/classification.h"
#include "decoder_server/core/run_dir.h"
#include "decoder_server/core/stats.h"

enum { JSON_VIEWS_MAX = 8 << 20 }; /* bytes of an answer's body */

/* An answer, and what it is an answer to. */
typedef struct json_views_answer {
    const char *request; /* its id */
    const char *sample;  /* the id that was asked about; NULL: none was */
    const classification *of;
    const class_names *classes;
    size_t raw_bytes;               /* of a sample */
    uint64_t asked_ns, answered_ns; /* when the HTTP side had the whole request, and when it had the answer */
} json_views_answer;

/* The answer about one sample. */
void json_views_classification(json_writer *w, const json_views_answer *a);

/* That there is none, in a list of samples by id. */
void json_views_sample_error(json_writer *w, const char *request, const char *sample, unsigned status, const char *code,
                             const char *message);

/* {"error": {"code", "message", "request"}} */
void json_views_error(json_writer *w, const char *request, const char *code, const char *message);

/* GET /v1/nodes. */
void json_views_nodes(dynbuf *to, const stats *s);

/* GET /v1/model, instead of what is in `to`. `commit` is the one that is served; NULL while there is none (training).
 */
err json_views_model(dynbuf *to, const run_dir *r, const codeword *layout, const manifest_commit *commit);

#endif
