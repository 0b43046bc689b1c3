/* Request ids: the id of a request, and the trace it belongs to. Both go into answers and logs, so only harmless
 * characters are accepted. */
#ifndef FEWBIT_DECODER_SERVER_HTTP_REQUEST_ID_H
#define FEWBIT_DECODER_SERVER_HTTP_REQUEST_ID_H

#include "decoder_server/http/span.h"

#include <stdint.h>

enum { REQUEST_ID_MAX = 64, REQUEST_ID_TRACE_LENGTH = 55 };

/* Takes an X-Request-Id of 1 to 64 letters, digits and ._-; else makes one from `number` and a random mark of this
 * process. */
void request_id_choose(span offered, uint64_t number, char id[REQUEST_ID_MAX + 1]);

/* A W3C traceparent of version 00: "00-<32 hex>-<16 hex>-<2 hex>", neither id all zeroes. Anything else gives "" and
 * false. *is_sampled: the caller records this trace. */
bool request_id_trace(span offered, char trace[REQUEST_ID_TRACE_LENGTH + 1], bool *is_sampled);

#endif
