/* Signals (base/interrupt.h) as events of a libuv loop. */
#ifndef FEWBIT_LOOP_SIGNALS_H
#define FEWBIT_LOOP_SIGNALS_H

#include "base/err.h"

#include <uv.h>

enum { SIGNALS_RELOADS_MAX = 4 };

typedef struct signals_reload {
    void (*act)(void *context);
    void *context;
} signals_reload;

typedef struct signals {
    uv_poll_t poll;
    void (*stop)(void *context);
    void *context;
    signals_reload reloads[SIGNALS_RELOADS_MAX];
    size_t reload_count;
} signals;

/* Calls `stop` once the process is asked to stop, which it may have been already. `s` must outlive the loop's run. */
err signals_catch(signals *s, uv_loop_t *loop, void (*stop)(void *context), void *context);

/* Calls `act` at every SIGHUP, after those asked for before, of which there may be SIGNALS_RELOADS_MAX. */
err signals_on_reload(signals *s, void (*act)(void *context), void *context);

void signals_release(signals *s);

#endif
