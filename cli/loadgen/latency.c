#include "cli/loadgen/latency.h"

#include <math.h>
#include <stdlib.h>

err latency_add(latency *l, uint64_t ns) {
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 4096;
        float *grown = realloc(l->ms, capacity * sizeof *grown);
        if (!grown) {
            return err_fail(ERR_MEMORY, "no memory for %zu latencies", capacity);
        }
        l->ms = grown;
        l->capacity = capacity;
    }
    l->ms[l->count++] = (float)((double)ns * 1e-6);
    return ERR_OK;
}

void latency_free(latency *l) {
    free(l->ms);
    *l = (latency){0};
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static json_t *percentile(const latency *l, double percent) {
    if (l->count == 0) {
        return json_null();
    }
    size_t rank = (size_t)ceil(percent / 100 * (double)l->count);
    return json_real((double)l->ms[rank ? rank - 1 : 0]);
}

json_t *latency_json(latency *l) {
    qsort(l->ms, l->count, sizeof *l->ms, compare);
    double sum = 0;
    for (size_t i = 0; i < l->count; i++) {
        sum += (double)l->ms[i];
    }
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "count", (json_int_t)l->count, "mean",
                     l->count ? json_real(sum / (double)l->count) : json_null(), "p50", percentile(l, 50), "p90",
                     percentile(l, 90), "p99", percentile(l, 99), "p99.9", percentile(l, 99.9), "max",
                     percentile(l, 100));
}
