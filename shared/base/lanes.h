/* Lanes: a fixed set of threads that run tasks side by side and meet again.
 *
 * A piece of work is cut into tasks by what it is (its shape), never by how many threads there are, and no
 * two tasks write the same memory. So the numbers are the same on one lane as on many; only the time
 * differs. The calling thread is a lane itself: `lanes_new(1)` starts no thread. */
#ifndef FEWBIT_BASE_LANES_H
#define FEWBIT_BASE_LANES_H

#include "base/err.h"

#include <stddef.h>

typedef struct lanes lanes;
typedef void (*lanes_task)(void *context, size_t task);

/* `count` >= 1 lanes, the caller's thread among them. With `spin`, idle lanes wait for about 50 microseconds
 * before they sleep: right when this process has the cores for itself. */
err lanes_new(lanes **l, size_t count, int spin);
void lanes_free(lanes *l);

/* Runs task 0 .. tasks-1, each exactly once, and returns when all are done. `l` may be NULL: one after
 * another on the caller's thread. Not reentrant: a task that needs lanes runs them with NULL. */
void lanes_run(lanes *l, lanes_task run, void *context, size_t tasks);

size_t lanes_count(const lanes *l);

#endif
