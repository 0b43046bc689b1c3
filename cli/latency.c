#include "cli/latency.h"

#include <math.h>
#include <stdlib.h>

static const size_t bytes_max = (size_t)1 << 30;

latency latency_make(void) {
    return (latency){dynbuf_make(bytes_max)};
}

void latency_free(latency *l) {
    dynbuf_free(&l->ms);
}

err latency_add(latency *l, uint64_t ns) {
    float ms = (float)((double)ns * 1e-6);
    dynbuf_add(&l->ms, &ms, sizeof ms);
    return dynbuf_check(&l->ms, "latencies");
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The times in order; *count of them. */
static const float *sorted(latency *l, size_t *count) {
    float *ms = (float *)(void *)l->ms.bytes;
    *count = l->ms.length / sizeof *ms;
    if (*count > 0) {
        qsort(ms, *count, sizeof *ms, compare);
    }
    return ms;
}

static double percentile(const float *ms, size_t count, double percent) {
    size_t rank = (size_t)ceil(percent * (double)count / 100);
    return count ? (double)ms[rank ? rank - 1 : 0] : (double)NAN;
}

double latency_percentile(latency *l, double percent) {
    size_t count;
    const float *ms = sorted(l, &count);
    return percentile(ms, count, percent);
}

json_t *latency_json(latency *l) {
    static const struct {
        const char *name;
        double percent;
    } told[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
    size_t count;
    const float *ms = sorted(l, &count);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)ms[i];
    }
    json_t *j = json_pack("{s:I, s:o}", "count", (json_int_t)count, "mean",
                          count ? json_real(sum / (double)count) : json_null());
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        json_object_set_new(j, told[i].name, count ? json_real(percentile(ms, count, told[i].percent)) : json_null());
    }
    return j;
}
