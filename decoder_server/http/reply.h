/* The JSON of a classification and of an error. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REPLY_H
#define FEWBIT_DECODER_SERVER_HTTP_REPLY_H

#include "data/dataset.h"
#include "decoder_server/core/classification.h"
#include "decoder_server/http/strbuf.h"

/* When the HTTP side had the whole request, and when it had the answer. */
typedef struct reply_times {
    uint64_t asked_ns, answered_ns;
} reply_times;

/* {"request", "class", "label", "probability", "probabilities", "bits", "payload_bits", "frame_bytes",
 * "frame_bytes_sent", "frame_bytes_received", "raw_bytes", "degraded", "missing", "ms", "timings": {"queue_ms",
 * "nodes_ms", "net_ms"}} */
void reply_classified(strbuf *t, const char *request, const classification *a, const dataset *set,
                      const reply_times *times);

/* {"error": {"code", "message", "request"}} */
void reply_error(strbuf *t, const char *request, const char *code, const char *message);

#endif
