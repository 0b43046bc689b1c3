/* Compute pool: a thread beside a libuv loop, for whatever takes long.
 *
 * The loop lends something to the pool (a core, a net, a file) and gets it back: `work` has it on the pool's thread,
 * `done` on the loop's. In between the loop's thread leaves it alone. So what is lent needs no lock, and is used by one
 * thread at a time. What `work` wants to say it keeps in its context: err_text() is of its own thread. */
#ifndef FEWBIT_LOOP_COMPUTE_POOL_H
#define FEWBIT_LOOP_COMPUTE_POOL_H

#include "base/err.h"

#include <uv.h>

typedef struct compute_pool compute_pool;

enum { COMPUTE_POOL_JOBS_MAX = 16 }; /* under way and waiting; who lends one thing has one job */

/* Starts the thread. */
err compute_pool_new(compute_pool **p, uv_loop_t *loop);

/* Runs work(context) on the pool's thread, after the jobs before it, then done(context) on the loop, which is kept
 * alive until then. Returns at once, allocates nothing. ERR_FULL: there are COMPUTE_POOL_JOBS_MAX already. */
err compute_pool_run(compute_pool *p, void (*work)(void *context), void (*done)(void *context), void *context);

/* Whether any job is under way or waits, or its `done` is still to come. */
bool compute_pool_is_busy(const compute_pool *p);

/* Waits for the job under way; those that have not begun never do, and no `done` is called any more. The memory goes
 * with the loop's next turn. */
void compute_pool_free(compute_pool *p);

#endif
