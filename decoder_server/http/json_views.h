/* The JSON of the API's answers: docs/openapi.yaml says what each field means. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_JSON_VIEWS_H
#define FEWBIT_DECODER_SERVER_HTTP_JSON_VIEWS_H

#include "base/json_writer.h"
#include "bits/codeword.h"
#include "decoder_server/core/classification.h"
#include "decoder_server/core/run_dir.h"
#include "decoder_server/core/stats.h"

enum { JSON_VIEWS_MAX = 4 << 20 }; /* bytes of an answer's body */

/* When the HTTP side had the whole request, and when it had the answer. */
typedef struct json_views_times {
    uint64_t asked_ns, answered_ns;
} json_views_times;

/* The answer to one sample of so many bytes. `request` is its id. */
void json_views_classification(json_writer *w, const char *request, const classification *c, const class_names *classes,
                               uint64_t raw_bytes, const json_views_times *times);

/* {"error": {"code", "message", "request"}} */
void json_views_error(json_writer *w, const char *request, const char *code, const char *message);

/* GET /v1/nodes. */
void json_views_nodes(dynbuf *to, const stats *s);

/* GET /v1/model, instead of what is in `to`. `commit` is the one that is served; NULL while there is none (training).
 */
err json_views_model(dynbuf *to, const run_dir *r, const partition *shape, const codeword *layout,
                     const manifest_commit *commit);

#endif
