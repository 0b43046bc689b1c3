/* Worker: the compute thread beside a libuv loop.
 *
 * The loop's thread does input and output, the worker's thread everything that takes time. They talk through two
 * mailboxes: in (loop -> worker) and out (worker -> loop). The role that runs on the worker is plain code: records
 * and time in, records out; it knows no loop. */
#ifndef FEWBIT_LOOP_WORKER_H
#define FEWBIT_LOOP_WORKER_H

#include "base/err.h"
#include "loop/mailbox.h"

#include <uv.h>

typedef struct worker worker;

enum { WORKER_MAIL_HIGH = 4 << 20 };

typedef struct worker_role {
    /* On the worker's thread: one record from the loop. */
    void (*receive)(void *role, const mail *m);
    /* On the worker's thread, when no record is waiting, and in between where they never end: does some of what there
     * is to do, and returns for how many microseconds it may sleep: 0 when there is more to do at once, -1 until the
     * next record. */
    int64_t (*idle)(void *role);
    /* On the loop's thread: one record from the worker. */
    void (*deliver)(void *loop_side, const mail *m);
    /* On the loop's thread, after the last record of a batch; may be NULL. */
    void (*delivered)(void *loop_side);
    /* On the loop's thread: the worker has caught up after worker_is_behind() said true; may be NULL. */
    void (*caught_up)(void *loop_side);
} worker_role;

/* Starts the thread. */
err worker_new(worker **w, uv_loop_t *loop, const worker_role *role, void *role_context, void *loop_side);

/* From here on replies wait until the role has taken what there is, so that many go to the loop at once. For roles
 * whose `receive` is quick. While more than WORKER_MAIL_HIGH bytes of replies wait, no further record is taken. */
void worker_gather(worker *w);

/* Asks the thread to end after the records already in, waits for it, delivers what it left, frees. Loop's thread. */
void worker_free(worker *w);

/* Loop's thread. */
err worker_post(worker *w, uint32_t kind, uint64_t about, const void *bytes, size_t length);
/* For what comes from outside, in any number, where the one above is for what must get through: it fails sooner, and a
 * worker that sleeps is woken only when the running loop next waits for events, once for many records. */
err worker_post_in_turn(worker *w, uint32_t kind, uint64_t about, const void *bytes, size_t length);
bool worker_is_behind(worker *w);
/* Bytes that wait on their way to the worker and from it. */
void worker_waiting(worker *w, size_t *in, size_t *out);

/* Worker's thread. worker_reply_begin gives room to fill in place, closed by worker_reply_end. Without memory they wait
 * for it, and fail only once worker_free has been called. */
err worker_reply(worker *w, uint32_t kind, uint64_t about, const void *bytes, size_t length);
uint8_t *worker_reply_begin(worker *w, uint32_t kind, uint64_t about, size_t length);
void worker_reply_end(worker *w);
bool worker_replies_are_high(worker *w);

/* Loop's thread: leaves further records of the worker where they are until worker_release. */
void worker_hold(worker *w);
void worker_release(worker *w);

#endif
