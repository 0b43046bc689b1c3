/* What OpenBLAS can do here, and what a training step asks for.
 *
 *     gemm EXPERIMENT SIDE SECONDS
 *
 * prints {"step_flop": operations of one joint training step, as the nets are described,
 *         "sgemm_gflops": {"1": best of one thread, "2": best of two}} for C = A B with square matrices. */
#include "base/clock.h"
#include "base/process.h"
#include "experiment/derive.h"
#include "experiment/load.h"

#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 2 };

static void fill(float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)(i % 97) / 97.0f - 0.5f;
    }
}

/* The best of as many products as fit into `seconds`, at least three; 10^9 operations a second. */
static double best_rate(int side, double seconds, const float *a, const float *b, float *c) {
    double best = 0;
    uint64_t start = clock_now_ns();
    for (int done = 0; done < 3 || clock_seconds_since(start) < seconds; done++) {
        uint64_t from = clock_now_ns();
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, side, side, side, 1.0f, a, side, b, side, 0.0f, c, side);
        double rate = 2e-9 * side * side * side / clock_seconds_since(from);
        best = rate > best ? rate : best;
    }
    return best;
}

static err measure(const experiment *e, int side, double seconds) {
    size_t count = (size_t)side * (size_t)side;
    float *a = malloc(count * sizeof *a), *b = malloc(count * sizeof *b), *c = malloc(count * sizeof *c);
    err failed = a && b && c ? ERR_OK : err_fail(ERR_MEMORY, "no memory for matrices of %d x %d", side, side);
    if (!failed) {
        fill(a, count);
        fill(b, count);
        printf("{\"step_flop\": %.0f, \"sgemm_gflops\": {", 2 * experiment_step_macs(e, 10));
        for (int threads = 1; threads <= THREADS; threads++) {
            openblas_set_num_threads(threads);
            printf("%s\"%d\": %.2f", threads > 1 ? ", " : "", threads, best_rate(side, seconds, a, b, c));
        }
        printf("}}\n");
    }
    free(a);
    free(b);
    free(c);
    return failed;
}

static err run(int argc, char **argv) {
    experiment e;
    int side = argc == 4 ? atoi(argv[2]) : 0;
    if (side < 1 || side > 16384) {
        return err_fail(ERR_USAGE, "usage: gemm EXPERIMENT SIDE SECONDS, SIDE from 1 to 16384");
    }
    err failed = experiment_load(argv[1], &e);
    return failed ? failed : measure(&e, side, atof(argv[3]));
}

int main(int argc, char **argv) {
    return process_end(run(argc, argv));
}
