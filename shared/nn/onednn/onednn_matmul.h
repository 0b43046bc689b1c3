/* Matrix products by oneDNN. */
#ifndef FEWBIT_NN_ONEDNN_ONEDNN_MATMUL_H
#define FEWBIT_NN_ONEDNN_ONEDNN_MATMUL_H

#include "nn/onednn/onednn.h"

/* How a matrix lies: rows of `width` numbers next to each other (0: as many as it has columns), floats or bf16; or
 * transposed, its columns in place of its rows. */
typedef struct onednn_matmul_layout {
    size_t width;
    bool is_transposed, is_half;
} onednn_matmul_layout;

/* C = A B, or C += A B, `batch` times one after the other; A [m, k], B [k, n], C [m, n]. With `bias` a row of floats
 * is added to each of C's, and with `relu` numbers below 0 become 0. */
typedef struct onednn_matmul {
    size_t batch, m, n, k;
    onednn_matmul_layout a, b, c;
    bool adds, bias, relu;
} onednn_matmul;

/* The job's arguments are DNNL_ARG_SRC (A), DNNL_ARG_WEIGHTS (B), DNNL_ARG_BIAS and DNNL_ARG_DST (C). */
err onednn_matmul_init(onednn_primitive *job, onednn_stream *w, const onednn_matmul *p);

#endif
