/* Workspaces: memory for the length of a task. Whoever runs a task takes one and gives it back; there are as many as
 * tasks have ever run side by side, each as large as the largest task of the net wants. */
#ifndef FEWBIT_NN_WORKSPACE_H
#define FEWBIT_NN_WORKSPACE_H

#include <pthread.h>
#include <stddef.h>

enum { NN_WORKSPACES_MAX = 256 };

typedef struct nn_workspaces {
    pthread_mutex_t mutex;
    size_t bytes; /* set before the first is taken */
    void *idle[NN_WORKSPACES_MAX];
    size_t count;
} nn_workspaces;

void nn_workspaces_init(nn_workspaces *w);

/* None may be taken any more. */
void nn_workspaces_free(nn_workspaces *w);

/* Says that a task will want `bytes`. */
void nn_workspaces_want(nn_workspaces *w, size_t bytes);

/* `bytes` of memory, aligned to a page, with anything in it; ends the program where there is none. */
void *nn_workspace_take(nn_workspaces *w);
void nn_workspace_give(nn_workspaces *w, void *workspace);

#endif
