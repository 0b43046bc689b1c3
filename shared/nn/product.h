/* Matrix products by oneDNN. */
#ifndef FEWBIT_NN_PRODUCT_H
#define FEWBIT_NN_PRODUCT_H

#include "nn/onednn.h"

/* How a matrix lies: rows of `width` numbers next to each other (0: as many as it has columns), floats or bf16; or
 * transposed, its columns in place of its rows. */
typedef struct nn_matrix_layout {
    size_t width;
    bool is_transposed, is_half;
} nn_matrix_layout;

/* C = A B, or C += A B, `batch` times one behind the other; A [m, k], B [k, n], C [m, n]. With `bias` a row of floats
 * is added to each of C's, and with `relu` numbers below 0 become 0. */
typedef struct nn_product {
    size_t batch, m, n, k;
    nn_matrix_layout a, b, c;
    bool adds, bias, relu;
} nn_product;

/* The job's arguments are DNNL_ARG_SRC (A), DNNL_ARG_WEIGHTS (B), DNNL_ARG_BIAS and DNNL_ARG_DST (C). */
err nn_product_init(onednn_job *job, onednn_worker *w, const nn_product *p);

#endif
