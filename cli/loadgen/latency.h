/* Latencies of a load, each kept, so that percentiles are exact. */
#ifndef FEWBIT_CLI_LOADGEN_LATENCY_H
#define FEWBIT_CLI_LOADGEN_LATENCY_H

#include "base/err.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* All zero at the start; ended with latency_free. */
typedef struct latency {
    float *ms;
    size_t count, capacity;
} latency;

/* ERR_MEMORY where there is no room for one more. */
err latency_add(latency *l, uint64_t ns);
void latency_free(latency *l);

/* {"count", "mean", "p50", "p90", "p99", "p99.9", "max"} in milliseconds, a new reference; null for each where there is
 * none. A percentile is the smallest latency that so many percent do not exceed. Sorts. */
json_t *latency_json(latency *l);

#endif
