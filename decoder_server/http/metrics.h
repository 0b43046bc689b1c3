/* Metrics: the HTTP API's own counters, and all counters as Prometheus text (version 0.0.4). */
#ifndef FEWBIT_DECODER_SERVER_HTTP_METRICS_H
#define FEWBIT_DECODER_SERVER_HTTP_METRICS_H

#include "decoder_server/core/stats.h"
#include "decoder_server/http/sse.h"

enum { METRICS_STATUSES = 21, METRICS_BUCKETS = 16 };

typedef enum metrics_outcome {
    METRICS_CLASSIFIED,
    METRICS_DEGRADED,
    METRICS_NO_NODES,
    METRICS_TIMEOUT,
    METRICS_BUSY,
    METRICS_BAD_IMAGE,
    METRICS_BAD_PORTION,
    METRICS_UNKNOWN_SAMPLE,
    METRICS_OUTCOMES
} metrics_outcome;

typedef struct metrics {
    uint64_t requests[ROUTES][METRICS_STATUSES];
    uint64_t outcomes[METRICS_OUTCOMES];
    uint64_t buckets[METRICS_BUCKETS]; /* of answered classifications, by time; not cumulative; the last: longer */
    double seconds;
    http_counters connections;
    uint32_t waiting; /* now: samples whose answer is to come */
} metrics;

void metrics_count_request(metrics *m, route_id route, unsigned status);
void metrics_count_answer(metrics *m, metrics_outcome outcome);
void metrics_count_time(metrics *m, double seconds);

void metrics_write(dynbuf *t, const metrics *m, const sse_counters *e, const stats *r);

#endif
