/* Latencies: each is kept, so that percentiles are exact. */
#ifndef FEWBIT_CLI_LATENCY_H
#define FEWBIT_CLI_LATENCY_H

#include "base/dynbuf.h"

#include <jansson.h>

typedef struct latency {
    dynbuf ms; /* floats */
} latency;

/* Of none; ended with latency_free. */
latency latency_make(void);
void latency_free(latency *l);

/* ERR_MEMORY where there is no room for one more. */
err latency_add(latency *l, uint64_t ns);

/* The smallest that `percent` percent do not exceed, in milliseconds; NaN of none. Sorts. */
double latency_percentile(latency *l, double percent);

/* {"count", "mean", "p50", "p90", "p99", "p99.9", "max"} in milliseconds, a new reference; null for each where there is
 * none. Sorts. */
json_t *latency_json(latency *l);

#endif
