#include "nn/workspace.h"

#include "base/log.h"

#include <stdlib.h>

enum { PAGE = 4096 };

void nn_workspaces_init(nn_workspaces *w) {
    *w = (nn_workspaces){0};
    pthread_mutex_init(&w->mutex, NULL);
}

void nn_workspaces_free(nn_workspaces *w) {
    for (size_t i = 0; i < w->count; i++) {
        free(w->idle[i]);
    }
    pthread_mutex_destroy(&w->mutex);
}

void nn_workspaces_want(nn_workspaces *w, size_t bytes) {
    size_t pages = (bytes + PAGE - 1) / PAGE * PAGE;
    w->bytes = pages > w->bytes ? pages : w->bytes;
}

void *nn_workspace_take(nn_workspaces *w) {
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

void nn_workspace_give(nn_workspaces *w, void *workspace) {
    pthread_mutex_lock(&w->mutex);
    if (w->count < NN_WORKSPACES_MAX) {
        w->idle[w->count++] = workspace;
        workspace = NULL;
    }
    pthread_mutex_unlock(&w->mutex);
    free(workspace);
}
