/* SIGINT and SIGTERM as events of a libuv loop; SIGPIPE ignored. */
#ifndef FEWBIT_LOOP_SIGNALS_H
#define FEWBIT_LOOP_SIGNALS_H

#include "base/err.h"

#include <uv.h>

typedef struct signals {
    uv_signal_t interrupt, terminate;
    void (*stop)(void *context);
    void *context;
} signals;

/* Calls `stop` at the first of either signal; a second one ends the process at once with status 130. `s` must
 * outlive the loop's run. */
err signals_catch(signals *s, uv_loop_t *loop, void (*stop)(void *context), void *context);
void signals_release(signals *s);

#endif
