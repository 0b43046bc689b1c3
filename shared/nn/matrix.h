/* A matrix W [outputs, inputs] of bf16 numbers, and its products in two tasks, for layers that multiply in bf16. */
#ifndef FEWBIT_NN_MATRIX_H
#define FEWBIT_NN_MATRIX_H

#include "base/thread_pool.h"
#include "nn/product.h"

#include <stdint.h>

enum { NN_MATRIX_TASKS = 2, NN_MATRIX_SIZES = 8 };

typedef enum nn_matrix_kind {
    NN_MATRIX_FORWARD,
    NN_MATRIX_BACKWARD,
    NN_MATRIX_GRADIENT,      /* of a whole tile */
    NN_MATRIX_GRADIENT_REST, /* of what is left of a task's outputs */
    NN_MATRIX_KINDS
} nn_matrix_kind;

/* A task's products for one number of rows; each is made when it is first wanted. */
typedef struct nn_matrix_size {
    size_t rows; /* 0: free */
    uint64_t used;
    onednn_job jobs[NN_MATRIX_KINDS];
} nn_matrix_size;

typedef struct nn_matrix_task {
    onednn_worker worker;
    nn_matrix_size sizes[NN_MATRIX_SIZES];
    uint64_t clock;
} nn_matrix_task;

typedef struct nn_matrix {
    size_t inputs, outputs;
    size_t tile;             /* outputs whose gradient is taken at once */
    bool y_half, bias, relu; /* of what nn_matrix_forward makes */
    uint16_t *weights;       /* [outputs, inputs]; the caller fills it */
    nn_matrix_task tasks[NN_MATRIX_TASKS];
} nn_matrix;

/* The caller has set the fields above `weights`. Ended with nn_matrix_free, also after a failure. */
err nn_matrix_init(nn_matrix *m);
void nn_matrix_free(nn_matrix *m);

/* y = x W^T, with bias and ReLU where there are such. x: [rows, inputs], bf16. */
void nn_matrix_forward(nn_matrix *m, thread_pool *l, size_t rows, const uint16_t *x, const float *bias, void *y);

/* dx = dy W. dy: [rows, outputs], bf16; dx: floats. */
void nn_matrix_backward(nn_matrix *m, thread_pool *l, size_t rows, const uint16_t *dy, float *dx);

/* dW = dy^T x for outputs [first, first + count) of `task`: a tile, or what is left of the task's outputs behind tiles.
 * dw: [count, inputs], floats. */
void nn_matrix_gradient(nn_matrix *m, size_t task, size_t first, size_t count, size_t rows, const uint16_t *dy,
                        const uint16_t *x, float *dw);

/* First of the outputs of `task`. */
size_t nn_matrix_first_output(const nn_matrix *m, size_t task);

#endif
