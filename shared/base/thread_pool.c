#include "base/thread_pool.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPIN_NS = 50000 };

/* One round is one call of thread_pool_run. The caller publishes the task under the mutex and raises `round`; a
 * worker that sees a new round joins it (`joined`), draws tasks from `next` and leaves (`left`). The caller
 * returns once every worker has left, so no worker ever touches a round that is over. */
struct thread_pool {
    pthread_mutex_t mutex;
    pthread_cond_t begin, end;
    atomic_uint round;
    atomic_size_t next;
    atomic_size_t left;
    thread_pool_task run;
    void *context;
    size_t tasks;
    size_t workers;
    bool spin;
    atomic_bool stop;
    pthread_t threads[];
};

static void draw_tasks(thread_pool *pool) {
    for (;;) {
        size_t task = atomic_fetch_add(&pool->next, 1);
        if (task >= pool->tasks) {
            return;
        }
        pool->run(pool->context, task);
    }
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool spin_until_changed(thread_pool *pool, unsigned seen) {
    uint64_t start = clock_now_ns();
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load(&pool->round) != seen) {
                return true;
            }
            pause_briefly();
        }
    } while (clock_now_ns() - start < SPIN_NS);
    return false;
}

static void wait_for_round(thread_pool *pool, unsigned seen) {
    if (pool->spin && spin_until_changed(pool, seen)) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->round) == seen) {
        pthread_cond_wait(&pool->begin, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
}

static void *worker_main(void *argument) {
    thread_pool *pool = argument;
    for (unsigned seen = 0;; seen++) {
        wait_for_round(pool, seen);
        if (atomic_load(&pool->stop)) {
            return NULL;
        }
        draw_tasks(pool);
        pthread_mutex_lock(&pool->mutex);
        bool is_last = atomic_fetch_add(&pool->left, 1) + 1 == pool->workers;
        pthread_mutex_unlock(&pool->mutex);
        if (is_last) {
            pthread_cond_signal(&pool->end);
        }
    }
}

/* Nobody is woken under the mutex: he would only wait for it. */
static void start_round(thread_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&pool->round, 1);
    pthread_mutex_unlock(&pool->mutex);
    pthread_cond_broadcast(&pool->begin);
}

static void wait_for_workers(thread_pool *pool) {
    if (pool->spin) {
        uint64_t start = clock_now_ns();
        while (clock_now_ns() - start < SPIN_NS) {
            if (atomic_load(&pool->left) == pool->workers) {
                return;
            }
            pause_briefly();
        }
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->left) != pool->workers) {
        pthread_cond_wait(&pool->end, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
}

err thread_pool_new(thread_pool **out, size_t count, int spin) {
    size_t workers = count > 1 ? count - 1 : 0;
    thread_pool *pool = calloc(1, sizeof *pool + workers * sizeof pool->threads[0]);
    if (!pool) {
        return err_fail(ERR_MEMORY, "no memory for %zu threads", count);
    }
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->begin, NULL);
    pthread_cond_init(&pool->end, NULL);
    pool->spin = spin;
    for (size_t i = 0; i < workers; i++) {
        if (pthread_create(&pool->threads[i], NULL, worker_main, pool) != 0) {
            thread_pool_free(pool);
            return err_fail(ERR_IO, "cannot start worker thread %zu", i + 1);
        }
        pool->workers++;
    }
    *out = pool;
    return ERR_OK;
}

void thread_pool_free(thread_pool *pool) {
    if (!pool) {
        return;
    }
    atomic_store(&pool->stop, true);
    start_round(pool);
    for (size_t i = 0; i < pool->workers; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->begin);
    pthread_cond_destroy(&pool->end);
    free(pool);
}

void thread_pool_run(thread_pool *pool, thread_pool_task run, void *context, size_t tasks) {
    if (!pool || pool->workers == 0 || tasks == 1) {
        for (size_t task = 0; task < tasks; task++) {
            run(context, task);
        }
        return;
    }
    pool->run = run;
    pool->context = context;
    pool->tasks = tasks;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->left, 0);
    start_round(pool);
    draw_tasks(pool);
    wait_for_workers(pool);
}

size_t thread_pool_count(const thread_pool *pool) {
    return pool ? pool->workers + 1 : 1;
}
