/* The JSON of HTTP answers. Each returned text is the caller's to free. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REPLY_H
#define FEWBIT_DECODER_SERVER_HTTP_REPLY_H

#include "data/dataset.h"
#include "decoder_server/answer.h"

#include <stdlib.h>

/* {"request", "class", "label", "probability", "probabilities", "bits", "payload_bits", "frame_bytes", "raw_bytes",
 *  "degraded", "missing", "ms"} */
char *reply_classified(uint64_t request, const answer *a, const dataset *set);

/* {"error": {"code", "message"}} */
char *reply_error(const char *code, const char *message);

#endif
