/* A thread pool: a fixed set of threads that run tasks side by side and meet again.
 *
 * A piece of work is cut into tasks by what it is (its shape), never by how many threads there are, and no
 * two tasks write the same memory. So the numbers are the same on one thread as on many; only the time
 * differs. The calling thread is one of them: `thread_pool_new(1)` starts no thread. */
#ifndef FEWBIT_BASE_THREAD_POOL_H
#define FEWBIT_BASE_THREAD_POOL_H

#include "base/err.h"

typedef struct thread_pool thread_pool;
typedef void (*thread_pool_task)(void *context, size_t task);

/* `count` >= 1 threads, the caller's thread among them. With `spin`, idle threads wait for about 50 microseconds
 * before they sleep: right when this process has the cores for itself. */
err thread_pool_new(thread_pool **pool, size_t count, int spin);
void thread_pool_free(thread_pool *pool);

/* Runs task 0 .. tasks-1, each exactly once, and returns when all are done. `pool` may be NULL: one after
 * another on the caller's thread. Not reentrant: a task that needs threads runs them with NULL. */
void thread_pool_run(thread_pool *pool, thread_pool_task run, void *context, size_t tasks);

size_t thread_pool_count(const thread_pool *pool);

#endif
