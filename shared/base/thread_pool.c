#include "base/thread_pool.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
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

static void draw_tasks(thread_pool *l) {
    for (;;) {
        size_t task = atomic_fetch_add(&l->next, 1);
        if (task >= l->tasks) {
            return;
        }
        l->run(l->context, task);
    }
}

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static bool spin_until_changed(thread_pool *l, unsigned seen) {
    uint64_t start = clock_now_ns();
    do {
        for (int i = 0; i < 64; i++) {
            if (atomic_load(&l->round) != seen) {
                return true;
            }
            pause_briefly();
        }
    } while (clock_now_ns() - start < SPIN_NS);
    return false;
}

static void wait_for_round(thread_pool *l, unsigned seen) {
    if (l->spin && spin_until_changed(l, seen)) {
        return;
    }
    pthread_mutex_lock(&l->mutex);
    while (atomic_load(&l->round) == seen) {
        pthread_cond_wait(&l->begin, &l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
}

static void *worker_main(void *argument) {
    thread_pool *l = argument;
    for (unsigned seen = 0;; seen++) {
        wait_for_round(l, seen);
        if (atomic_load(&l->stop)) {
            return NULL;
        }
        draw_tasks(l);
        if (atomic_fetch_add(&l->left, 1) + 1 == l->workers) {
            pthread_mutex_lock(&l->mutex);
            pthread_cond_signal(&l->end);
            pthread_mutex_unlock(&l->mutex);
        }
    }
}

static void start_round(thread_pool *l) {
    pthread_mutex_lock(&l->mutex);
    atomic_fetch_add(&l->round, 1);
    pthread_cond_broadcast(&l->begin);
    pthread_mutex_unlock(&l->mutex);
}

static void wait_for_workers(thread_pool *l) {
    if (l->spin) {
        uint64_t start = clock_now_ns();
        while (clock_now_ns() - start < SPIN_NS) {
            if (atomic_load(&l->left) == l->workers) {
                return;
            }
            pause_briefly();
        }
    }
    pthread_mutex_lock(&l->mutex);
    while (atomic_load(&l->left) != l->workers) {
        pthread_cond_wait(&l->end, &l->mutex);
    }
    pthread_mutex_unlock(&l->mutex);
}

err thread_pool_new(thread_pool **out, size_t count, int spin) {
    size_t workers = count > 1 ? count - 1 : 0;
    thread_pool *l = calloc(1, sizeof *l + workers * sizeof l->threads[0]);
    if (!l) {
        return err_fail(ERR_MEMORY, "no memory for %zu threads", count);
    }
    pthread_mutex_init(&l->mutex, NULL);
    pthread_cond_init(&l->begin, NULL);
    pthread_cond_init(&l->end, NULL);
    l->spin = spin;
    for (size_t i = 0; i < workers; i++) {
        if (pthread_create(&l->threads[i], NULL, worker_main, l) != 0) {
            thread_pool_free(l);
            return err_fail(ERR_IO, "cannot start worker thread %zu", i + 1);
        }
        l->workers++;
    }
    *out = l;
    return ERR_OK;
}

void thread_pool_free(thread_pool *l) {
    if (!l) {
        return;
    }
    atomic_store(&l->stop, true);
    start_round(l);
    for (size_t i = 0; i < l->workers; i++) {
        pthread_join(l->threads[i], NULL);
    }
    pthread_mutex_destroy(&l->mutex);
    pthread_cond_destroy(&l->begin);
    pthread_cond_destroy(&l->end);
    free(l);
}

void thread_pool_run(thread_pool *l, thread_pool_task run, void *context, size_t tasks) {
    if (!l || l->workers == 0 || tasks == 1) {
        for (size_t task = 0; task < tasks; task++) {
            run(context, task);
        }
        return;
    }
    l->run = run;
    l->context = context;
    l->tasks = tasks;
    atomic_store(&l->next, 0);
    atomic_store(&l->left, 0);
    start_round(l);
    draw_tasks(l);
    wait_for_workers(l);
}

size_t thread_pool_count(const thread_pool *l) {
    return l ? l->workers + 1 : 1;
}
