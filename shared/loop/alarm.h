/* Alarm: one time at which a loop is to wake up, to the microsecond (a loop's own timers have milliseconds).
 *
 * It rings in the loop's poll phase, beside the sockets. */
#ifndef FEWBIT_LOOP_ALARM_H
#define FEWBIT_LOOP_ALARM_H

#include "base/err.h"

#include <uv.h>

typedef struct alarm_clock {
    uv_poll_t poll;
    int fd; /* -1: there is none */
    uint64_t set_ns;
} alarm_clock;

/* ERR_IO: no descriptor. Keeps no loop alive by itself; must outlive the loop's run. */
err alarm_open(alarm_clock *a, uv_loop_t *loop);

/* The loop wakes up by then (CLOCK_MONOTONIC), or earlier: an alarm that is set for an earlier time stays. So the
 * caller then checks what is due, and sets it anew. Costs nothing where no earlier time is wanted than was before. */
void alarm_set(alarm_clock *a, uint64_t at_ns);

/* May be called for one that was not opened. */
void alarm_close(alarm_clock *a);

#endif
