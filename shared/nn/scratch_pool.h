/* A scratch pool: memory for the length of a task. Whoever runs a task takes a block and gives it back; where all are
 * taken, it waits for one. As many as tasks run side by side are allocated when the net is made, each as large as the
 * largest task wants. */
#ifndef FEWBIT_NN_SCRATCH_POOL_H
#define FEWBIT_NN_SCRATCH_POOL_H

#include "base/err.h"

typedef struct scratch_pool scratch_pool;

err scratch_pool_new(scratch_pool **pool);

/* None may be taken any more. */
void scratch_pool_free(scratch_pool *pool);

/* Says that a task will want `bytes`; before scratch_pool_fill. */
void scratch_pool_want(scratch_pool *pool, size_t bytes);

/* Of one block. */
size_t scratch_pool_bytes(const scratch_pool *pool);

/* Allocates `count` blocks. */
err scratch_pool_fill(scratch_pool *pool, size_t count);

/* A block, aligned to a page, with anything in it. A task takes one at a time. */
void *scratch_pool_take(scratch_pool *pool);
void scratch_pool_give(scratch_pool *pool, void *block);

#endif
