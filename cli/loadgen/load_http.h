/* Load over HTTP: POST /v1/classify at a steady rate, whatever the server's answers do.
 *
 * Requests are due at fixed times; one that finds no connection free waits for it, and its latency counts from the time
 * it was due. So a server that stalls is seen to keep everybody waiting ("coordinated omission", Tene, "How NOT to
 * Measure Latency", 2015). */
#ifndef FEWBIT_CLI_LOADGEN_LOAD_HTTP_H
#define FEWBIT_CLI_LOADGEN_LOAD_HTTP_H

#include "cli/loadgen/load_samples.h"

typedef struct load_http {
    const char *server;        /* http://HOST:PORT */
    const char *authorization; /* a whole header; NULL: none */
    double rate;               /* requests a second; 0: as fast as the connections answer */
    double seconds;
    unsigned connections;
    const load_samples *samples;
} load_http;

/* {"offered", "sent", "answered", "mismatched", "seconds", "rate", "status": {"200": …, "none": …}, "latency_ms"}; a
 * new reference. What is due by the end is sent for five seconds more; what found no connection then is offered and not
 * sent. "seconds" go on to the last answer. Latencies count all that was offered, but for connections that failed:
 * what has no answer has waited until now. The counts under "status" add up to "sent". Mismatched are answers with 200
 * that do not bear their request's X-Request-Id. ERR_STOPPED when asked to stop. */
err load_http_run(const load_http *load, json_t **report);

#endif
