/* A scratch pool: memory for the length of a task. Whoever runs a task takes one and gives it back; there are as many
 * as tasks have ever run side by side, each as large as the largest task of the net wants. */
#ifndef FEWBIT_NN_SCRATCH_POOL_H
#define FEWBIT_NN_SCRATCH_POOL_H

#include <pthread.h>
#include <stddef.h>

enum { SCRATCH_POOL_MAX = 256 };

typedef struct scratch_pool {
    pthread_mutex_t mutex;
    size_t bytes; /* set before the first is taken */
    void *idle[SCRATCH_POOL_MAX];
    size_t count;
} scratch_pool;

void scratch_pool_init(scratch_pool *w);

/* None may be taken any more. */
void scratch_pool_free(scratch_pool *w);

/* Says that a task will want `bytes`. */
void scratch_pool_want(scratch_pool *w, size_t bytes);

/* `bytes` of memory, aligned to a page, with anything in it; ends the program where there is none. */
void *scratch_pool_take(scratch_pool *w);
void scratch_pool_give(scratch_pool *w, void *workspace);

#endif
