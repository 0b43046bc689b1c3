/* Background: one piece of work on a thread of its own beside a libuv loop, for what may take long and cannot be
 * cancelled. libuv's own pool ends the process where it finds no memory for its threads, and waits at exit for what
 * they do. */
#ifndef FEWBIT_LOOP_BACKGROUND_H
#define FEWBIT_LOOP_BACKGROUND_H

#include "base/err.h"

#include <uv.h>

typedef struct background background;

/* Runs work(context) on a thread, then done(context) on the loop, which is kept alive until then; *b is gone with
 * that. */
err background_start(background **b, uv_loop_t *loop, void (*work)(void *context), void (*done)(void *context),
                     void *context);

/* Loop's thread, before `done`: nobody waits for it any more. In place of `done`, release(context) is called once the
 * work is over, on whatever thread, if the process lives that long. */
void background_leave(background *b, void (*release)(void *context));

#endif
