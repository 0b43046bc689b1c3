#include "nn/scratch_pool.h"

#include <pthread.h>
#include <stdlib.h>

enum { PAGE = 4096 };

struct scratch_pool {
    pthread_mutex_t mutex;
    pthread_cond_t given;
    size_t bytes, idle_count;
    void **idle; /* [idle_count] */
};

err scratch_pool_new(scratch_pool **out) {
    scratch_pool *pool = calloc(1, sizeof *pool);
    if (!pool) {
        return err_fail(ERR_MEMORY, "no memory for a scratch pool");
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->given, NULL);
    *out = pool;
    return ERR_OK;
}

void scratch_pool_free(scratch_pool *pool) {
    if (!pool) {
        return;
    }
    for (size_t i = 0; i < pool->idle_count; i++) {
        free(pool->idle[i]);
    }
    free(pool->idle);
    pthread_cond_destroy(&pool->given);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

void scratch_pool_want(scratch_pool *pool, size_t bytes) {
    size_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    pool->bytes = pages > pool->bytes ? pages : pool->bytes;
}

size_t scratch_pool_bytes(const scratch_pool *pool) {
    return pool->bytes;
}

err scratch_pool_fill(scratch_pool *pool, size_t count) {
    pool->idle = pool->bytes ? calloc(count, sizeof *pool->idle) : NULL;
    while (pool->idle && pool->idle_count < count) {
        void *block = aligned_alloc(PAGE, pool->bytes);
        if (!block) {
            break;
        }
        pool->idle[pool->idle_count++] = block;
    }
    return !pool->bytes || pool->idle_count == count
               ? ERR_OK
               : err_fail(ERR_MEMORY, "no memory for %zu times %zu bytes of scratch", count, pool->bytes);
}

void *scratch_pool_take(scratch_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    while (pool->idle_count == 0) {
        pthread_cond_wait(&pool->given, &pool->mutex);
    }
    void *block = pool->idle[--pool->idle_count];
    pthread_mutex_unlock(&pool->mutex);
    return block;
}

void scratch_pool_give(scratch_pool *pool, void *block) {
    pthread_mutex_lock(&pool->mutex);
    pool->idle[pool->idle_count++] = block;
    pthread_cond_signal(&pool->given);
    pthread_mutex_unlock(&pool->mutex);
}
