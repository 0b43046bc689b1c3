/* A linear map in bf16: a matrix W [outputs, inputs] and its three products, each in two tasks. */
#ifndef FEWBIT_NN_ONEDNN_BF16_LINEAR_H
#define FEWBIT_NN_ONEDNN_BF16_LINEAR_H

#include "nn/layer.h"
#include "nn/onednn/onednn_matmul.h"

enum { BF16_LINEAR_TASKS = 2, BF16_LINEAR_SIZES = 8 };

typedef enum bf16_linear_kind {
    BF16_LINEAR_FORWARD,
    BF16_LINEAR_BACKWARD,
    BF16_LINEAR_GRADIENT,      /* of a whole tile */
    BF16_LINEAR_GRADIENT_REST, /* of what is left of a task's outputs */
    BF16_LINEAR_KINDS
} bf16_linear_kind;

/* A task's products for one number of rows; each is made when it is first wanted. */
typedef struct bf16_linear_size {
    size_t rows; /* 0: free */
    uint64_t used;
    onednn_primitive jobs[BF16_LINEAR_KINDS];
} bf16_linear_size;

typedef struct bf16_linear_task {
    onednn_stream worker;
    bf16_linear_size sizes[BF16_LINEAR_SIZES];
    uint64_t clock;
} bf16_linear_task;

typedef struct bf16_linear {
    nn_layer *layer; /* whose it is: its pool runs the tasks */
    size_t inputs, outputs;
    size_t tile;             /* outputs whose gradient is taken at once */
    bool y_half, bias, relu; /* of what bf16_linear_forward makes */
    uint16_t *weights;       /* [outputs, inputs]; the caller fills it */
    bf16_linear_task tasks[BF16_LINEAR_TASKS];
} bf16_linear;

/* Makes layer->own, of the fields above `weights`, which the layer's `free` frees. */
err bf16_linear_new(bf16_linear fields);
void bf16_linear_free(nn_layer *layer);

/* y = x W^T, with bias and ReLU where there are such. x: [rows, inputs], bf16. */
void bf16_linear_forward(bf16_linear *m, size_t rows, const uint16_t *x, const float *bias, void *y);

/* dx = dy W. dy: [rows, outputs], bf16; dx: floats. */
void bf16_linear_backward(bf16_linear *m, size_t rows, const uint16_t *dy, float *dx);

/* dW = dy^T x for outputs [first, first + count) of `task`: a tile, or what is left of the task's outputs after its
 * tiles. dw: [count, inputs], floats. */
void bf16_linear_gradient(bf16_linear *m, size_t task, size_t first, size_t count, size_t rows, const uint16_t *dy,
                          const uint16_t *x, float *dw);

/* First of the outputs of `task`. */
size_t bf16_linear_first_output(const bf16_linear *m, size_t task);

#endif
