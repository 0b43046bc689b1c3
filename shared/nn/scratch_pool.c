#include "nn/scratch_pool.h"

#include "base/log.h"

#include <stdlib.h>

enum { PAGE = 4096 };

void scratch_pool_init(scratch_pool *w) {
    *w = (scratch_pool){0};
    pthread_mutex_init(&w->mutex, NULL);
}

void scratch_pool_free(scratch_pool *w) {
    for (size_t i = 0; i < w->count; i++) {
        free(w->idle[i]);
    }
    pthread_mutex_destroy(&w->mutex);
}

void scratch_pool_want(scratch_pool *w, size_t bytes) {
    size_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    w->bytes = pages > w->bytes ? pages : w->bytes;
}

void *scratch_pool_take(scratch_pool *w) {
    pthread_mutex_lock(&w->mutex);
    void *workspace = w->count > 0 ? w->idle[--w->count] : NULL;
    pthread_mutex_unlock(&w->mutex);
    workspace = workspace ? workspace : aligned_alloc(PAGE, w->bytes);
    if (!workspace) {
        log_error("no memory for a workspace of %zu bytes", w->bytes);
        abort();
    }
    return workspace;
}

void scratch_pool_give(scratch_pool *w, void *workspace) {
    pthread_mutex_lock(&w->mutex);
    if (w->count < SCRATCH_POOL_MAX) {
        w->idle[w->count++] = workspace;
        workspace = NULL;
    }
    pthread_mutex_unlock(&w->mutex);
    free(workspace);
}
