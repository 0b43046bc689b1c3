#include "loop/compute_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    void (*work)(void *context);
    void (*done)(void *context);
    void *context;
} job;

/* Jobs are numbered as they come; job n lies at jobs[n % COMPUTE_POOL_JOBS_MAX]. */
struct compute_pool {
    uv_async_t *async;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wanted;
    uint64_t taken; /* the loop's: those whose `done` was called */
    /* under the mutex */
    job jobs[COMPUTE_POOL_JOBS_MAX];
    uint64_t posted, worked;
    bool is_stopping;
};

static void *pool_main(void *argument) {
    compute_pool *p = argument;
    pthread_mutex_lock(&p->mutex);
    for (;;) {
        while (p->worked == p->posted && !p->is_stopping) {
            pthread_cond_wait(&p->wanted, &p->mutex);
        }
        if (p->is_stopping) {
            break;
        }
        job now = p->jobs[p->worked % COMPUTE_POOL_JOBS_MAX];
        pthread_mutex_unlock(&p->mutex);
        now.work(now.context);
        pthread_mutex_lock(&p->mutex);
        p->worked++;
        uv_async_send(p->async);
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

/* The next job that is worked and not taken; false: there is none. */
static bool take(compute_pool *p, job *out) {
    pthread_mutex_lock(&p->mutex);
    bool any = p->taken < p->worked;
    *out = any ? p->jobs[p->taken % COMPUTE_POOL_JOBS_MAX] : (job){0};
    pthread_mutex_unlock(&p->mutex);
    p->taken += any;
    return any;
}

/* `done` may post more, or free the pool. */
static void on_worked(uv_async_t *async) {
    job over;
    while (async->data && take(async->data, &over)) {
        if (!compute_pool_is_busy(async->data)) {
            uv_unref((uv_handle_t *)async);
        }
        over.done(over.context);
    }
}

static void free_handle(uv_handle_t *handle) {
    free(handle);
}

err compute_pool_new(compute_pool **out, uv_loop_t *loop) {
    compute_pool *p = calloc(1, sizeof *p);
    uv_async_t *async = malloc(sizeof *async);
    int status = p && async ? uv_async_init(loop, async, on_worked) : UV_ENOMEM;
    if (status < 0) {
        free(p);
        free(async);
        return err_fail(status == UV_ENOMEM ? ERR_MEMORY : ERR_IO, "cannot make a compute pool: %s",
                        uv_strerror(status));
    }
    uv_unref((uv_handle_t *)async);
    async->data = p;
    p->async = async;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->wanted, NULL);
    status = pthread_create(&p->thread, NULL, pool_main, p);
    if (status) {
        uv_close((uv_handle_t *)async, free_handle);
        free(p);
        return err_fail(ERR_IO, "cannot start a thread: %s", strerror(status));
    }
    *out = p;
    return ERR_OK;
}

err compute_pool_run(compute_pool *p, void (*work)(void *context), void (*done)(void *context), void *context) {
    pthread_mutex_lock(&p->mutex);
    bool has_room = p->posted - p->taken < COMPUTE_POOL_JOBS_MAX;
    if (has_room) {
        p->jobs[p->posted++ % COMPUTE_POOL_JOBS_MAX] = (job){work, done, context};
    }
    pthread_mutex_unlock(&p->mutex);
    if (!has_room) {
        return err_fail(ERR_FULL, "%d jobs wait for the compute pool already", COMPUTE_POOL_JOBS_MAX);
    }
    uv_ref((uv_handle_t *)p->async);
    pthread_cond_signal(&p->wanted); /* not under the mutex: the thread would wake only to wait for it */
    return ERR_OK;
}

bool compute_pool_is_busy(const compute_pool *p) {
    return p->taken < p->posted; /* the pool's thread changes neither */
}

void compute_pool_free(compute_pool *p) {
    if (!p) {
        return;
    }
    pthread_mutex_lock(&p->mutex);
    p->is_stopping = true;
    pthread_mutex_unlock(&p->mutex);
    pthread_cond_signal(&p->wanted);
    pthread_join(p->thread, NULL);
    pthread_mutex_destroy(&p->mutex);
    pthread_cond_destroy(&p->wanted);
    p->async->data = NULL;
    uv_close((uv_handle_t *)p->async, free_handle);
    free(p);
}
